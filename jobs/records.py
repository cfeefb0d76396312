"""The rows of every dataset, one class each, in the order in which they are made; those of papers are in
`jobs.paper_records`.

The fields are a contract with users: add, never rename. Every `id` is a hash of the row's source; `parent` is the id of
the row that it was made from. `split` is "train" or "val"; it is assigned before anything is generated and copied to
later rows. Under ``split.by = "question"`` a chunk serves both sides and its split is "both".
"""

from __future__ import annotations

import msgspec

from engine.records import Record, make_id
from jobs.paper_records import Chunk, LeftOut, Paper, PaperText

__all__ = [
    "Assessment",
    "Chunk",
    "Context",
    "Critique",
    "Curated",
    "EditedPair",
    "Example",
    "LeftOut",
    "Pair",
    "Paper",
    "PaperText",
    "Preference",
    "Probe",
    "Question",
    "Quote",
    "Rejudgement",
    "Response",
    "Review",
    "Similarity",
    "Vector",
    "Verdict",
    "Wording",
]


class Question(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A question that its chunk answers.

    The recipe "grounded" alone sets ``evidence``, which is in the chunk, word for word, ``draft``, the answer that was
    written with the question, and ``type``, such as "why". A question of type "multi_step" needs a second chunk of the
    paper, too: ``second_chunk_id`` and ``second_evidence``. ``raised`` counts how often the number of questions had been
    raised when this one was asked. These last four are not written when they are empty, or 0.
    """

    chunk_id: str
    paper_id: str
    question: str
    split: str
    evidence: str = msgspec.field(default_factory=str)  # a factory, so that it is written even when it is empty
    draft: str = msgspec.field(default_factory=str)
    type: str = ""
    second_chunk_id: str = ""
    second_evidence: str = ""
    raised: int = 0


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A quote in an answer: characters ``start`` to ``end`` (exclusive) of its chunk's text. ``text`` is as the answer
    has it."""

    text: str
    start: int
    end: int


def _no_quotes() -> list[Quote]:
    """Not `list` itself, so that it is written even when it is empty."""
    return []


class Pair(Record, frozen=True, kw_only=True, omit_defaults=True):
    """A question and its reference answer, both from one chunk; ``quotes`` is filled if answers quote it.

    What follows ``quotes`` is that of the question, and is not written when it is empty, or 0.
    """

    chunk_id: str
    paper_id: str
    question: str
    answer: str
    split: str
    evidence: str = msgspec.field(default_factory=str)
    quotes: list[Quote] = msgspec.field(default_factory=_no_quotes)
    type: str = ""
    second_chunk_id: str = ""
    second_evidence: str = ""
    raised: int = 0

    @property
    def chunk_ids(self) -> list[str]:
        """Its chunk, and the second one of a question over two."""
        return [self.chunk_id, *([self.second_chunk_id] if self.second_chunk_id else [])]

    @property
    def version(self) -> str:
        """What rows are made from: the pair's id, or another one for the same pair in other words."""
        return self.id


class EditedPair(Pair, frozen=True, kw_only=True):
    """A pair in the words of a person. It has the id of the pair that it replaces; no file holds it: the words are in
    `Review`."""

    @property
    def version(self) -> str:
        return make_id("edited", self.id, self.question, self.answer)


class Vector(Record, frozen=True, kw_only=True):
    """A chunk's embedding: base64 of little-endian float32."""

    vector: str


class Probe(Record, frozen=True, kw_only=True):
    """The embedding of a pair's question (as in `Vector`), and what retrieval finds for it.

    ``rank`` is the position of the pair's own chunk among the results, from 0; None when it is not among them, or when
    it was not searched for.
    """

    vector: str
    rank: int | None = None


class Critique(Record, frozen=True, kw_only=True):
    """The critic's ratings of a pair by its rubric, each from 1 to 5, and the reason."""

    grounded: int
    standalone: int
    useful: int
    feedback: str


class Curated(Record, frozen=True, kw_only=True):
    """Whether a pair is kept. ``reason`` is one stable word for the refusal ("" when kept), ``detail`` is for readers.

    Reasons: about_form, refusal, repeats_question, too_short, too_long, not_found, near_duplicate, critic."""

    pair_id: str
    chunk_id: str
    paper_id: str
    question: str
    answer: str
    kept: bool
    reason: str
    detail: str
    split: str


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk before the question. ``rank`` counts from 0; ``score`` is the cosine similarity, None for a context from
    a file.

    ``role`` is "source" for a chunk that the pair came from, "distractor" for one that was chosen to mislead, and
    "retrieved" for any other that retrieval found."""

    chunk_id: str
    rank: int
    score: float | None
    role: str = "retrieved"


class Example(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One training example: the retrieval-augmented prompt and the reference answer.

    ``title`` is the title of the paper that the question is about. ``abstains`` says that the answer is an abstention
    instead, because the source is not among the contexts. ``type`` is that of the question, if it has one.
    """

    pair_id: str
    paper_id: str
    title: str
    question: str
    prompt: str
    answer: str
    contexts: list[Context]
    split: str
    abstains: bool = msgspec.field(default_factory=bool)
    type: str = ""


class Response(Record, frozen=True, kw_only=True):
    """One model's answer to one pair's question, with the retrieved contexts before it or without any.

    ``model`` is the row's name in the table: "base", "tuned" or a candidate's. ``retrieval`` is False if the question
    was asked without contexts; ``contexts`` is empty then."""

    pair_id: str
    paper_id: str
    model: str
    question: str
    reference: str
    response: str
    contexts: list[Context]
    split: str
    retrieval: bool = True


class Similarity(Record, frozen=True, kw_only=True):
    """The cosine between the embeddings of a response and of its reference answer; None if an earlier release sealed a
    value that is not a number."""

    pair_id: str
    model: str
    semantic_similarity: float | None


class Verdict(Record, frozen=True, kw_only=True):
    """The scores of one response. ``correctness`` is 1 to 5, None when the judge's answer could not be read;
    ``semantic_similarity`` is a cosine, None when the embedding failed. The report fills in
    ``scores``: the other metrics by name, from the assessments, None for a failed one. It is empty in files."""

    pair_id: str
    paper_id: str
    model: str
    correctness: float | None
    passing: bool | None
    feedback: str
    semantic_similarity: float | None
    split: str
    retrieval: bool = True
    scores: dict[str, float | None] = msgspec.field(default_factory=dict)


class Assessment(Record, frozen=True, kw_only=True):
    """The result of one metric for one response; `parent` is the response's id.

    ``metric`` is its name in the configuration ("token_f1", "faithfulness", "llama:GuidelineEvaluator"); ``score`` runs
    from 0 to 1, except for LlamaIndex's evaluators, which have their own scales. It is None when the judge's answer
    could not be read, as is ``passing``, which only judges give."""

    pair_id: str
    model: str
    metric: str
    score: float | None
    passing: bool | None
    feedback: str
    split: str


class Rejudgement(Record, frozen=True, kw_only=True):
    """One response of the sample that is judged twice; `parent` is its verdict's id.

    The difference of ``first`` and ``second`` is the judge's own noise. Both are on the scale of `Verdict.correctness`,
    None when that answer could not be read.
    """

    pair_id: str
    paper_id: str
    model: str
    split: str
    retrieval: bool
    first: float | None
    second: float | None


class Preference(Record, frozen=True, kw_only=True):
    """Which of two models' responses to one question the judge prefers; `parent` is the id of ``model``'s response.

    Two responses are judged in two rows, with positions swapped: ``order`` is "model first" or "against first" and
    names whose answer stood before the other. ``winner`` is "model", "against" or "tie", None when the judge's answer
    could not be read. ``against`` is the base. A preference counts when both orders agree, else it is a tie."""

    pair_id: str
    paper_id: str
    model: str
    against: str
    order: str
    winner: str | None
    split: str
    retrieval: bool
    feedback: str


class Wording(msgspec.Struct, frozen=True, kw_only=True):
    """The two texts of a pair."""

    question: str
    answer: str


class Review(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What a person decided about a pair; `parent` is the pair's id. Rows are added and never changed.

    ``decision`` is "accept", "edit", "reject" or "undo", which takes back the row whose id is ``undoes``. The last row of
    a pair that is not taken back counts. ``reason`` is the person's, for a rejection. ``before`` is the pair as it was
    generated, ``after`` what is used instead, if edited. ``who`` is a name, ``when`` a time in UTC (ISO 8601).

    ``queue`` is how the pair was chosen for review ("random", "critic", "paper", or "" by the person); ``refused`` is
    the reason for which curation had refused it, "" where it was kept.
    """

    pair_id: str
    decision: str
    who: str
    when: str
    before: Wording
    after: Wording | None = None
    reason: str = ""
    queue: str = ""
    refused: str = ""
    undoes: str = ""
