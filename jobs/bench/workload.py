"""The workload of `gristmill bench`: the model, the loads and the requests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from engine.errors import BadInput
from engine.requests import Request
from jobs.bench.capacity import Loop
from jobs.config import Model
from jobs.models.chat import chat
from jobs.models.embeddings import embedding
from jobs.run import configfile

__all__ = ["Plan", "Target", "announcement", "find_target", "requests"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The loads to measure: ``levels`` of requests in flight (closed loop) or per second (open loop), in rising order.

    At each level at most ``requests`` are sent, for at most ``seconds``. Default: max(64, 4 × level) requests within
    60 s in a closed loop, 10 s in an open one. Raises `BadInput` for levels that need more requests.
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
        """The greatest number of requests: those of all loads, and the first, which is not measured."""
        return 1 + sum(map(self.requests_at, self.levels))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The model to measure and its role in the configuration; ``simulated`` if gristmill simulates it."""

    role: str
    model: Model
    simulated: bool = False


def find_target(
    role: str, flags: Mapping[str, str | None], *, file: Path | None = None, simulated: str | None = None
) -> Target:
    """The model of `role` in the configuration `file`, changed by `flags`; or a model at the URL `simulated`.

    A key of the configuration is sent to its own address only. Raises `BadInput` if no endpoint results.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if simulated is not None:
        if given:
            raise BadInput("--model and --api-key-env go with --base-url or --config: say where the model is")
        name = "simulated-embedding" if role == "embedding" else "simulated-chat"
        given = {"model": name, "base_url": simulated, "api_key_env": ""}
    elif "base_url" in given:
        given.setdefault("api_key_env", "")
    settings = configfile.validate(configfile.load(file) if file else {})
    before = getattr(settings.models, role).model_dump(exclude_none=True)
    model: Model = getattr(configfile.validate({"models": {role: before | given}}).models, role)
    if model.local:
        raise BadInput(f"[models.{role}] is no model at an endpoint: name one with --base-url and --model")
    return Target(role=role, model=model, simulated=simulated is not None)


def announcement(target: Target, plan: Plan) -> str:
    """The greatest number of requests and of tokens, in one line; with the cost if prices are known."""
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


_NOTES = (
    "A journal appends rows and syncs them before the line that promises them. After a crash a torn last line is "
    "dropped, and the data file is cut to the last byte that was promised. Commits are grouped: one sync serves many "
    "rows, and the next group is what arrived while the last one was written. A seal makes a file final: its rows are "
    "sorted, written under another name, synced and renamed. "
)
_CHARACTERS_PER_TOKEN = 4.55  # of these notes in cl100k_base, as are the tokens of what stands around them
_TOKENS_AROUND = 22


def requests(target: Target, plan: Plan, nonce: str) -> Iterator[Request]:
    """Requests of about `plan.input_tokens` each. They differ in their first words, so that no prefix cache helps."""
    length = int(max(0, plan.input_tokens - _TOKENS_AROUND) * _CHARACTERS_PER_TOKEN)
    notes = (_NOTES * (1 + length // len(_NOTES)))[:length]
    number = 0
    while True:
        number += 1
        if target.role == "embedding":
            yield embedding([f"Notes {nonce}-{number}: {notes}"])
        else:
            prompt = f"Notes {nonce}-{number}: {notes}\n\nExplain these notes at length, with an example for each."
            yield chat("bench", [{"role": "user", "content": prompt}], max_tokens=plan.max_tokens)
