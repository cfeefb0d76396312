"""The sections [parse] and [split]: how papers become chunks, and which of them are kept for validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jobs.config.section import Section

__all__ = ["Parse", "Split"]


class Parse(Section):
    """How papers are read and cut into chunks."""

    chunk_size: int = Field(1024, gt=0, description="Most tokens of a chunk.")
    chunk_overlap: int = Field(
        200, ge=0, description="Most tokens that a chunk repeats from the one before it. Less than `chunk_size`."
    )
    papers_per_shard: Literal["auto"] | Annotated[int, Field(gt=0)] = Field(
        "auto",
        description='Most papers of one shard. "auto": 32, and from 2,000 papers on more and more, up to 256, so that a '
        "large run has thousands of files and not hundreds of thousands.",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Processes that read papers, at each worker where there are workers. 0: one per core of the machine.",
    )
    timeout_s: float = Field(120, gt=0, description="Seconds that one paper may take; after that it fails.")
    memory_mb: int = Field(4096, ge=512, description="Megabytes of memory that one paper may take.")
    parser: str = Field(
        "auto",
        description='What reads papers: "auto" chooses by the ending of a file\'s name and by its first bytes; the name '
        'of a parser, as "pdf", reads files of that kind only; "module:function" is a parser of your own.',
    )
    references: Literal["drop", "mark", "keep"] = Field(
        "drop",
        description='Lists of references. "drop": left out and counted. "mark": they have chunks of their own, whose '
        '`part` says so, and get no questions. "keep": they have chunks of their own, like any others.',
    )
    furniture: Literal["drop", "keep"] = Field(
        "drop",
        description='Running heads and feet, page and line numbers, watermarks and stamps. "drop": left out and counted.',
    )
    axes: Literal["drop", "keep"] = Field(
        "drop", description='The numbers along the axes of plots in PDFs. "drop": left out and counted.'
    )
    citations: Literal["mark", "drop", "keep"] = Field(
        "mark",
        description='Raised numbers behind words. "mark": written as " [3]". "drop": left out. "keep": as printed, "word3".',
    )
    table_headers: Literal["repeat", "once"] = Field(
        "repeat",
        description='Tables. "repeat": a chunk that begins among the rows of a table repeats the cells of its header in front of them, '
        'and its caption if that stands right above. In a PDF these are tables of numbers. "once": as printed.',
    )
    ocr: Literal["auto", "off"] = Field(
        "auto",
        description='"auto": a PDF whose pages are mostly pictures is read by Tesseract, where its language data is '
        "installed; it takes seconds a page. The note of its chunks names the pages.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Parse:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("parse.chunk_overlap must be smaller than parse.chunk_size")
        return self


class Split(Section):
    """Which part of the data is for training, and which for validation."""

    train: float = Field(0.7, ge=0, le=1, description="Share of the data that is for training.")
    by: Literal["auto", "paper", "chunk", "question"] = Field(
        "auto",
        description='What never stands on both sides. "auto": "paper", or "chunk" when there are fewer than 20 papers.',
    )
