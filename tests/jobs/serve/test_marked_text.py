from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from samples import chunk, pair

from jobs.records import Quote
from jobs.serve.marked_text import Part, Span, marked, spans_of


def test_marks_may_overlap() -> None:
    """Each part names all that stand in it."""
    parts = marked("abcdef", {"1": [Span(0, 3)], "2": [Span(2, 4)]})
    assert parts == [Part("ab", ("1",)), Part("c", ("1", "2")), Part("d", ("2",)), Part("ef", ())]


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5))
def test_nothing_of_a_text_is_lost(text: str, spans: list[tuple[int, int]]) -> None:
    """Whatever is marked, the parts make up the text again."""
    inside = [Span(min(start, len(text)), min(end, len(text))) for start, end in spans]
    assert "".join(part.text for part in marked(text, {"1": inside})) == text


def test_quotes_stand_before_evidence() -> None:
    """An answer that quotes is marked by its quotes, one with evidence where that stands, and else not at all."""
    source = chunk("a", text="The stone turns. The mill grinds.")
    plain = pair("p", chunk="a")
    assert spans_of(plain, source) == []
    assert spans_of(replace(plain, evidence="The mill grinds."), source) == [Span(17, 33)]
    assert spans_of(replace(plain, evidence="Nowhere."), source) == []
    quoted = replace(plain, evidence="The mill grinds.", quotes=[Quote(text="stone", start=4, end=9)])
    assert spans_of(quoted, source) == [Span(4, 9)]


def test_the_second_chunk_has_its_own_evidence() -> None:
    """Of a pair over two chunks each is marked by what stands in it; quotes are those of the first."""
    two = replace(
        pair("p", chunk="a"), evidence="The mill grinds.", second_chunk_id="b", second_evidence="It sleeps at night."
    )
    second = chunk("b", text="Rain falls.\nIt sleeps\nat night.")
    assert spans_of(two, chunk("a", text="The mill grinds.")) == [Span(0, 16)]
    assert spans_of(two, second) == [Span(12, 31)]
    assert spans_of(replace(two, second_evidence="It wakes."), second) == []
