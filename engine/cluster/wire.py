"""A worker at the end of a wire: its methods as names and bytes, for whatever carries these there and back.

Both ends of a wire are of one release, so there are no versions. Nothing is pickled.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from engine.cluster.messages import Decision, Orders, Report, Task, Worked
from engine.cluster.place import Place
from engine.errors import BadInput, Fatal, GristmillError, TakenOver
from engine.shards import Seal
from engine.signals import Stopped

__all__ = ["Exchange", "Wired", "accepted", "answer", "opened", "refusal"]

Exchange = Callable[[str, bytes], Awaitable[bytes]]
"""Carries the name of a method and its argument to the worker, and what `answer` makes of them back; raises `Lost`."""

T = TypeVar("T")

_TAKES: dict[str, Any] = {"work": Task, "decide": Decision, "beat": Orders}
_ERRORS: dict[str, type[GristmillError]] = {each.__name__: each for each in (Fatal, BadInput, Stopped, TakenOver)}


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a method has returned, or the name and the text of the error that it has raised."""

    value: bytes = b""
    error: str = ""
    text: str = ""


class Wired:
    """A `Place` at the other end of an `exchange`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def work(self, task: Task) -> Worked:
        return await self._ask("work", task, Worked)

    async def decide(self, decision: Decision) -> Seal:
        return await self._ask("decide", decision, Seal)

    async def beat(self, orders: Orders) -> Report:
        return await self._ask("beat", orders, Report)

    async def _ask(self, method: str, argument: msgspec.Struct, kind: type[T]) -> T:
        value: T = _value(await self._exchange(method, msgspec.msgpack.encode(argument)), kind)
        return value


def _value(answered: bytes, kind: Any) -> Any:
    answer = msgspec.msgpack.decode(answered, type=_Answer)
    if not answer.error:
        return msgspec.msgpack.decode(answer.value, type=kind)
    if answer.error in _ERRORS:
        raise _ERRORS[answer.error](answer.text)
    raise RuntimeError(f"a worker failed:\n{answer.text}")


async def answer(place: Place, method: str, argument: bytes) -> bytes:
    """Call the method of that name at the worker's end; returns what goes back over the wire, an error too."""
    try:
        value = await getattr(place, method)(msgspec.msgpack.decode(argument, type=_TAKES[method]))
    except Exception as error:  # noqa: BLE001 - whatever it is, the head decides what it means
        return refusal(error)
    return msgspec.msgpack.encode(_Answer(value=msgspec.msgpack.encode(value)))


def accepted() -> bytes:
    """The answer of a worker that is ready."""
    return msgspec.msgpack.encode(_Answer(value=msgspec.msgpack.encode(None)))


def opened(answered: bytes) -> None:
    """Raises what the worker has raised instead of getting ready."""
    _value(answered, None)


def refusal(error: Exception) -> bytes:
    """The answer that makes the head raise `error`: as it is where it ends the run or the work, else with its traceback."""
    name = next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS), "")
    text = str(error) if name else "".join(traceback.format_exception(error))
    return msgspec.msgpack.encode(_Answer(error=name or type(error).__name__, text=text))
