"""The texts of prompts: gristmill's own, one file each, and LlamaIndex's, kept in one file with their release."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jobs.models.prompts.llama_index import prompts

__all__ = ["RELEASE", "filled", "own_prompt", "places", "qa_prompt"]

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
    """`template` with each ``{name}`` of `values` filled in, and ``{{name}}`` made ``{name}``.

    All other braces are left alone, and so are those in the values.
    """
    return _PLACE.sub(lambda found: f"{{{found[1]}}}" if found[1] else str(values.get(found[2], found[0])), template)


def places(template: str) -> list[tuple[int, str]]:
    """Each ``{name}`` of `template` with the place where it stands, in order."""
    return [(found.start(), found[2]) for found in _PLACE.finditer(template) if found[2]]


_PLACE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
