"""`gristmill bench`: what an endpoint can do at each load, where its knee is, and the settings that follow.

It costs what its requests cost. How many there will be at most is said before the first is sent, and holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from engine.errors import BadInput, Fatal, Permanent, Transient
from engine.files import naming_the_disk, write_atomic
from engine.requests import Call, Request
from engine.signals import Stop, stop_on_signals
from jobs import config
from jobs.capacity import Load, Loop, capacity, measured
from jobs.chat import chat
from jobs.config import Model, api_key
from jobs.embed import embedding
from jobs.endpoint import Endpoint
from jobs.findings import Findings, level, print_findings
from jobs.loads import Outcome, closed_loop, open_loop

__all__ = ["Plan", "Target", "bench", "find_target", "run", "simulated"]

_STANDARD_OUTPUT = Path("-")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which loads to measure: ``levels`` of requests in flight (closed loop) or a second (open loop), rising.

    At each, at most ``requests`` are sent, for at most ``seconds``. None is four for each in flight and no fewer than
    64, within a minute, or what ten seconds of a rate are. Raises `BadInput` for loads that these cannot fill.
    """

    loop: Loop
    levels: tuple[float, ...]
    requests: int | None = None
    seconds: float | None = None
    input_tokens: int = 256
    max_tokens: int = 128
    stream: bool = False

    def __post_init__(self) -> None:
        if self.loop == "closed" and self.requests is not None and self.requests < 2 * self.levels[-1]:
            raise BadInput(
                f"{self.requests} requests are too few to measure {self.levels[-1]:g} in flight: "
                f"set --requests to {2 * self.levels[-1]:g} or more, or lower --concurrency"
            )

    def requests_at(self, at: float) -> int:
        if self.requests is not None:
            return self.requests
        return max(64, 4 * math.ceil(at)) if self.loop == "closed" else max(1, math.ceil(at * self.seconds_each))

    @property
    def seconds_each(self) -> float:
        return self.seconds or (60.0 if self.loop == "closed" else 10.0)

    @property
    def most_requests(self) -> int:
        """All that will ever be sent: those of every load, and the first, which is not measured."""
        return 1 + sum(map(self.requests_at, self.levels))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The model to measure and its role in the configuration; ``simulated`` where it is one of ours."""

    role: str
    model: Model
    simulated: bool = False


def find_target(
    role: str, flags: Mapping[str, str | None], *, file: Path | None = None, simulated: str | None = None
) -> Target:
    """The model of `role` in the configuration `file`, with what `flags` say of it; or one at the URL `simulated`.

    A configuration's key goes to its own address only. Raises `BadInput` for what is no endpoint.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if simulated is not None:
        if given:
            raise BadInput("--model and --api-key-env go with --base-url or --config: say where the model is")
        name = "simulated-embedding" if role == "embedding" else "simulated-chat"
        given = {"model": name, "base_url": simulated, "api_key_env": ""}
    elif "base_url" in given:
        given.setdefault("api_key_env", "")
    settings = config.validate(config.load(file) if file else {})
    before = getattr(settings.models, role).model_dump(exclude_none=True)
    model: Model = getattr(config.validate({"models": {role: before | given}}).models, role)
    if model.local:
        raise BadInput(f"[models.{role}] is no model at an endpoint: name one with --base-url and --model")
    return Target(role=role, model=model, simulated=simulated is not None)


def run(target: Target, plan: Plan, *, json: Path | None = None, html: Path | None = None) -> int:
    """Measure, show and write; returns the exit code. What was measured is shown however it ends.

    `json` may be "-" for standard output. Raises `Fatal` for an endpoint that cannot be used.
    """
    from rich.console import Console

    if plan.stream and target.role == "embedding":
        raise BadInput("embeddings are not streamed: leave out --stream")
    for path in (json, html):
        if path is not None and not path.parent.is_dir():
            raise BadInput(f"there is no folder {path.parent}: make it, or write {path.name} elsewhere")
    progress = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    progress.print(_announcement(target, plan))
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
    """Measure; returns whether it was stopped by a signal."""
    stop = Stop()
    with stop_on_signals(stop, on_first=lambda: tell("stopping: no more are sent; once more to stop at once")):
        await bench(target, plan, stop=stop, show=show, nonce=secrets.token_hex(3))
    return stop.requested


