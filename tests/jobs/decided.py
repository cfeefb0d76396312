"""Decisions of a reviewer, for tests."""

from __future__ import annotations

from jobs.records import Pair, Review, Wording

__all__ = ["about", "decision"]


def decision(
    pair_id: str, kind: str = "accept", *, question: str = "", answer: str = "An answer.", queue: str = "", **more: str
) -> Review:
    """One about the pair of that id; an edit has `question` and `answer` as its new words."""
    return Review(
        id="",
        parent=pair_id,
        pair_id=pair_id,
        decision=kind,
        who="Ada",
        when="2026-11-28T12:00:00Z",
        before=Wording(question="A question?", answer="An answer."),
        after=Wording(question=question or "A question?", answer=answer) if kind == "edit" else None,
        queue=queue,
        **more,
    )


def about(pair: Pair, kind: str = "accept", *, question: str = "", answer: str = "", **more: str) -> Review:
    """A decision about `pair`; an edit keeps the words that are not given."""
    return decision(pair.id, kind, question=question or pair.question, answer=answer or pair.answer, **more)
