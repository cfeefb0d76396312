"""What decisions mean: which of them count, and which pairs are used because of them, in which words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from jobs.records import EditedPair, Pair, Review

__all__ = ["DECISIONS", "edited", "standing", "used"]

DECISIONS = ("accept", "edit", "reject")


def standing(rows: Iterable[Review]) -> dict[str, Review]:
    """By pair id: the last decision that was not taken back. An undo takes back the row that it names and no other."""
    decided: dict[str, dict[str, Review]] = {}
    for row in rows:
        of_pair = decided.setdefault(row.pair_id, {})
        if row.decision == "undo":
            of_pair.pop(row.undoes, None)
        else:
            of_pair[row.id] = row
    return {pair_id: list(of_pair.values())[-1] for pair_id, of_pair in decided.items() if of_pair}


def used(pairs: Iterable[Pair], kept: Collection[str] | None, reviews: Iterable[Review]) -> Iterator[Pair]:
    """The pairs to go on with: those in `kept` (all if it is None), but a person's decision counts for more.

    Rejected ones are left out; accepted and edited ones are in, also those that curation refused. `reviews` are
    standing decisions.
    """
    decisions = {review.pair_id: review for review in reviews}
    for pair in pairs:
        review = decisions.get(pair.id)
        if review is None:
            if kept is None or pair.id in kept:
                yield pair
        elif review.decision != "reject":
            yield edited(pair, review)


def edited(pair: Pair, review: Review) -> Pair:
    """`pair` in the words of `review`, where it has other ones. Quotes that the new answer does not hold are gone."""
    after = review.after
    if after is None or (after.question, after.answer) == (pair.question, pair.answer):
        return pair
    return EditedPair(
        id=pair.id,
        parent=pair.parent,
        chunk_id=pair.chunk_id,
        paper_id=pair.paper_id,
        question=after.question,
        answer=after.answer,
        split=pair.split,
        evidence=pair.evidence,
        quotes=[quote for quote in pair.quotes if quote.text in after.answer],
        type=pair.type,
        second_chunk_id=pair.second_chunk_id,
        second_evidence=pair.second_evidence,
        raised=pair.raised,
    )
