"""What servers say of an error, wherever they write it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.models.openai.words import read_words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 999) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "code", "metadata", "details", "loc"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "No."}}, "No."),
        ({"error": "No."}, "No."),
        ({"message": "No."}, "No."),
        ({"detail": "No."}, "No."),
        (
            {"detail": [{"loc": ["body", "n"], "msg": "No."}, {"loc": ["body", "m"], "msg": "Neither."}]},
            "n: No. m: Neither.",
        ),
        ({"title": "Bad", "detail": "No.", "status": 400, "type": "about:blank"}, "No."),
        ([{"error": {"message": "No.", "code": 400}}], "No."),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "No."}}}, "Provider returned error No."),
        ({"message": {"detail": [{"loc": ["body", "n"], "msg": "No."}]}}, "n: No."),
        ({"errors": [{"message": "No.", "code": 7001}], "success": False}, "No."),
        ("No.", "No."),
        ({"error": {"message": "No\x1b[31m.\u202e\n Really."}}, "No[31m. Really."),
    ],
    ids=repr,
)
def test_where_the_message_stands(body: Any, message: str) -> None:
    """Each family's place is known; the message is one clean line."""
    assert message in read_words(msgspec.json.encode(body)).message


@pytest.mark.parametrize(
    ("page", "title"),
    [
        (b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>", "502 Bad Gateway"),
        (b"<html><body><h1>Access &amp; more</h1></body></html>", "Access & more"),
        (b"<html><body>x</body></html>", "a web page"),
    ],
)
def test_a_web_page(page: bytes, title: str) -> None:
    """Of a page its title is shown."""
    words = read_words(page)
    assert (words.page, words.message) == (True, title)


def test_it_is_bounded_and_holds_no_key() -> None:
    """A long message is cut, and what looks like a key, or is ours, is not shown."""
    body = {
        "error": {"message": f"Incorrect key plain/key+0 or sk-abcdefghijklmnop or Bearer gsk_1234567890ab {'x' * 999}"}
    }
    message = read_words(msgspec.json.encode(body), key="plain/key+0").message
    assert len(message) <= 300
    assert not any(secret in message for secret in ("plain/key+0", "abcdefghijklmnop", "1234567890ab"))


@given(JSON)
def test_any_json(body: Any) -> None:
    """Whatever the body of an error is, there are words, or none, and no other error."""
    words = read_words(msgspec.json.encode(body))
    assert "\n" not in words.message
    assert len(words.message) <= 300


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """The same holds for what is no JSON."""
    assert len(read_words(data).message) <= 300
