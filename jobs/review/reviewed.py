"""The decisions of a run as a dataset that jobs read: its shard *i* holds what was decided about shard *i* of the pairs."""

from __future__ import annotations

from engine.datasets import Dataset
from engine.records import make_id
from jobs.records import Review
from jobs.registry import REVIEWS
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog
from jobs.run.folder import RunFolder

__all__ = ["Reviewed", "reviewed"]


class Reviewed(Dataset[Review]):
    """The standing decisions of now: all jobs of one process see the same ones, whatever is decided meanwhile; blocks."""

    remembered = True

    def __init__(self, log: ReviewLog) -> None:
        super().__init__(log.folder, Review)
        self._standing = {index: list(standing(log.rows(index)).values()) for index in log.shards()}

    def read(self, index: int) -> list[Review]:
        return self._standing.get(index, [])

    def stamp(self, index: int) -> str | None:
        """What the decisions change in what is made from the shard; None where they change nothing."""
        meant = [part for review in sorted(self.read(index), key=_pair) for part in _meaning(review)]
        return make_id(*meant) if meant else None

    def stamps(self) -> list[str]:
        """The stamps of all shards in which decisions change something."""
        return [stamp for index in self.sealed() if (stamp := self.stamp(index)) is not None]

    def sealed(self) -> list[int]:
        return sorted(self._standing)


def reviewed(folder: RunFolder) -> dict[str, Reviewed]:
    """The dataset by its name, for a run with decisions; empty for one without; blocks."""
    log = ReviewLog(folder.reviews)
    return {REVIEWS: Reviewed(log)} if log.shards() else {}


def _pair(review: Review) -> str:
    return review.pair_id


def _meaning(review: Review) -> list[str]:
    """Nothing for an accepted pair that was kept anyway."""
    if review.decision == "accept":
        return [review.pair_id, "accept"] if review.refused else []
    after = review.after
    return [review.pair_id, review.decision, *([after.question, after.answer] if after else [])]
