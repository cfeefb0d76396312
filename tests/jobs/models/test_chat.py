from __future__ import annotations

import pytest

from engine.errors import Fatal, Permanent, Transient
from engine.requests import AnswerSchema
from engine.testing import chat_reply, scripted
from jobs.models.chat import REPAIRS, Malformed, ask_until_valid, chat, text

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A number?"}]
REQUEST = chat("judge", MESSAGES, max_tokens=7, schema=AnswerSchema(name="number", schema={"type": "number"}))


def number(answer: str) -> int:
    if not answer.isdigit():
        raise Malformed(f"{answer!r} is no number.")
    return int(answer)


def test_a_request() -> None:
    """A chat request names its role and the form of its answer, and tells how long its prompt is."""
    assert (REQUEST.to, REQUEST.messages, REQUEST.max_output_tokens) == ("judge", MESSAGES, 7)
    assert REQUEST.characters == len("Be brief.") + len("A number?")


def test_the_answers_text() -> None:
    """The text of an answer is without the spaces around it."""
    assert text(chat_reply("\n  Four. \n")) == "Four."


async def test_a_good_answer_costs_one_request() -> None:
    """What can be read at once is not asked again."""
    call = scripted("4")
    assert await ask_until_valid(call, REQUEST, number) == 4
    assert call.requests == [REQUEST]


async def test_a_repair_shows_the_fault() -> None:
    """A repair shows the model its answer and what is wrong with it, under the same role, length and form."""
    call = scripted("four", "4")
    assert await ask_until_valid(call, REQUEST, number) == 4
    first, repair = call.requests
    assert repair.messages[:-2] == MESSAGES
    answer, complaint = repair.messages[-2:]
    assert answer == {"role": "assistant", "content": "four"}
    assert complaint["role"] == "user"
    assert "'four' is no number." in complaint["content"]
    assert repair.characters > first.characters
    assert (repair.to, repair.max_output_tokens) == (first.to, first.max_output_tokens)
    assert repair.schema == first.schema


async def test_each_repair_shows_the_last_fault_only() -> None:
    """Repairs do not pile up: each is the first request with the latest answer, so prompts stay bounded."""
    call = scripted("one", "two", "3")
    assert await ask_until_valid(call, REQUEST, number) == 3
    assert [len(request.messages) for request in call.requests] == [2, 4, 4]
    assert call.requests[2].messages[2]["content"] == "two"


async def test_repairs_are_bounded() -> None:
    """After the repairs the record is given up, with the last fault as its reason."""
    call = scripted(*["one", "two", "three"][: REPAIRS + 1])
    with pytest.raises(Permanent, match=r"after 2 repairs: 'three' is no number\.") as caught:
        await ask_until_valid(call, REQUEST, number)
    assert caught.value.kind == "malformed"
    assert call.left == 0


async def test_no_repairs() -> None:
    """With no repairs allowed, one request is all."""
    call = scripted("one")
    with pytest.raises(Permanent, match="after 0 repairs"):
        await ask_until_valid(call, REQUEST, number, repairs=0)


@pytest.mark.parametrize("error", [Transient("t"), Permanent("p", kind="content_filter"), Fatal("f")])
async def test_what_the_call_raises_passes(error: Exception) -> None:
    """An error of the call, also in a repair, is none of the answer's and passes unchanged."""
    with pytest.raises(type(error)) as caught:
        await ask_until_valid(scripted("one", error), REQUEST, number)
    assert caught.value is error


async def test_the_last_answer_is_kept_with_the_failure() -> None:
    """What cannot be read to the end is shown to whoever looks into the failure, without what looks like a key."""
    call = scripted("four", "vier", "quatre, says sk-abcdefghijkl0123")
    with pytest.raises(Permanent) as failed:
        await ask_until_valid(call, REQUEST, number)
    assert failed.value.reply == "quatre, says ***"
