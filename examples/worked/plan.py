"""What the worked example trains and how long that takes: pairs.toml and variants.toml, read into one settings table each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MAIN = "joined"
"""The main training; the others are compared with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One training. `settings` are laid over those of the pairs; `examples` is the most that it trains on, None all.

    With `split_after` the examples of all papers are dealt to both sides, as the notebook does. `against` is the training
    that it is compared with: the one from which it differs in one thing.
    """

    name: str
    why: str
    settings: Mapping[str, Any]
    examples: int | None = None
    split_after: bool = False
    against: str = MAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds on two idle cores: of a thousand tokens trained on, of an answer, of its verdict by the embedded model."""

    trained_s: float
    answer_s: float
    verdict_s: float = 2.0


SPEEDS = {
    "small": Speed(trained_s=3.8, answer_s=1.0),
    "medium": Speed(trained_s=8.0, answer_s=2.0),
    "default": Speed(trained_s=30.0, answer_s=6.0),
}
"""By the name of the base."""


def read_variants(path: Path = HERE / "variants.toml") -> list[Variant]:
    """The trainings in their order. Raises `SystemExit` where the main one is not the first."""
    table = tomllib.loads(path.read_text("utf-8"))
    variants = [_variant(name, section, table["common"]) for name, section in table["variants"].items()]
    if not variants or variants[0].name != MAIN:
        raise SystemExit(f"{path.name}: the first variant is to be {MAIN!r}, with which the others are compared")
    return variants


def pair_settings(path: Path = HERE / "pairs.toml") -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables as one; where both have a value, that of `above` holds."""
    merged = deepcopy(dict(below))
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = laid_over(under, value) if isinstance(under, dict) and isinstance(value, Mapping) else value
    return merged


def estimate_min(
    variants: list[Variant], *, base: str, examples: int = 152, tokens: int = 400, asked: int = 81
) -> float:
    """Minutes on two idle cores, from papers with their pairs to the table; of pairs that a model writes, 4 s each more."""
    speed = SPEEDS[base]
    epochs = sum(_share(variant, examples) * variant.settings["finetune"]["epochs"] for variant in variants)
    trained_s = epochs * examples * tokens / 1000 * speed.trained_s + 60 * len(variants)
    return (trained_s + (1 + len(variants)) * asked * speed.answer_s + 2 * asked * speed.verdict_s) / 60


def _share(variant: Variant, examples: int) -> float:
    return min(1.0, (variant.examples or examples) / examples)


def _variant(name: str, section: Mapping[str, Any], common: Mapping[str, Any]) -> Variant:
    own = {"why", "examples", "split_after_augmentation", "against"}
    settings = laid_over(common, {key: value for key, value in section.items() if key not in own})
    return Variant(
        name=name,
        why=section["why"],
        settings=settings,
        examples=section.get("examples"),
        split_after=section.get("split_after_augmentation", False),
        against=section.get("against", MAIN),
    )
