"""The sections [index] and [augment]: how chunks are searched, and which contexts an example gets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jobs.config.section import Section

__all__ = ["APPROXIMATE_FROM", "Augment", "Index"]

APPROXIMATE_FROM = 50_000
"""From about this size on, the index pays: benchmarks/bench_retrieval.py."""


class Index(Section):
    """How chunks are searched. This changes no rows that are there: repeat `augment` with --redo to retrieve again."""

    approximate_from: int = Field(
        APPROXIMATE_FROM,
        gt=0,
        description="From this number of chunks on, a search compares those of the nearest cells of an inverted file; "
        "with fewer it compares every chunk. Either way two runs of the same chunks find the same.",
    )


class Augment(Section):
    """Which contexts an example gets. Pairs for validation always get what retrieval finds."""

    top_k: int = Field(1, gt=0, description="How many chunks are retrieved for a question.")
    separate_context: bool = Field(
        False, description="true: `top_k` examples with one context each (RA-DIT); false: one example with all of them."
    )
    scope: Literal["corpus", "paper"] = Field(
        "corpus", description="Whether to search all papers or only the paper of the pair."
    )
    leave_out_validation: bool = Field(
        False, description="Whether to keep chunks for validation out of the contexts of training examples."
    )
    distractors: int = Field(
        0,
        ge=0,
        description="How many misleading chunks a training example gets beside its own chunk, in shuffled order, in "
        "place of the `top_k` (RAFT). None of them is the chunk itself, its neighbour or its near-duplicate.",
    )
    distractor_share: float = Field(1.0, ge=0, le=1, description="Share of training pairs that get distractors.")
    without_source: float = Field(
        0.0, ge=0, le=1, description="Share of the examples with distractors that lack their own chunk."
    )
    without_source_answer: Literal["answer", "abstain"] = Field(
        "answer", description="What an example without its own chunk answers: the pair's answer, or `abstention`."
    )
    abstention: str = Field(
        "The context does not answer this question.",
        min_length=1,
        description='The answer of examples without their own chunk when `without_source_answer` is "abstain".',
    )

    @model_validator(mode="after")
    def _fits(self) -> Augment:
        if self.distractors and self.separate_context:
            raise ValueError("augment.distractors stand beside the source: set augment.separate_context = false")
        return self
