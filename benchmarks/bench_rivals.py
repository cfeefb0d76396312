"""How much does a request cost the others? The same prompts, the same endpoint, one client after the other.

CPU time a request with 100 in flight against an endpoint that answers at once (canned.py), job time at a latency of 1 s
with 500 in flight, and peak memory, in ratios to the bare aiohttp loop and to ours. CPU time is counted from the end of
the imports to the last answer on disk, threads included; that of the whole process stands beside it. The rivals'
answers are saved; none but ours and curator's survive a crash. Ours looks at each answer, the others do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environments import python_of, tiktoken_tables
from plots import Bar, bars
from processes import Measured, work_of
from tables import Row, figure, options, ratio, show, write

ANSWERS = {"output_tokens_mean": 150, "output_tokens_sigma": 0.25}
LATENCY = {**ANSWERS, "latency_mean_s": 1.0, "latency_sigma": 0.5}
RIVALS = {
    "protocol": "openai",
    "openai_aiohttp": "openai",
    "openai_httpx": "openai",
    "curator": "curator",
    "llamaindex": "llama",
}
"""Each rival's script in rivals/, and its environment."""
NAMES = {
    "floor": "bare aiohttp (the floor)",
    "mill": "gristmill",
    "protocol": "bare asyncio protocol",
    "openai_aiohttp": "openai client over aiohttp",
    "openai_httpx": "openai client over httpx",
    "curator": "curator",
    "llamaindex": "LlamaIndex, achat + run_jobs",
}
Series = Mapping[str, Sequence[float]]
TARGETS = {"curator": 10.0, "llamaindex": 20.0}
"""How many times ours the CPU time of these is to be."""


def main() -> None:
    given = options(__doc__, requests=3000, cpu_requests=2000, cpu_rounds=3, job_rounds=1)
    os.environ["TIKTOKEN_CACHE_DIR"] = str(tiktoken_tables())
    for environment in RIVALS.values():
        python_of(environment)
    cpu = rounds(given.cpu_rounds, simulation=None, requests=given.cpu_requests, in_flight=100)
    job = rounds(given.job_rounds, simulation=LATENCY, requests=given.requests, in_flight=500)
    cpu_ms = {client: [each.cpu_ms for each in found] for client, found in cpu.items()}
    wall_s = {client: [each.outcome.wall_s for each in found] for client, found in job.items()}
    show(
        f"{given.cpu_requests} requests at no latency, and {given.requests} at 1 s with 500 in flight",
        ["", "CPU ms a request", "× floor", "× ours", "job time, s", "× floor", "peak RSS MB"],
        [
            [
                NAMES[client],
                figure(cpu_ms[client]),
                f"{ratio(cpu_ms[client], cpu_ms['floor']).median:.3g}",
                f"{ratio(cpu_ms[client], cpu_ms['mill']).median:.3g}",
                f"{figure(wall_s[client]).median:.3g}",
                f"{ratio(wall_s[client], wall_s['floor']).median:.3g}",
                f"{max(each.outcome.peak_rss_mb for each in job[client]):.0f}",
            ]
            for client in NAMES
        ],
    )
    whole_ms = {client: [whole(each) for each in found] for client, found in cpu.items()}
    rows = [each for client in RIVALS for each in compared(client, cpu_ms, whole_ms, wall_s)]
    plot = bars(
        "CPU time of one request at no latency",
        [
            Bar(label=NAMES[client], end=median, note=f"{median:.3g} ms", ours=client == "mill")
            for client, median in sorted(medians(cpu_ms).items(), key=lambda pair: pair[1])
        ],
        unit="milliseconds, on a logarithmic axis",
        logarithmic=True,
    )
    write(given.json, {"rows": rows, "plots": {"rivals": plot}, "cpu": cpu, "job": job})


def medians(series: Series) -> dict[str, float]:
    return {client: figure(values).median for client, values in series.items()}


def whole(measured: Measured) -> float:
    """CPU ms a request of the whole process, its imports and the making of the prompts included."""
    return measured.cpu_ms * (1 + measured.outcome.start_cpu_s / measured.outcome.cpu_s)


def compared(client: str, cpu_ms: Series, whole_ms: Series, wall_s: Series) -> Iterator[Row]:
    """A rival beside us and beside the floor, for RESULTS.md."""
    times, wanted = ratio(cpu_ms[client], cpu_ms["mill"]), TARGETS.get(client)
    yield Row(
        measure=f"CPU a request: {NAMES[client]}",
        value=f"{figure(cpu_ms[client])} ms",
        floor=f"ours: {figure(cpu_ms['mill'])} ms",
        ratio=f"{times} × ours",
        target=f"≥ {wanted:g} × ours" if wanted else None,
        met=times.median >= wanted if wanted else None,
    )
    yield Row(
        measure="... of the whole process, imports included",
        value=f"{figure(whole_ms[client])} ms",
        floor=f"ours: {figure(whole_ms['mill'])} ms",
        ratio=f"{ratio(whole_ms[client], whole_ms['mill'])} × ours",
    )
    yield Row(
        measure=f"job time at 1 s latency, 500 in flight: {NAMES[client]}",
        value=f"{figure(wall_s[client]).median:.3g} s",
        floor=f"{figure(wall_s['floor']).median:.3g} s",
        ratio=f"{ratio(wall_s[client], wall_s['floor']).median:.3g} × floor",
    )


def rounds(count: int, **given: Any) -> dict[str, list[Measured]]:
    """Every client in turns, in one order and then in the other; a job that was not done is no figure."""
    found: dict[str, list[Measured]] = {client: [] for client in NAMES}
    for number in range(count):
        for client in list(found)[:: -1 if number % 2 else 1]:
            measured = one(client, **given)
            if measured.outcome.bad or measured.outcome.lost:
                raise SystemExit(f"{client} did not do its work: {measured}")
            found[client].append(measured)
    return found


def one(client: str, **given: Any) -> Measured:
    if client not in RIVALS:
        return work_of(client, **given)
    return work_of(f"rivals/{client}", python=python_of(RIVALS[client]), **given)


if __name__ == "__main__":
    main()
