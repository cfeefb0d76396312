"""Decisions as one file of JSON lines: to take them along, and to add those that were made elsewhere.

The lines are rows of ``reviews/``, so the reviews of a copy of the run, or several of its files joined, can be added as they
are. A line that somebody else's tool writes needs ``pair_id``, ``decision`` and, for an edit, ``after``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from engine.datasets import Dataset
from engine.errors import BadInput
from engine.files import naming_the_disk, write_atomic
from engine.records import encode
from jobs.records import Pair, Review, Wording
from jobs.review.decisions import standing
from jobs.review.log import ReviewLog

__all__ = ["Added", "add_decisions", "write_decisions"]


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """How many decisions were ``added``, stood in the run already (``same``), or are about pairs that it lacks."""

    added: int
    same: int
    unknown: int


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    pair_id: str
    decision: Literal["accept", "edit", "reject", "undo"]
    id: str = ""
    who: str = ""
    when: str = ""
    after: Wording | None = None
    reason: str = ""
    queue: str = ""
    refused: str = ""
    undoes: str = ""


def write_decisions(log: ReviewLog, path: Path) -> int:
    """Write the standing decisions to `path`, one a line; returns how many; blocks. Raises `Fatal` as `ReviewLog` does."""
    lines = [encode(review) for index in log.shards() for review in standing(log.rows(index)).values()]
    with naming_the_disk(path):
        write_atomic(path, b"".join(lines))
    return len(lines)


def add_decisions(log: ReviewLog, pairs: Dataset[Pair], path: Path, who: str) -> Added:
    """Add the standing decisions of the file at `path`; `who` has made those without a name; blocks.

    Raises `BadInput` for a file that cannot be read, before anything is added. A file may be added again: what stands
    already is not.
    """
    given = standing(_rows(path, who))
    added = same = 0
    for index, pair in _found(pairs, given):
        review = msgspec.structs.replace(
            given[pair.id], before=Wording(question=pair.question, answer=pair.answer), id="", undoes=""
        )
        before = standing(log.rows(index)).get(pair.id)
        if before is not None and _said(before) == _said(review):
            same += 1
        else:
            log.append(index, review)
            added += 1
    return Added(added=added, same=same, unknown=len(given) - added - same)


def _found(pairs: Dataset[Pair], ids: Mapping[str, Any]) -> Iterator[tuple[int, Pair]]:
    for index in pairs.sealed():
        for pair in pairs.read(index):
            if pair.id in ids:
                yield index, pair


def _said(review: Review) -> tuple[object, ...]:
    return review.decision, review.after, review.reason, review.who


def _rows(path: Path, who: str) -> Iterable[Review]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}") from error
    return [_row(path, number, line, who) for number, line in enumerate(lines, 1) if line.strip()]


def _row(path: Path, number: int, line: bytes, who: str) -> Review:
    try:
        given = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}, line {number} is no decision: {error}") from error
    after = given.after
    if (given.decision == "edit") != (after is not None and bool(after.question.strip() and after.answer.strip())):
        raise BadInput(f"{path}, line {number}: an edit, and nothing else, has the new question and answer in `after`")
    return Review(
        id=given.id or str(number),
        parent=given.pair_id,
        pair_id=given.pair_id,
        decision=given.decision,
        who=given.who or who,
        when=given.when or datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        before=Wording(question="", answer=""),
        after=after,
        reason=given.reason,
        queue=given.queue,
        refused=given.refused,
        undoes=given.undoes,
    )
