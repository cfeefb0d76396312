from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Fatal, Permanent
from engine.records import Record, decode, decode_lines, encode, make_id

text = st.text()  # without surrogates
parts = st.lists(st.one_of(text, st.integers()), max_size=5)


class Leaf(Record, frozen=True, kw_only=True):
    text: str
    number: float = 0.0


@given(parts, parts)
def test_ids_differ_when_parts_differ(one: list[str | int], other: list[str | int]) -> None:
    """Two lists of parts have one id only when they are the same, wherever their boundaries are."""
    same = [str(part) for part in one] == [str(part) for part in other]
    assert (make_id(*one) == make_id(*other)) == same


def test_ids_are_stable() -> None:
    """An id is the same on every machine and in every version: it stands in users' files."""
    assert make_id("ab", "c") != make_id("a", "bc")
    assert make_id("paper", 3, "ü") == "14487ff4da6e0fc60a70385ca57674b2"
    assert make_id("a\ud800") != make_id("a\ud801")


@given(text, text, st.floats(allow_nan=False, allow_infinity=False))
def test_one_line(id_: str, content: str, number: float) -> None:
    """Any record is one line, and reads back the same: no text in it can break a line."""
    record = Leaf(id=id_, parent="", text=content, number=number)
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line.splitlines()) == 1
    assert decode(line, Leaf) == record


@given(st.lists(text))
def test_lines_read_back(texts: list[str]) -> None:
    """Lines written one after the other read back one by one."""
    records = [Leaf(id=str(number), parent="", text=content) for number, content in enumerate(texts)]
    assert list(decode_lines(b"".join(map(encode, records)), Leaf)) == records


def test_fields_in_order() -> None:
    """The fields stand in the order of the class, the id first."""
    assert encode(Leaf(id="a", parent="b", text="c")) == b'{"id":"a","parent":"b","text":"c","number":0.0}\n'


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"id":"a"}', b'{"id":"a","parent":"b","text":1}', b'{"id":"\xff"}']
)
def test_what_is_no_record_is_fatal(line: bytes) -> None:
    """A line that is not such a record is one clear line of error, with its number in a file."""
    with pytest.raises(Fatal, match="not a Leaf record"):
        decode(line, Leaf)
    good = encode(Leaf(id="a", parent="b", text="c"))
    if line:
        with pytest.raises(Fatal, match="line 2 is not a Leaf record"):
            list(decode_lines(good + line + b"\n", Leaf))


def test_half_a_surrogate_pair_fails_one_record() -> None:
    """A text that no file can keep is this record's failure, not the run's."""
    with pytest.raises(Permanent) as error:
        encode(Leaf(id="a", parent="b", text="\ud83d"))
    assert error.value.kind == "not_text"


def test_records_are_frozen() -> None:
    """A record cannot be changed, and must be made by names."""
    leaf = Leaf(id="a", parent="b", text="c")
    with pytest.raises(AttributeError):
        leaf.text = "d"
    with pytest.raises(TypeError):
        Leaf("a", "b", "c")
    assert msgspec.structs.replace(leaf, text="d").text == "d"
