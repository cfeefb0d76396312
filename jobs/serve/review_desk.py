"""What the page Review works with: queues, the decisions of now, who looks at which pair, and the saving of a decision.

Several browsers work on one queue: after a decision each is sent to the next pair that is neither decided nor before
another browser at that time. Two that decide on the same pair anyway lose nothing: both rows stay, the last one counts,
and its sender learns which one it overrules.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Literal

import msgspec

from engine.errors import BadInput
from jobs import records as rows
from jobs.records import Review, Wording
from jobs.review.decisions import edited, standing
from jobs.review.log import ReviewLog
from jobs.serve.marked_text import Part, marked, spans_of
from jobs.serve.review_queue import QueueAsked, Ref, queue_of
from jobs.serve.site import Site

__all__ = ["Card", "Decided", "Desk", "Saved"]

_HELD_S = 120.0
"""How long a pair is left to the browser that shows it."""

_QUEUES = 8
_LONGEST_TEXT, _LONGEST_NAME = 20_000, 80


class Decided(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a browser asks to save: a decision about one pair, and the place in its queue, from 0, where it stands."""

    shard: int
    pair_id: str
    decision: Literal["accept", "edit", "reject", "undo"]
    question: str = ""
    answer: str = ""
    reason: str = ""
    who: str = ""
    undoes: str = ""
    queue: QueueAsked = QueueAsked()
    at: int = 0
    browser: str = ""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is on disk: its id, the one that it overrules, if any, and where the queue goes on (None: all are
    decided)."""

    id: str
    decision: str
    overrules: Review | None
    next: int | None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """One pair as it is reviewed: in the words of now, with its chunk, its page, and what was decided before.

    ``at`` is its place in the queue, from 0, of ``total`` pairs, of which ``decided`` have a decision. ``printed`` are
    the pages of its paper, 0 where they cannot be drawn. ``second`` is the other chunk of a pair over two.
    """

    shard: int
    pair: rows.Pair
    original: rows.Pair
    review: Review | None
    chunk: rows.Chunk | None
    text: list[Part]
    second: rows.Chunk | None
    second_text: list[Part]
    paper: rows.Paper | None
    critique: rows.Critique | None
    printed: int
    refused: str
    at: int
    total: int
    decided: int

    @property
    def pages(self) -> range:
        """The pages of the chunk that can be drawn, the first two at most."""
        if self.chunk is None or not self.chunk.page_first:
            return range(0)
        first, last = self.chunk.page_first, min(self.chunk.page_last, self.chunk.page_first + 1, self.printed)
        return range(first, last + 1)


class Desk:
    """The reviews of one served run. All methods block, and are safe in threads; they raise `Fatal` for damaged files."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._log = ReviewLog(site.folder.reviews)
        self._drawing = threading.Lock()
        self._holding = threading.Lock()
        self._queues: dict[QueueAsked, tuple[list[int], list[Ref]]] = {}
        self._standing: dict[int, tuple[tuple[int, int], dict[str, Review]]] = {}
        self._held: dict[str, tuple[str, float]] = {}

    def queue(self, asked: QueueAsked) -> list[Ref]:
        """The pairs of a queue; drawn again once the run has more pairs, or curation has decided on more."""
        with self._drawing:
            committed = (self._site.committed[name].sums().values() for name in ("pairs", "curated", "critiques"))
            size = [sum(sums.rows for sums in each) for each in committed]
            known = self._queues.pop(asked, None)
            if known is None or known[0] != size:
                known = (size, queue_of(self._site, asked))
            self._queues[asked] = known
            while len(self._queues) > _QUEUES:
                del self._queues[next(iter(self._queues))]
            return known[1]

    def next(self, asked: QueueAsked, browser: str, after: int = -1) -> int | None:
        """The first place behind `after`, then from the start, that is neither decided nor being looked at; None if there is none.

        Where all that are left are before other browsers, it is one of these.
        """
        refs = self.queue(asked)
        order = [*range(after + 1, len(refs)), *range(min(after + 1, len(refs)))]
        left = [at for at in order if refs[at].pair_id not in self.decisions(refs[at].shard)]
        return next((at for at in left if self._take(refs[at].pair_id, browser)), left[0] if left else None)

    def card(self, asked: QueueAsked, at: int, browser: str) -> Card | None:
        """The pair at a place of the queue, which `browser` looks at from now on; None where there is none (any more)."""
        refs = self.queue(asked)
        if not 0 <= at < len(refs):
            return None
        shard, pair_id = refs[at]
        original = self._pair(shard, pair_id)
        if original is None:
            return None
        self._take(pair_id, browser, anyway=True)
        committed, review = self._site.committed, self.decisions(shard).get(pair_id)
        chunks = committed["chunks"].rows(shard, rows.Chunk)
        papers = committed["papers"].rows(shard, rows.Paper)
        critiques = committed["critiques"].rows(shard, rows.Critique)
        chunk, second = (
            next((row for row in chunks if row.id == id_), None)
            for id_ in (original.chunk_id, original.second_chunk_id)
        )
        paper = next((row for row in papers if row.id == original.paper_id), None)
        texts = (row.paper_text for row in chunks if row.paper_id == original.paper_id and row.paper_text)
        printed = next((text.pages for text in texts), 0) if paper is not None and paper.offset is None else 0
        return Card(
            shard=shard,
            pair=original if review is None else edited(original, review),
            original=original,
            review=review,
            chunk=chunk,
            text=marked(chunk.text, {pair_id: spans_of(original, chunk)}) if chunk else [],
            second=second,
            second_text=marked(second.text, {pair_id: spans_of(original, second)}) if second else [],
            paper=paper,
            printed=printed,
            critique=next((row for row in critiques if row.parent == pair_id), None),
            refused=self._refused(shard, pair_id),
            at=at,
            total=len(refs),
            decided=sum(ref.pair_id in self.decisions(ref.shard) for ref in refs),
        )

    def save(self, decided: Decided, fallback: str) -> Saved:
        """Save a decision: it is on disk when this returns. `fallback` is who decides where no name is given.

        Raises `BadInput` for one that cannot be; nothing is saved then.
        """
        pair = self._pair(decided.shard, decided.pair_id)
        if pair is None:
            raise BadInput("this pair is not in the run any more, or was made again; load the page again")
        before = self.decisions(decided.shard).get(pair.id)
        review = self._review(decided, pair, before, decided.who.strip()[:_LONGEST_NAME] or fallback)
        saved = self._log.append(decided.shard, review)
        self._let_go(pair.id)
        return Saved(
            id=saved.id,
            decision=saved.decision,
            overrules=before if saved.decision != "undo" else None,
            next=decided.at if saved.decision == "undo" else self.next(decided.queue, decided.browser, decided.at),
        )

    def decisions(self, shard: int) -> dict[str, Review]:
        """The standing decisions about the pairs of a shard, by pair id, also those of other processes."""
        stamp = self._log.stamp(shard)
        if stamp is None:
            return {}
        known = self._standing.get(shard)
        if known is None or known[0] != stamp:
            known = self._standing[shard] = (stamp, standing(self._log.rows(shard)))
        return known[1]

    def _review(self, decided: Decided, pair: rows.Pair, before: Review | None, who: str) -> Review:
        decision, after, undoes = decided.decision, None, ""
        if decision == "undo":
            undoes = _undone(self._log.rows(decided.shard), pair.id, decided.undoes)
        elif decision == "edit":
            after = _wording(decided.question, decided.answer)
            if (after.question, after.answer) == (pair.question, pair.answer):
                raise BadInput("nothing is changed: accept the pair instead")
        elif decision == "accept" and before is not None and before.decision == "edit":
            decision, after = "edit", before.after  # it is accepted as it is shown
        elif decision == "reject" and not decided.reason.strip():
            raise BadInput("say why it is rejected")
        return Review(
            id="",
            parent=pair.id,
            pair_id=pair.id,
            decision=decision,
            who=who,
            when=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            before=Wording(question=pair.question, answer=pair.answer),
            after=after,
            reason=decided.reason.strip()[:_LONGEST_TEXT] if decision == "reject" else "",
            queue=decided.queue.kind,
            refused=self._refused(decided.shard, pair.id),
            undoes=undoes,
        )

    def _pair(self, shard: int, pair_id: str) -> rows.Pair | None:
        pairs = self._site.committed["pairs"].rows(shard, rows.Pair)
        return next((row for row in pairs if row.id == pair_id), None)

    def _refused(self, shard: int, pair_id: str) -> str:
        curated = self._site.committed["curated"].rows(shard, rows.Curated)
        return next((row.reason for row in curated if row.pair_id == pair_id), "")

    def _take(self, pair_id: str, browser: str, *, anyway: bool = False) -> bool:
        """Leave the pair to `browser`, and no other one, from now on; False where another has it, unless `anyway`."""
        now = time.monotonic()
        with self._holding:
            self._held = {id_: held for id_, held in self._held.items() if held[1] > now and held[0] != browser}
            if pair_id in self._held and not anyway:
                return False
            if browser:
                self._held[pair_id] = (browser, now + _HELD_S)
            return True

    def _let_go(self, pair_id: str) -> None:
        with self._holding:
            self._held.pop(pair_id, None)


def _undone(log: list[Review], pair_id: str, named: str) -> str:
    """The id of the decision to take back. Raises `BadInput` where it is not there, or was taken back before."""
    taken_back = {row.undoes for row in log if row.decision == "undo"}
    if named in taken_back or not any(row.id == named and row.pair_id == pair_id for row in log):
        raise BadInput("this decision is not there any more: it was taken back before")
    return named


def _wording(question: str, answer: str) -> Wording:
    """The words of an edit. Raises `BadInput` for none, and for more than a pair may have."""
    after = Wording(question=question.strip(), answer=answer.strip())
    if not after.question or not after.answer:
        raise BadInput("a pair needs a question and an answer; reject it if it has none")
    if max(len(after.question), len(after.answer)) > _LONGEST_TEXT:
        raise BadInput(f"a question or an answer has at most {_LONGEST_TEXT:,} characters")
    return after
