"""The simulated endpoint without the network: admits or rejects, decides on faults, counts, and times the answer.

A request goes key → model → storm → limits → fault → answer. A request that is rejected before its fault is decided
counts as no attempt, so a prompt meets the same faults in the same order however often it was rejected in between.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from typing import Any, Literal

import msgspec

from engine.errors import BadInput
from jobs.simulator.batches import Batches
from jobs.simulator.counters import Counters
from jobs.simulator.files import Files
from jobs.simulator.limits import Limits, format_duration, retry_after
from jobs.simulator.openai import Asked, Refused, Written, read, write
from jobs.simulator.prefix_cache import PrefixCache
from jobs.simulator.quirky import Quirks, with_quirks
from jobs.simulator.responses import head, lines, stream, whole
from jobs.simulator.settings import Fault, Simulation, fault_picker, latency_s
from jobs.simulator.slots import Slots
from jobs.simulator.tuning import Platform

__all__ = ["Endpoint", "FaultScript", "Play", "Received", "Seen"]


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A whole HTTP request. `headers` have lower-case names; they may hold a key, so they are never shown."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Received({self.method} {self.path}, {len(self.body)} bytes)"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The input of a scripted ``fault``: ``attempt`` counts the attempts of ``key`` from 0.

    ``route`` is "chat", "embeddings", "files", "batches", "fine_tuning", "models" or "unknown". ``key`` is the hash of what
    decides the answer (prompt, model, format); off chat and embeddings it is the path after ``/v1/``.
    """

    route: str
    key: str
    attempt: int
    model: str = ""
    prompt: str = ""


