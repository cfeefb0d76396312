"""`gristmill bench`: an endpoint's throughput and latency at each load, its knee, and the settings that follow.

It costs what its requests cost. The greatest number of requests is printed before the first is sent, and is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from engine.children import child_command
from engine.errors import BadInput, Fatal, Permanent, Transient
from engine.files import naming_the_disk, write_atomic
from engine.requests import Call, Request
from engine.signals import Stop, stop_on_signals
from jobs.bench.capacity import Load, capacity, measured
from jobs.bench.findings import Findings, level, print_findings
from jobs.bench.loads import Outcome, closed_loop, open_loop
from jobs.bench.workload import Plan, Target, announcement, requests
from jobs.config import api_key
from jobs.models import providers
from jobs.models.providers import provider

__all__ = ["bench", "run", "simulated"]

_STANDARD_OUTPUT = Path("-")


def run(target: Target, plan: Plan, *, json: Path | None = None, html: Path | None = None) -> int:
    """Measure, show and write; returns the exit code. Results are shown even if the measurement is interrupted.

    `json` may be "-" for standard output. Raises `Fatal` for an endpoint that cannot be used.
    """
    from rich.console import Console

    if plan.stream and target.role == "embedding":
        raise BadInput("embeddings are not streamed: leave out --stream")
    for path in (json, html):
        if path is not None and not path.parent.is_dir():
            raise BadInput(f"there is no folder {path.parent}: make it, or write {path.name} elsewhere")
    progress = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    progress.print(announcement(target, plan))
    loads: list[Load] = []
    stopped = True

    def show(load: Load) -> None:
        loads.append(load)
        progress.print(f"{level(load.loop, load.level)}: {load.answers_per_second:,.1f} answers/s")

    try:
        stopped = asyncio.run(_until_stopped(target, plan, show=show, tell=progress.print))
    finally:
        if loads:
            found = _findings(target, plan, loads, stopped=stopped)
            print_findings(found, Console(stderr=json == _STANDARD_OUTPUT, soft_wrap=True))
            _write(found, json=json, html=html)
    return 130 if stopped else 0


async def _until_stopped(
    target: Target, plan: Plan, *, show: Callable[[Load], None], tell: Callable[[str], None]
) -> bool:
    """Measure; returns whether a signal stopped it."""
    stop = Stop()
    with stop_on_signals(
        stop, on_first=lambda: tell("stopping: no more requests are sent; Ctrl-C again to stop at once")
    ):
        await bench(target, plan, stop=stop, show=show, nonce=secrets.token_hex(3))
    return stop.requested


async def bench(target: Target, plan: Plan, *, stop: Stop, show: Callable[[Load], None], nonce: str) -> None:
    """Send each load of `plan` to the endpoint, one after another, and `show` its results.

    `nonce` makes the prompts of this run unlike all others, so that no cache answers them. Ends early when `stop` is
    requested, or after a load with no answer. Raises `Fatal` when the endpoint cannot be used.
    """
    model = target.model
    endpoint = provider(model.provider)(
        providers.Target(
            role=target.role,
            model=model,
            name=model.model,
            base_url=model.base_url,
            api_key=api_key(model, target.role),
            stream=plan.stream,
            cut_off=True,
        )
    )
    unsent = requests(target, plan, nonce)
    async with endpoint as call:
        await _try(call, next(unsent))
        for at in plan.levels:
            outcomes = await _load(call, islice(unsent, plan.requests_at(at)), plan, at, stop)
            if not outcomes:
                return
            found = measured(outcomes, loop=plan.loop, level=at)
            show(found)
            if not found.answers:
                raise Fatal(
                    f"nothing was answered at {level(plan.loop, at)}: {outcomes[0].reason}; lower the load, or fix the endpoint"
                )
            if stop.requested:
                return


@contextlib.contextmanager
def simulated() -> Iterator[str]:
    """The base URL of a simulated endpoint that answers at once, in a process of its own."""
    command = child_command("jobs.simulator:main")
    # In its own session Ctrl-C does not reach it, so that requests in flight are answered.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


async def _try(call: Call, request: Request) -> None:
    """Send one request that is not measured: it opens a connection, and finds a wrong setting before the loads start."""
    with contextlib.suppress(Transient):
        try:
            await call(request)
        except Permanent as error:
            raise Fatal(f"the endpoint does not answer such requests: {error}; fix the flags or the model") from error


async def _load(call: Call, requests: Iterator[Request], plan: Plan, at: float, stop: Stop) -> list[Outcome]:
    if plan.loop == "closed":
        return await closed_loop(call, requests, concurrency=int(at), seconds=plan.seconds_each, stop=stop)
    return await open_loop(call, requests, rate=at, seconds=plan.seconds_each, stop=stop)


def _findings(target: Target, plan: Plan, loads: list[Load], *, stopped: bool) -> Findings:
    return Findings(
        endpoint=target.model.base_url,
        simulated=target.simulated,
        role=target.role,
        model=target.model.model,
        loop=plan.loop,
        streamed=plan.stream,
        input_tokens=plan.input_tokens,
        max_tokens=plan.max_tokens,
        loads=loads,
        capacity=capacity(loads),
        stopped=stopped,
    )


def _write(found: Findings, *, json: Path | None, html: Path | None) -> None:
    if json is not None:
        _put(json, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if html is not None:
        from jobs.bench.page import bench_html

        _put(html, bench_html(found))


def _put(path: Path, data: bytes) -> None:
    if path == _STANDARD_OUTPUT:
        sys.stdout.write(data.decode())
        return
    with naming_the_disk(path):
        write_atomic(path, data)