async def bench(target: Target, plan: Plan, *, stop: Stop, show: Callable[[Load], None], nonce: str) -> None:
    """Put each load of `plan` on the endpoint, one after another, and `show` what came of it.

    `nonce` makes the prompts of this run unlike those of any other, so that no cache answers them. Ends early when
    `stop` is requested, or at a load of which nothing was answered. Raises `Fatal` when the endpoint cannot be used.
    """
    model = target.model
    endpoint = Endpoint(
        target.role,
        model,
        base_url=model.base_url,
        api_key=api_key(model, target.role),
        name=model.model,
        stream=plan.stream,
        cut_off=True,
    )
    requests = _requests(target, plan, nonce)
    async with endpoint:
        await _try(endpoint, next(requests))
        for at in plan.levels:
            outcomes = await _load(endpoint, islice(requests, plan.requests_at(at)), plan, at, stop)
            if not outcomes:
                return
            found = measured(outcomes, loop=plan.loop, level=at)
            show(found)
            if not found.answers:
                raise Fatal(
                    f"nothing was answered at {level(plan.loop, at)}: {outcomes[0].reason}; lower the load, or mend it"
                )
            if stop.requested:
                return


@contextlib.contextmanager
def simulated() -> Iterator[str]:
    """The base URL of a simulated endpoint that answers at once, in a process of its own."""
    command = [sys.executable, "-m", "jobs.cli", "simulate"]
    # In a session of its own Ctrl-C does not reach it: what is in flight shall be answered.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


async def _try(call: Call, request: Request) -> None:
    """Send one request that is not measured: it opens a connection, and a mistake costs no more than itself."""
    with contextlib.suppress(Transient):
        try:
            await call(request)
        except Permanent as error:
            raise Fatal(f"the endpoint does not answer such requests: {error}; mend the flags or the model") from error


async def _load(call: Call, requests: Iterator[Request], plan: Plan, at: float, stop: Stop) -> list[Outcome]:
    if plan.loop == "closed":
        return await closed_loop(call, requests, concurrency=int(at), seconds=plan.seconds_each, stop=stop)
    return await open_loop(call, requests, rate=at, seconds=plan.seconds_each, stop=stop)


_NOTES = (
    "A journal appends rows and syncs them before the line that promises them. After a crash a torn last line is "
    "dropped, and the data file is cut to the last byte that was promised. Commits are grouped: one sync serves many "
    "rows, and the next group is what arrived while the last one was written. A seal makes a file final: its rows are "
    "sorted, written under another name, synced and renamed. "
)
_CHARACTERS_PER_TOKEN = 4.8  # of English prose like this one, in the tokenizers of today


def _requests(target: Target, plan: Plan, nonce: str) -> Iterator[Request]:
    """Requests of about `plan.input_tokens` each; they differ from their first words on, where caches look."""
    length = int(plan.input_tokens * _CHARACTERS_PER_TOKEN)
    notes = (_NOTES * (1 + length // len(_NOTES)))[:length]
    number = 0
    while True:
        number += 1
        if target.role == "embedding":
            yield embedding([f"Notes {nonce}-{number}: {notes}"])
        else:
            prompt = f"Notes {nonce}-{number}: {notes}\n\nExplain these notes at length, with an example for each."
            yield chat("bench", [{"role": "user", "content": prompt}], max_tokens=plan.max_tokens)


def _announcement(target: Target, plan: Plan) -> str:
    most, model = plan.most_requests, target.model
    sent, got = most * plan.input_tokens, most * plan.max_tokens * (target.role != "embedding")
    whose = (
        "the simulated endpoint, in a process of its own" if target.simulated else f"{model.model} at {model.base_url}"
    )
    price = ""
    if model.input_usd_per_million is not None:
        dollars = (sent * model.input_usd_per_million + got * (model.output_usd_per_million or 0)) / 1e6
        price = f", about ${dollars:.2f}"
    return f"measures {whose}: at most {most:,} requests, about {sent:,} tokens in, {got:,} out{price}"


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
        from jobs.bench_page import bench_html

        _put(html, bench_html(found))


def _put(path: Path, data: bytes) -> None:
    if path == _STANDARD_OUTPUT:
        sys.stdout.write(data.decode())
        return
    with naming_the_disk(path):
        write_atomic(path, data)
