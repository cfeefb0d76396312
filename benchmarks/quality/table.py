"""Draw the table of recipes from filled-in sheets: which share of the pairs passes, and what a kept pair costs.

    python benchmarks/quality/table.py benchmarks/quality/sheets/first.csv … --costs DIR … [--ours stated] [--markdown]

Beside each sheet lies its key. Intervals are of 95 % and treat the pairs of one paper as dependent
(`jobs.report.intervals`). The difference to ours is that of the two shares; its interval is the middle 95 % of 10,000 draws of
papers, each with all of its pairs by both recipes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean as plain_mean
from typing import Any

import numpy as np
from sheets import POINTS, made

from jobs.report.intervals import Mean, mean

__all__ = ["Judged", "Line", "Paid", "judged", "lines", "paid"]

_YES, _NO = frozenset("yY1"), frozenset("nN0")
_DRAWS, _SEED = 10_000, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A pair and the verdict on it: the points of `POINTS` that it passes."""

    recipe: str
    chunk_id: str
    paper_id: str
    points: Mapping[str, bool]

    @property
    def passes(self) -> bool:
        return all(self.points.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What a recipe was asked for, kept and paid, over all its chunks."""

    asked: int
    kept: int
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A recipe: the share that passes all six points, that of each point, and ours less it (None for ours)."""

    recipe: str
    passes: Mean
    points: Mapping[str, float]
    ours_less_it: Mean | None


def judged(sheet: Path) -> list[Judged]:
    """The rows of a filled-in `sheet` that have a verdict on each point. Raises `ValueError` for any other letter or a row half filled in."""
    with sheet.open(newline="") as file, sheet.with_suffix(".key.csv").open(newline="") as key_file:
        rows, key = list(csv.DictReader(file)), {row["item"]: row for row in csv.DictReader(key_file)}
    found = []
    for row in rows:
        letters = [row[point].strip() for point in POINTS]
        if not any(letters):
            continue
        if not all(letter and letter[0] in _YES | _NO for letter in letters):
            raise ValueError(f"{sheet.name}, item {row['item']}: every point needs y or n, there is {letters}")
        own = key[row["item"]]
        found.append(
            Judged(
                recipe=own["recipe"],
                chunk_id=own["chunk_id"],
                paper_id=own["paper_id"],
                points={point: letter[0] in _YES for point, letter in zip(POINTS, letters, strict=True)},
            )
        )
    return found


def lines(pairs: Sequence[Judged], ours: str) -> list[Line]:
    """A line for each recipe, ours first, then the best first."""
    recipes: dict[str, list[Judged]] = {}
    for pair in pairs:
        recipes.setdefault(pair.recipe, []).append(pair)
    own = recipes[ours]
    found = [
        Line(
            recipe=recipe,
            passes=mean([float(p.passes) for p in of], [p.paper_id for p in of], bounds=(0, 1)),
            points={point: plain_mean(p.points[point] for p in of) for point in POINTS},
            ours_less_it=None if recipe == ours else _difference(own, of),
        )
        for recipe, of in recipes.items()
    ]
    return sorted(found, key=lambda line: (line.recipe != ours, -(line.passes.mean or 0)))


def _difference(ours: Sequence[Judged], other: Sequence[Judged]) -> Mean:
    """The share of `ours` less that of the `other`, from draws of papers with all of their pairs."""
    papers = sorted({pair.paper_id for pair in (*ours, *other)})
    drawn = np.random.default_rng(_SEED).integers(len(papers), size=(_DRAWS, len(papers)))
    counts = [np.array([_counted(pairs, paper) for paper in papers]) for pairs in (ours, other)]
    with np.errstate(invalid="ignore"):  # a draw may hold no pair of one of them
        first, second = (of[drawn, 0].sum(1) / of[drawn, 1].sum(1) for of in counts)
    low, high = np.nanpercentile(first - second, (2.5, 97.5))
    mean = plain_mean(pair.passes for pair in ours) - plain_mean(pair.passes for pair in other)
    return Mean(
        mean=mean, low=float(low), high=float(high), scored=len(ours) + len(other), total=len(ours) + len(other)
    )


def _counted(pairs: Iterable[Judged], paper: str) -> tuple[int, int]:
    """How many pairs of a paper pass, and how many there are."""
    own = [pair.passes for pair in pairs if pair.paper_id == paper]
    return sum(own), len(own)


def paid(folders: Iterable[Path]) -> dict[str, Paid]:
    """What each recipe has paid in all, of the last folder that has it; chunks of which it kept no pair count, too."""
    sums: dict[str, list[Mapping[str, Any]]] = {}
    for row in made(folders)[0]:
        sums.setdefault(row["recipe"], []).append(row)
    return {
        recipe: Paid(
            asked=sum(row["asked"] for row in rows),
            kept=sum(len(row["pairs"]) for row in rows),
            requests=sum(row["requests"] for row in rows),
            tokens=sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows),
        )
        for recipe, rows in sums.items()
    }


def drawn(found: Sequence[Line], costs: Mapping[str, Paid]) -> str:
    """The two tables in Markdown."""
    first = ["recipe", "judged", "passes all six", "ours less it", *POINTS]
    second = ["recipe", "asked", "kept", "requests a kept pair", "tokens a kept pair", "good pairs a request"]
    shares = [
        [line.recipe, str(line.passes.scored), _with_interval(line.passes), _less(line), *_shares(line)]
        for line in found
    ]
    prices = [_price(line, costs[line.recipe]) for line in found if line.recipe in costs]
    return f"{_markdown(first, shares)}\n\n{_markdown(second, prices)}" if prices else _markdown(first, shares)


def _price(line: Line, cost: Paid) -> list[str]:
    kept = cost.kept or 1
    good = (line.passes.mean or 0) * cost.kept / (cost.requests or 1)
    counts = [line.recipe, str(cost.asked), str(cost.kept)]
    return [*counts, f"{cost.requests / kept:.2f}", f"{cost.tokens / kept:.0f}", f"{good:.2f}"]


def _with_interval(found: Mean) -> str:
    return f"{_percent(found.mean)} ({_percent(found.low)} to {_percent(found.high)})"


def _less(line: Line) -> str:
    return _with_interval(line.ours_less_it) if line.ours_less_it else ""


def _shares(line: Line) -> list[str]:
    return [_percent(line.points[point]) for point in POINTS]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %".replace("-", "−")


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheets", nargs="+", type=Path)
    parser.add_argument("--costs", nargs="*", type=Path, default=[], help="folders that make_pairs.py has written")
    parser.add_argument("--ours", default="stated")
    given = parser.parse_args()
    try:
        pairs = [pair for sheet in given.sheets for pair in judged(sheet)]
    except (OSError, ValueError) as fault:
        sys.exit(str(fault))
    if not any(pair.recipe == given.ours for pair in pairs):
        sys.exit(f"no pair of {given.ours} has been judged")
    print(drawn(lines(pairs, given.ours), paid(given.costs)))


if __name__ == "__main__":
    main()
