"""A user's own prompts: read from their files, and checked for the places that are filled in.

A place is a name in braces, such as ``{text}``. Other braces are left alone, so a prompt may show JSON; a name that is
to stay in its braces is written ``{{name}}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from jobs.config import Config
from jobs.models.prompts import places
from jobs.run.configfile import Table

__all__ = ["PLACES", "Places", "with_own_prompts"]


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one prompt: those that it must hold, and further ones that it may hold."""

    needed: Sequence[str]
    further: Sequence[str] = ()


PLACES: Mapping[str, Places] = {
    "ask": Places(("text", "count"), ("title", "section", "types")),
    "answer": Places(("text", "question"), ("title", "section")),
    "critic": Places(("text", "question", "answer")),
    "judge": Places(("question", "reference", "response")),
}
"""The places of each prompt, by its key in [prompts]."""


def with_own_prompts(config: Config, table: Mapping[str, Any], before: Config | None) -> Config:
    """`config` with the text of each of the user's prompts; blocks.

    A text that `config` holds is taken as it is, else the file is read: a name without a folder is looked for beside the
    configuration that `table` was read from. Where it is gone, what the run had `before` of the same file holds. Raises
    `BadInput`, in one line, for a file that cannot be read and for a prompt that cannot be used.
    """
    texts = dict(config.prompts.texts)
    for name in PLACES:
        given = getattr(config.prompts, name)
        if given is not None and name not in texts:
            texts[name] = _read(name, given, table, before)
        if name in texts:
            _check(name, texts[name], given or f"prompts.texts.{name}", config)
    if texts == config.prompts.texts:
        return config
    return config.model_copy(update={"prompts": config.prompts.model_copy(update={"texts": texts})})


def _read(name: str, given: str, table: Mapping[str, Any], before: Config | None) -> str:
    path = Path(given).expanduser()
    if isinstance(table, Table) and f"prompts.{name}" not in table.flags:
        path = table.path.parent / path
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        if before is not None and getattr(before.prompts, name) == given and before.prompts.text(name):
            return before.prompts.text(name)
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BadInput(f"prompts.{name}: cannot read {path}: {reason}") from error
    if not text.strip():
        raise BadInput(f"prompts.{name}: {path} is empty")
    return text.strip()


def _check(name: str, text: str, place: str, config: Config) -> None:
    """Raise `BadInput` for a prompt that lacks a place, holds an unknown one, or would never be sent."""
    known = PLACES[name]
    further = [word for word in known.further if word != "types" or config.ask.drafts]  # LlamaIndex's recipe has none
    all_known = [*known.needed, *further]
    held = places(text)
    if unknown := next(((at, word) for at, word in held if word not in all_known), None):
        at, word = unknown
        raise BadInput(
            f"{place}, line {text.count(chr(10), 0, at) + 1}: nothing fills in {{{word}}}; the prompt {name} may hold "
            f"{_listed(all_known)}, and {{{{{word}}}}} stays as {{{word}}}"
        )
    words = {word for _, word in held}
    needed = [*known.needed, *(["types"] if name == "ask" and config.ask.types else [])]
    if missing := [word for word in needed if word not in words]:
        raise BadInput(f"{place}: {_listed(missing)} is missing; the prompt {name} must hold {_listed(needed)}")
    if name == "answer" and config.ask.drafts:
        raise BadInput(
            f'{place}: ask.recipe = "{config.ask.recipe}" writes each answer with its question, so no prompt answer is '
            'sent; leave it out, or set ask.recipe = "llama-index"'
        )
    if name == "answer" and config.answer.quotes and "<quote>" not in text:
        raise BadInput(
            f"{place}: <quote> is missing; with answer.quotes it must ask for quotes between <quote> and </quote>"
        )


def _listed(words: Sequence[str]) -> str:
    *first, last = [f"{{{word}}}" for word in words]
    return f"{', '.join(first)} and {last}" if first else last
