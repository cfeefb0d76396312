"""What a benchmark shows: medians with their spread, a plain table, and the same as JSON on request."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

import msgspec

__all__ = ["Figure", "Row", "figure", "options", "ratio", "show", "show_rows", "skip", "write"]


class Figure(msgspec.Struct, frozen=True):
    """The median of some rounds, the least and the greatest."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of RESULTS.md, in words: an item of the list ``rows`` in a program's JSON. ``met`` is None without a target."""

    measure: str
    value: str
    floor: str | None = None
    ratio: str | None = None
    target: str | None = None
    met: bool | None = None


def figure(values: Sequence[float]) -> Figure:
    return Figure(median(values), min(values), max(values))


def ratio(ours: Sequence[float], floor: Sequence[float]) -> Figure:
    """Ours to the floor, round by round: what slowed a whole round down falls out."""
    return figure([mine / least for mine, least in zip(ours, floor, strict=True)])


def options(about: str | None, **defaults: float) -> argparse.Namespace:
    """The flags of a benchmark: ``--json FILE``, and one for each default."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured into this file too")
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help="%(default)s")
    return parser.parse_args()


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; the first column is flush left."""
    lines = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for first, *rest in lines:
        cells = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        print("  ".join([first.ljust(widths[0]), *cells]))


def show_rows(title: str, rows: Sequence[Row]) -> None:
    """Print the lines that go into RESULTS.md."""
    met = {True: "met", False: "missed", None: ""}
    show(
        title,
        ["", "value", "floor", "× floor", "target", ""],
        [[row.measure, row.value, row.floor or "", row.ratio or "", row.target or "", met[row.met]] for row in rows],
    )


def skip(path: Path | None, reason: str) -> NoReturn:
    """Leave with a word why nothing could be measured; RESULTS.md repeats it."""
    print(f"skipped: {reason}")
    write(path, {"rows": [], "skipped": reason})
    raise SystemExit(0)


def write(path: Path | None, found: Any) -> None:
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
