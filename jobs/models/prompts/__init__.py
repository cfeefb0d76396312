"""The texts of prompts that are gristmill's own, one file each."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["RELEASE", "own_prompt"]

RELEASE = {"llama_index": "0.14"}
"""The release line of LlamaIndex whose prompts are used: part of what a row means, so it is in the fingerprints."""


@cache
def own_prompt(name: str) -> str:
    """The text in ``NAME.txt`` beside this module; fill it with `str.format`, which leaves braces in the values alone."""
    return Path(__file__).with_name(f"{name}.txt").read_text("utf-8").strip()