class Play(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: pieces, each after its wait in seconds, and then the fate of the connection.

    ``asked`` is the request that it answers successfully, if any; ``in_flight`` says whether that was counted as in
    flight.
    """

    pieces: tuple[tuple[float, bytes], ...]
    end: Literal["keep", "close", "reset", "hang"] = "keep"
    asked: Asked | None = None
    in_flight: bool = False
    completion_tokens: int = 0


FaultScript = Callable[[Seen], Fault | None]
_ON_THE_WIRE = ("status", "reset", "short", "torn", "hang", "slow")


class Endpoint:
    """Turns each request into a `Play`. `fault` is asked before the seeded faults; `clock` returns seconds."""

    def __init__(self, simulation: Simulation, *, clock: Callable[[], float], fault: FaultScript | None = None) -> None:
        self.simulation = simulation = with_quirks(simulation)
        self.counters = Counters()
        self._clock = clock
        self._script = fault
        self._pick = fault_picker(simulation)
        self._attempts: Counter[str] = Counter()
        self._files = Files(simulation, clock)
        self._platform = Platform(simulation, clock, self._files)
        self._limits: dict[str, Limits] = {}
        self._prefixes = PrefixCache(simulation.prefix_cache_tokens) if simulation.prefix_cache_tokens else None
        self._slots = Slots(simulation.slots, clock)
        self._quirks = Quirks(simulation.quirk)
        self._batches = Batches(
            simulation,
            clock=clock,
            files=self._files,
            counters=self.counters,
            answer_row=self._row,
            ways=self._quirks,
        )
        self._storm_ends_s = -math.inf
        self._log = _open_log(simulation.log_path)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def receive(self, request: Received) -> Play:
        """Decide the answer to `request` and its times, without waiting."""
        route = _route(request.path)
        self.counters.requests[route] += 1
        if route == "counters":
            self._batches.catch_up()
            return _plain(200, self.counters.to_json())
        try:
            self._check_key(request)
            if route in ("chat", "embeddings"):
                return self._paid(route, request)
            return self._unpaid(route, request)
        except Refused as refused:
            if refused.status == 429:
                self.counters.rejected += 1
            else:
                self.counters.refused += 1
            return _plain(refused.status, refused.body, refused.headers)

    def finish(self, play: Play, *, whole: bool) -> None:
        """Count the end of `play`; `whole` says whether all of it was sent."""
        counters = self.counters
        counters.in_flight -= play.in_flight
        asked = play.asked
        if not whole:
            counters.abandoned += 1
        elif asked is not None:
            self._count(asked, play.completion_tokens)

    def _count(self, asked: Asked, completion_tokens: int) -> None:
        """`asked` was answered, and is paid."""
        counters = self.counters
        counters.answered += 1
        counters.answered_by_model[asked.model] += 1
        counters.answers_by_prompt[asked.key] += 1
        counters.prompt_tokens += asked.prompt_tokens
        counters.cached_tokens += asked.cached_tokens or 0
        counters.completion_tokens += completion_tokens
        if self._log is not None:
            os.write(self._log, f"{asked.key} {time():.6f}\n".encode())

    def _check_key(self, request: Received) -> None:
        key = self.simulation.api_key
        if key and request.headers.get("authorization") != f"Bearer {key}":
            raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")

    def _unpaid(self, route: str, request: Received) -> Play:
        path = request.path.removeprefix("/v1/")
        fault = self._fault(Seen(route=route, key=path, attempt=0)) if self._script else None
        if fault is not None and fault.kind == "status":
            raise _scripted(fault)
        found = self._found(request, self._quirks.path(request.method, path))
        if (request.method, path) == ("POST", "batches") and self._batches.loses_answer():
            fault = Fault(kind="reset")
        body = found if isinstance(found, bytes) else msgspec.json.encode(found)
        return self._play(Written(body=body), b"", fault, first_s=0.0, whole_s=0.0)

    def _found(self, request: Received, path: str) -> Any:
        """What an unpaid request gets: JSON, or the bytes of a file."""
        match path.split("/"):
            case ["files", *name]:
                self._batches.catch_up()
                content_type = request.headers.get("content-type", "")
                return self._files.answer(request.method, name, request.query, content_type, request.body)
            case ["batches", *name]:
                return self._batches.answer(request.method, name, request.query, request)
        return self._platform.answer(request.method, path, request.query, request.body)

    def _row(self, route: str, body: bytes, request: Received) -> tuple[int, Any]:
        """Answer a row of the batch that `request` made, as if it came online; faults and limits are those of batches."""
        alone = msgspec.structs.replace(request, body=body)
        if (refusal := self._quirks.refusal(route, alone)) is not None:
            return refusal.status, refusal.body
        try:
            asked = read(self.simulation, route, body)
            if not self._platform.knows(asked.model):
                raise Refused(404, f"The model `{asked.model}` does not exist", code="model_not_found")
            written = self._quirks.altered(write(self.simulation, asked))
        except Refused as refused:
            return refused.status, msgspec.json.decode(refused.body)
        if written.events:
            return 400, msgspec.json.decode(Refused(400, "stream is not supported in batches", param="stream").body)
        self._count(asked, written.completion_tokens)
        return 200, msgspec.json.decode(written.body)

    def _paid(self, route: str, request: Received) -> Play:
        if request.method != "POST":
            raise Refused(405, f"Not allowed to {request.method} on {request.path}")
        if (refusal := self._quirks.refusal(route, request)) is not None:
            self.counters.refused += 1
            return _plain(refusal.status, refusal.data, lines(refusal.headers), refusal.content_type)
        asked = read(self.simulation, route, request.body)
        if not self._platform.knows(asked.model):
            message = f"The model `{asked.model}` does not exist or you do not have access to it."
            raise Refused(404, message, code="model_not_found")
        headers = self._admit(asked)
        fault = self._fault(Seen(route=route, key=asked.key, attempt=0, model=asked.model, prompt=asked.prompt))
        if fault is not None and fault.kind == "status":
            return _plain(fault.status, _scripted(fault).body, headers + _scripted(fault).headers)
        kind = fault.kind if fault is not None and fault.kind not in _ON_THE_WIRE else ""
        asked = self._looked_up(asked)
        written = self._quirks.altered(write(self.simulation, asked, kind))
        headers += self._quirks.headers
        latency = latency_s(self.simulation, route, asked.key)
        whole_s = latency + self._writing_s(written)
        first_s = min(self.simulation.first_byte_s or (latency if written.events else whole_s), whole_s)
        wait_s = self._slots.take(whole_s)
        if self._prefixes is not None and asked.route == "chat":
            self._prefixes.keep(asked.model, asked.prompt, self._clock() + wait_s + first_s)
        counters = self.counters
        counters.in_flight += 1
        counters.most_in_flight = max(counters.most_in_flight, counters.in_flight)
        return self._play(written, headers, fault, first_s=wait_s + first_s, whole_s=wait_s + whole_s, asked=asked)

    def _looked_up(self, asked: Asked) -> Asked:
        """`asked` with the number of prompt tokens in the prefix cache, if there is one."""
        if self._prefixes is None or asked.route != "chat":
            return asked
        found = self._prefixes.find(asked.model, asked.prompt, self._clock())
        return msgspec.structs.replace(asked, cached_tokens=found)

    def _writing_s(self, written: Written) -> float:
        """The time from the first token of an answer to its last."""
        per_second = self.simulation.output_tokens_per_second
        return written.completion_tokens / per_second if per_second else 0.0

    def _fault(self, seen: Seen) -> Fault | None:
        """The fault of this attempt: the script's, else the seeded one. Raises `Refused` in a storm."""
        if self._script is None and self._pick is None:
            return None
        attempt = self._attempts[seen.key]
        self._attempts[seen.key] = attempt + 1
        fault = self._script(msgspec.structs.replace(seen, attempt=attempt)) if self._script else None
        if fault is None and self._pick is not None and seen.model:
            fault = self._pick(seen.key, attempt)
        if fault is not None:
            self.counters.faults[str(fault.status) if fault.kind == "status" else fault.kind] += 1
            if fault.kind == "storm":
                self._storm_ends_s = self._clock() + self.simulation.storm_s
                self._check_storm()
        return fault

    def _check_storm(self) -> None:
        left_s = self._storm_ends_s - self._clock()
        if left_s > 0:
            message = f"Rate limit reached. Please try again in {format_duration(left_s)}."
            raise Refused(429, message, type="requests", code="rate_limit_exceeded", headers=retry_after(left_s))

    def _admit(self, asked: Asked) -> bytes:
        """Charge the request to the limits and return their headers; raises `Refused` if they reject it."""
        self._check_storm()
        simulation = self.simulation
        if 0 < simulation.max_in_flight <= self.counters.in_flight:
            raise Refused(simulation.overload_status, "Too many requests at once.", type="overloaded_error")
        if not simulation.requests_per_minute and not simulation.tokens_per_minute:
            return b""
        if asked.model not in self._limits:
            self._limits[asked.model] = Limits(simulation, self._clock)
        headers = self._limits[asked.model].take(asked)
        self.counters.charged_tokens += asked.charged_tokens
        return headers

    def _play(
        self,
        written: Written,
        headers: bytes,
        fault: Fault | None,
        *,
        first_s: float,
        whole_s: float,
        asked: Asked | None = None,
    ) -> Play:
        """Schedule the bytes of a good response, and damage them as the fault says."""
        kind = fault.kind if fault is not None else ""
        if kind == "hang":
            return Play(pieces=(), end="hang", in_flight=asked is not None)
        late_s = self.simulation.slow_s if kind == "slow" else 0.0
        parts = stream(written.events, headers, kind) if written.events else whole(written.body, headers, kind)
        if first_s == whole_s:
            parts = [b"".join(parts)]
        gap_s = (whole_s - first_s) / max(1, len(parts) - 1)
        return Play(
            pieces=tuple((gap_s if i else first_s + late_s, part) for i, part in enumerate(parts)),
            end="reset" if kind == "reset" else "close" if kind == "short" else "keep",
            asked=asked if kind in ("", "slow") else None,
            in_flight=asked is not None,
            completion_tokens=written.completion_tokens,
        )


def _open_log(path: str) -> int | None:
    if not path:
        return None
    try:
        return os.open(Path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}: choose another log_path") from error


def _route(path: str) -> str:
    if path == "/v1/chat/completions":
        return "chat"
    name = path.removeprefix("/v1/").split("/")[0] if path.startswith("/v1/") else path.strip("/")
    return name if name in ("embeddings", "files", "batches", "fine_tuning", "models", "counters") else "unknown"


def _scripted(fault: Fault) -> Refused:
    headers = b"" if fault.retry_after_s is None else retry_after(fault.retry_after_s)
    kind = "server_error" if fault.status >= 500 else "invalid_request_error"
    return Refused(fault.status, fault.message, type=kind, code=fault.code, headers=headers)


def _plain(status: int, body: bytes, headers: bytes = b"", content_type: str = "application/json") -> Play:
    return Play(pieces=((0.0, head(status, len(body), headers, content_type) + body),))
