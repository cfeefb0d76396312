"""What was measured, as it is kept, and RESULTS.md made of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from tables import Row

__all__ = ["Kept", "environment", "kept", "write_results"]

_HERE = Path(__file__).resolve().parent
_PACKAGES = ("aiohttp", "msgspec", "tenacity", "pymupdf", "lancedb", "llama-index-core")
_HEAD = """# What was measured

Written by `make bench`; do not edit. How to read it stands in [README.md](README.md), what follows from it and what was
tried in [docs/performance.md](../docs/performance.md). Ratios count; milliseconds belong to the machine.
"""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark's last run: its date, surroundings and time, why it failed, and all that it wrote."""

    name: str
    date: str
    environment: dict[str, str]
    seconds: float
    failed: str
    found: dict[str, Any]

    @property
    def rows(self) -> list[Row]:
        return msgspec.convert(self.found.get("rows", []), list[Row])


def environment() -> dict[str, str]:
    """What a figure depends on: processor, cores, interpreter, packages, and how busy the machine was before."""
    return {
        "CPU": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "system": platform.system(),
        "Python": platform.python_version(),
        "packages": ", ".join(f"{package} {version(package)}" for package in _PACKAGES),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    """Its model's name where Linux tells one, else its architecture."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def kept(name: str) -> Kept | None:
    path = _HERE / "results" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=Kept) if path.exists() else None


def write_results(found: Sequence[Kept], *, missing: Sequence[str] = ()) -> None:
    """RESULTS.md, and a file for each plot; `missing` are the benchmarks that nothing is kept of."""
    plots = {name: plot for each in found for name, plot in each.found.get("plots", {}).items()}
    for name, plot in plots.items():
        (_HERE / f"{name}.svg").write_text(plot)
    absent = [f"Not measured yet: `make bench ONLY={','.join(missing)}`.\n"] if missing else []
    parts = [_HEAD, *_told(found), *absent, *(f"![{name}]({name}.svg)\n" for name in plots), *map(_section, found)]
    (_HERE / "RESULTS.md").write_text("\n".join(parts))


def _told(found: Sequence[Kept]) -> list[str]:
    """What was the same for all, and all that have a target, in one table."""
    aims = [row for each in found for row in each.rows if row.target]
    met = sum(row.met is True for row in aims)
    lines = [f"{name}: {value}" for name, value in _shared(found).items()]
    return ["- " + "\n- ".join(lines) + "\n", f"## Targets: {met} of {len(aims)} met\n", _table(aims)]


def _shared(found: Sequence[Kept]) -> Mapping[str, str]:
    names = found[0].environment if found else {}
    told = {name: sorted({each.environment.get(name, "") for each in found}) for name in names}
    return {name: "; ".join(values) for name, values in told.items() if name != "load before"}


def _section(each: Kept) -> str:
    title = f"## {each.name}\n"
    about = f"{each.date}, {each.seconds:.0f} s, load before it {each.environment['load before']}.\n"
    if each.failed:
        return f"{title}\n{about}\n**Failed**: {each.failed}\n"
    if skipped := each.found.get("skipped"):
        return f"{title}\n{about}\nSkipped: {skipped}.\n"
    notes = "".join(f"\n{note}\n" for note in each.found.get("notes", []))
    return f"{title}\n{about}\n{_table(each.rows)}{notes}"


def _table(rows: Sequence[Row]) -> str:
    head = "| measure | target | measured | beside it | ratio | |\n|---|---|---|---|---|---|\n"
    met = {True: "met", False: "**missed**", None: ""}
    cells = ([row.measure, row.target, row.value, row.floor, row.ratio, met[row.met]] for row in rows)
    return head + "".join("| " + " | ".join(cell or "" for cell in row) + " |\n" for row in cells)
