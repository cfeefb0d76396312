from __future__ import annotations

import random

import pytest

from engine.errors import Permanent
from jobs.parsing.formats.decoding import decode

WORDS = "Grain “größer” — naïve"


@pytest.mark.parametrize(
    "data",
    [
        WORDS.encode(),
        WORDS.encode("utf-8-sig"),
        WORDS.encode("utf-16"),
        b"\xfe\xff" + WORDS.encode("utf-16-be"),
        WORDS.encode("cp1252"),
    ],
)
def test_the_encodings_that_people_have(data: bytes) -> None:
    """By its mark, as UTF-8, or as Windows wrote it."""
    assert decode(data) == WORDS


def test_a_declared_encoding_is_believed_where_utf_8_does_not_fit() -> None:
    """In HTML, XML and the modelines of editors; a name that is no encoding of text is passed over."""
    assert decode("<meta charset='koi8-r'>Мельница".encode("koi8-r")).endswith("Мельница")
    assert decode(b"<meta charset='base64'>na\xefve").endswith("naïve")
    assert decode(b"<meta charset='no-such'>na\xefve").endswith("naïve")


@pytest.mark.parametrize("data", [random.Random(0).randbytes(5000), b"\x89PNG\r\n\x1a\n" + bytes(100), b"text\0more"])
def test_what_is_no_text_is_said_to_be_none(data: bytes) -> None:
    """Binary rubbish by whatever name is a failure of a named kind."""
    with pytest.raises(Permanent, match="binary data") as caught:
        decode(data)
    assert caught.value.kind == "wrong_format"
