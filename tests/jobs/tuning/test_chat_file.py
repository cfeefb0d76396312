from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_rows import make_example

from engine.errors import BadInput
from jobs.tuning.chat_file import chat_line, check_chat_line


def test_chat_line_shape() -> None:
    """One line is one training example: system with the title, the prompt, the answer."""
    line = chat_line(make_example(title="A {title} of {mills}"), "About {title}: {}")

    assert json.loads(line)["messages"] == [
        {"role": "system", "content": "About A {title} of {mills}: {}"},
        {"role": "user", "content": "Context 0\nQuery: What is rule 0?\nAnswer: "},
        {"role": "assistant", "content": "Retries back off."},
    ]
    assert json.loads(chat_line(make_example(), ""))["messages"][0]["role"] == "user"


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(title=st.text(st.characters(exclude_categories=["Cs"])), prompt=text, answer=text, system=text)
def test_every_chat_line_is_accepted(title: str, prompt: str, answer: str, system: str) -> None:
    """Whatever the texts are, a chat line is one line, passes the check, and gives the texts back."""
    line = chat_line(make_example(title=title, prompt=prompt, answer=answer), system + "!")

    check_chat_line(line)
    assert len(line.decode().splitlines()) == 1
    assert [turn["content"] for turn in json.loads(line)["messages"]][1:] == [prompt, answer]


def line_of(*turns: tuple[object, object], **more: object) -> bytes:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns], **more}).encode()


USER = ("user", "q")
BOT = ("assistant", "a")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not JSON in UTF-8"),
        (b"\xef\xbb\xbf" + line_of(USER, BOT), "not JSON in UTF-8"),
        (b"[]", "not an object"),
        (line_of(USER, BOT, weight=1), "messages and nothing else"),
        (line_of(), "no messages"),
        (b'{"messages": "hello"}', "no messages"),
        (b'{"messages": ["hello"]}', "not a role and a content"),
        (b'{"messages": [{"role": "assistant"}]}', "not a role and a content"),
        (line_of(("human", "q"), BOT), "the role 'human' is none of"),
        (line_of(("user", " \n"), BOT), "the user message holds no text"),
        (line_of(USER, ("assistant", None)), "the assistant message holds no text"),
        (line_of(BOT, USER), "the last message is not from the assistant"),
        (line_of(("user", "q" * (1 << 20)), BOT), "bytes, more than 1048576"),
    ],
)
def test_check_refuses(line: bytes, reason: str) -> None:
    """What OpenAI's fine-tuning refuses is refused here, with the reason."""
    with pytest.raises(BadInput, match=reason):
        check_chat_line(line)
