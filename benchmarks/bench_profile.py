"""Where does the CPU of one request go?

The job of mill.py against the canned endpoint, sampled by the process's own CPU clock: at each tick the running function
is noted, and all that called it. C code counts for the Python function that called it. The rows add up to the whole.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Self

import msgspec
from mill import Prompt, deal, grind
from processes import said_by, simulated
from tables import Row, options, show_rows, write
from work import Settings, Started

from engine.datasets import Dataset

TICK_S = 0.001
SHOWN = 25


class Sampled(msgspec.Struct, frozen=True, kw_only=True):
    """CPU µs of a request: all of it, and the share of samples by module, by function itself and with what it calls."""

    request_us: float
    samples: int
    modules: dict[str, float]
    functions: dict[str, float]
    within: dict[str, float]


class Sampler:
    """Notes what runs at every tick of the CPU clock of this process, on the main thread."""

    def __init__(self) -> None:
        self.modules: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()
        self.within: Counter[str] = Counter()

    def __enter__(self) -> Self:
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, TICK_S, TICK_S)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self.modules[_package(frame)] += 1
        self.functions[_name(frame)] += 1
        callers = set()
        while frame is not None:
            callers.add(_name(frame))
            frame = frame.f_back
        self.within.update(callers)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _package(frame: FrameType) -> str:
    """Our modules one by one, other packages as wholes; what runs as a program is the benchmark."""
    name = _module(frame)
    if name.startswith(("engine.", "jobs.")):
        return name
    package = name.partition(".")[0]
    return "the benchmark itself" if package in ("__main__", "mill", "work") else package


def _name(frame: FrameType) -> str:
    return f"{_module(frame)}.{frame.f_code.co_qualname}"


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(msgspec.json.encode(sampled(sys.argv[2], int(sys.argv[3]))).decode())
        return
    given = options(__doc__, requests=20_000)
    with simulated(None) as base_url:
        found = msgspec.json.decode(said_by("bench_profile", "--one", base_url, str(given.requests)), type=Sampled)
    rows = [told(name, share, found.request_us) for name, share in list(found.modules.items())[:SHOWN]]
    show_rows(f"CPU of one request, {found.request_us:.0f} µs, by module; {found.samples} samples", rows)
    for title, of in {"by itself": found.functions, "with what it calls": found.within}.items():
        lines = [told(name, share, found.request_us) for name, share in list(of.items())[:SHOWN]]
        show_rows(f"by function, {title}", lines)
    notes = ["Shares of the whole; made by `make bench ONLY=profile`, which prints the functions too."]
    write(given.json, {"rows": rows, "notes": notes, "found": found})


def told(name: str, share: float, request_us: float) -> Row:
    return Row(measure=name, value=f"{share * request_us:.1f} µs", ratio=f"{share:.1%}")


def sampled(base_url: str, requests: int) -> Sampled:
    with tempfile.TemporaryDirectory() as name:
        given = Settings(base_url=base_url, folder=name, requests=requests, in_flight=100)
        deal(given, Dataset(Path(name) / "prompts", Prompt))
        clocks, began = Started(), time.process_time()
        with Sampler() as sampler:
            asyncio.run(grind(given, Path(name), clocks))
        cpu_s = time.process_time() - began
    samples = sampler.modules.total()
    modules, functions, within = (
        {name: count / samples for name, count in counted.most_common(60)}
        for counted in (sampler.modules, sampler.functions, sampler.within)
    )
    return Sampled(
        request_us=1e6 * cpu_s / requests, samples=samples, modules=modules, functions=functions, within=within
    )


if __name__ == "__main__":
    main()
