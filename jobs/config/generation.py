"""The sections [ask] and [answer]: how questions and answers are generated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.config.section import Section

__all__ = ["Answer", "Ask"]


class Ask(Section):
    """How questions are generated from chunks."""

    recipe: Literal["auto", "llama-index", "evidence"] = Field(
        "auto",
        description='"llama-index": LlamaIndex\'s prompt for questions, then one request for each answer. "evidence": '
        "a sentence of the chunk, the question that it answers and the answer in one request, which small models can "
        'do. "auto": "evidence" for a local generator, else "llama-index".',
    )
    questions_per_chunk: int = Field(2, gt=0, description="Questions about each chunk.")
    max_questions: int | None = Field(
        None,
        gt=0,
        description="Most questions of the run, spread evenly over all chunks. Papers that are added later get their "
        "share on top. Unset: no cap.",
    )


class Answer(Section):
    """How answers are generated."""

    quotes: bool = Field(
        False,
        description="Whether answers must quote their chunk (RAFT). An answer whose quote is not in the chunk drops its "
        "pair.",
    )
