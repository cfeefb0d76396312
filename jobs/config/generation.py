"""The sections [ask] and [answer]: how questions and answers are generated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from jobs.config.section import Section

__all__ = ["AS_THE_PAPER", "Answer", "Ask"]

AS_THE_PAPER = "as the paper"
"""The language of questions and answers that is that of each paper."""


class Ask(Section):
    """How questions are generated from chunks. Language and audience are those of answers, too."""

    recipe: Literal["auto", "llama-index", "grounded", "evidence"] = Field(
        "auto",
        description='"llama-index": LlamaIndex\'s prompt for questions, then one request for each answer. "grounded": '
        "evidence in the chunk, question, type and answer in one request; pairs without evidence are dropped. "
        '"evidence": the same, held to single sentences, as "grounded" is for a local generator. '
        '"auto": "grounded" for a local generator, else "llama-index".',
    )
    questions_per_chunk: int = Field(2, gt=0, description="Questions about each chunk.")
    max_questions: int | None = Field(
        None,
        gt=0,
        description="Most questions of the run, spread evenly over all chunks. Papers that are added later get their "
        "share on top. Unset: no cap.",
    )
    skip_sections: tuple[str, ...] = Field(
        (
            "acknowledgements",
            "funding",
            "author contributions",
            "competing interests",
            "ethics",
            "data availability",
            "supplementary material",
            "abbreviations",
            "contents",
            "checklist",
            "references",
            "about the authors",
            "publisher's note",
        ),
        description="Sections about which nothing is asked: kinds of back matter, each known by all names that it "
        "commonly bears, or any heading as it is printed. A chunk belongs to the section that has more than half of it.",
    )
    numbers: bool = Field(
        False, description="Whether to ask about chunks of which most words are numbers, such as tables."
    )

    language: str = Field(
        "",
        description='Language of questions and answers: its name, as "German", or "as the paper". Evidence and quotes '
        'stay as they are printed. "": nothing is said, and most models write as the paper or in English.',
    )
    audience: str = Field(
        "",
        description='Who will read questions and answers, as "nurses without training in statistics". "": nothing is said.',
    )

    @property
    def drafts(self) -> bool:
        """Whether an answer is written with its question, so that no request is made for it."""
        return self.recipe in ("grounded", "evidence")


class Answer(Section):
    """How answers are generated."""

    quotes: bool = Field(
        False,
        description="Whether answers must quote their chunk (RAFT). An answer whose quote is not in the chunk drops its "
        "pair.",
    )
