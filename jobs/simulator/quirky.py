"""The quirks of one simulated endpoint: which requests they refuse, and how they change answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from jobs.simulator.openai import Written
from jobs.simulator.quirks import QUIRKS, Exchange, Refusal
from jobs.simulator.settings import Simulation

__all__ = ["Quirks", "with_quirks"]


def with_quirks(simulation: Simulation) -> Simulation:
    """`simulation` with the settings of its quirks."""
    ways = [QUIRKS[name].batches for name in simulation.quirk]
    return replace(simulation, **{key: value for way in ways if way for key, value in way.settings.items()})


class _Received(Protocol):
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def query(self) -> Mapping[str, str]: ...


class Quirks:
    """Applies the quirks called `names`, in this order. Streams are sent as they are.

    ``headers`` are whole lines that go with each good answer.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._quirks = [QUIRKS[name] for name in names]
        self._ways = [quirk.batches for quirk in self._quirks if quirk.batches is not None]
        self._seen: Counter[str] = Counter()
        self._exchange: Exchange | None = None
        lines = [f"{name}: {value}\r\n" for quirk in self._quirks for name, value in quirk.headers.items()]
        self.headers = "".join(lines).encode()

    def refusal(self, route: str, request: _Received) -> Refusal | None:
        """The refusal of the request by a quirk, if any. The request is remembered for `altered`."""
        if not self._quirks:
            return None
        try:
            body = msgspec.json.decode(request.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return None
        plain = Exchange(route=route, body=body, number=0, attempt=0, headers=request.headers, query=request.query)
        key = blake2b(plain.prompt.encode("utf-8", "replace"), digest_size=8).hexdigest()
        self._exchange = msgspec.structs.replace(plain, number=self._seen[route], attempt=self._seen[key])
        self._seen.update((route, key))
        found = (quirk.refuses(self._exchange) for quirk in self._quirks if quirk.refuses is not None)
        return next((refusal for refusal in found if refusal is not None), None)

    def altered(self, written: Written) -> Written:
        """The answer to the request that `refusal` was asked about last, as the quirks write it."""
        alters = [quirk.alters for quirk in self._quirks if quirk.alters is not None]
        if not alters or self._exchange is None or not written.body:
            return written
        body = msgspec.json.decode(written.body)
        for alter in alters:
            body = alter(body, self._exchange)
        return msgspec.structs.replace(written, body=msgspec.json.encode(body))

    def path(self, method: str, path: str) -> str:
        """What `path`, which follows /v1/, stands for; "" where there is nothing."""
        for way in self._ways:
            path = way.path(method, path)
        return path

    def shown(self, kind: str, body: Any) -> Any:
        """The JSON of a batch, of their list, or of a line of results, as the quirks write it; None for no line."""
        for way in self._ways:
            body = None if body is None else way.shows(kind, body)
        return body
