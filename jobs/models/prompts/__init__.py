"""The texts of prompts that are gristmill's own, one file each."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["own_prompt"]


@cache
def own_prompt(name: str) -> str:
    """The text in ``NAME.txt`` beside this module; fill it with `str.format`, which leaves braces in the values alone."""
    return Path(__file__).with_name(f"{name}.txt").read_text("utf-8").strip()
