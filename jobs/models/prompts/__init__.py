"""The texts of prompts: gristmill's own, one file each, and LlamaIndex's, kept in one file with their release."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jobs.models.prompts.llama_index import prompts

__all__ = ["RELEASE", "filled", "own_prompt", "qa_prompt"]

RELEASE = {"llama_index": prompts().release}
"""The release line of LlamaIndex whose prompts are used: part of what a row means, so it is in the fingerprints."""


@cache
def own_prompt(name: str) -> str:
    """The text in ``NAME.txt`` beside this module."""
    return Path(__file__).with_name(f"{name}.txt").read_text("utf-8").strip()


def qa_prompt(question: str, contexts: Sequence[str]) -> str:
    """LlamaIndex's QA prompt: the texts of the contexts, parted by an empty line, then the question."""
    return prompts().text_qa.format(context_str="\n\n".join(contexts), query_str=question)


def filled(template: str, **values: str | int) -> str:
    """`template` with each ``{name}`` of `values` replaced; all other braces, in the values too, are left alone."""
    return _PLACE.sub(lambda found: str(values.get(found[1], found[0])), template)


_PLACE = re.compile(r"\{([a-z_]+)\}")
