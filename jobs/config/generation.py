"""The sections [ask] and [answer]: how questions and answers are generated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jobs.config.section import Section

__all__ = ["AS_THE_PAPER", "QUESTION_TYPES", "Answer", "Ask"]

QUESTION_TYPES = ("fact", "how", "why", "compare", "number", "multi_step")
"""The types of question whose shares can be asked for."""

AS_THE_PAPER = "as the paper"
"""The language of questions and answers that is that of each paper."""


class Ask(Section):
    """How questions are generated from chunks. Language and audience are those of answers, too."""

    recipe: Literal["auto", "llama-index", "grounded", "evidence"] = Field(
        "auto",
        description='"llama-index": LlamaIndex\'s prompt for questions, then one request for each answer. "grounded": '
        "evidence in the chunk, question, type and answer in one request; pairs without evidence drop. "
        '"evidence": the same about sentences that the request states, as local generators need it. '
        '"auto": "grounded" for a local generator, else "llama-index".',
    )
    questions_per_chunk: int = Field(2, gt=0, description="Questions about each chunk; may be raised later.")
    max_questions: int | None = Field(
        None,
        gt=0,
        description="Most questions of the run, spread evenly over all chunks; may be raised later. Papers that are added "
        "get their share on top. Unset: no cap.",
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
        "commonly bears, or any heading as it is printed. A chunk belongs to the section that has more than half of it; one "
        'that is mostly entries with leaders and page numbers is "contents".',
    )
    numbers: bool = Field(
        False, description="Whether to ask about chunks of which most words are numbers, such as tables."
    )

    types: dict[str, float] = Field(
        {},
        description="Shares of the types of question, together 1: fact, how, why, compare, number, and multi_step, which "
        'needs two chunks of one paper. They are drawn by hash, and need the recipe "grounded", which "auto" then is. '
        "Unset: the model chooses.",
    )
    name_paper: bool = Field(
        True,
        description="Whether a question that does not name its subject is given the title of its paper, where the "
        "request states the sentences that are asked about.",
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

    @model_validator(mode="after")
    def _shares(self) -> Ask:
        for name, share in self.types.items():
            if name not in QUESTION_TYPES:
                raise ValueError(f"ask.types.{name}: there is no such type; known: {', '.join(QUESTION_TYPES)}")
            if not 0 <= share <= 1:
                raise ValueError(f"ask.types.{name} = {share:g}: a share is from 0 to 1")
        if self.types and abs(sum(self.types.values()) - 1) > 0.001:
            raise ValueError(f"ask.types: the shares are {sum(self.types.values()):g} together, and must be 1")
        if self.types and self.recipe == "llama-index":
            raise ValueError('ask.types: LlamaIndex\'s prompt asks for no types; set ask.recipe = "grounded"')
        return self

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
