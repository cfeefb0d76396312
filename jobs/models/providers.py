"""Providers by name: each opens one model behind an address as a `Call`, and speaks whatever that address speaks.

``provider = "NAME"`` of a model's section chooses one. The table names the class of each; its module, and the library
that it needs, are imported when it is first used. A new provider is a module and one line here. Whatever is foreign
(JSON, statuses, headers, exceptions) becomes a `Reply` or an error of `engine.errors` inside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol, cast

from engine.batches.service import BatchService
from engine.errors import BadInput
from engine.requests import Call
from jobs.config import Model

__all__ = [
    "PROVIDERS",
    "Provider",
    "Target",
    "batch_service",
    "check_batches",
    "check_provider",
    "has_batches",
    "provider",
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The model that a provider opens.

    ``role`` is its section in the configuration, for messages; ``name`` what the server calls it, which is not the
    ``model``'s where it was tuned; ``api_key`` "" where none is sent. ``reached`` holds the addresses that have answered:
    the endpoints of one run share it, and tell an outage from an address that was never right by it. With ``stream`` a
    chat answer is asked for piece by piece, and replies tell when the first token came. With ``cut_off`` an answer that
    ends at its greatest length is as good as any, as it is to who measures. ``tell`` gets a line for the user, as what was
    learned of how the server wants its requests. ``learned`` is the provider's own memory of that: targets of one model
    share it, the one that is asked request by request and the one that is asked in batches.
    """

    role: str
    model: Model
    name: str
    base_url: str
    api_key: str
    reached: set[Any] = field(default_factory=set)
    stream: bool = False
    cut_off: bool = False
    tell: Callable[[str], None] = lambda line: None
    learned: dict[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """Opens a model: entered, it is a `Call`, until it is left.

    It raises `Transient` for an attempt that failed, `Permanent` for a record that cannot be done, and `Fatal` for what no
    record gets past. A reply says what it cost, and a chat reply has text.
    """

    def __call__(self, target: Target) -> AbstractAsyncContextManager[Call]: ...


class BatchProvider(Protocol):
    """A provider that answers in batches as well: it has an attribute `batches`, which opens those of a model."""

    def batches(self, target: Target) -> AbstractAsyncContextManager[BatchService]: ...


PROVIDERS: dict[str, str] = {
    "openai": "jobs.models.openai.endpoint:Endpoint",
}


def check_provider(name: str, role: str) -> None:
    """Raise `BadInput` where the table has no provider called `name`."""
    if name not in PROVIDERS:
        near = difflib.get_close_matches(name, PROVIDERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROVIDERS)}"
        raise BadInput(f"configuration: models.{role}.provider: there is no provider {name!r}; {hint}")


def provider(name: str) -> Provider:
    """The provider called `name`, which the table must have."""
    module, _, found = PROVIDERS[name].partition(":")
    return cast(Provider, getattr(import_module(module), found))


def has_batches(name: str) -> bool:
    """Whether the provider called `name`, which is imported for that, answers in batches too."""
    return hasattr(provider(name), "batches")


def check_batches(name: str, role: str) -> None:
    """Raise `BadInput` where the provider called `name` has no batches."""
    if not has_batches(name):
        raise BadInput(f"[models.{role}] has batch = true, and the provider {name!r} has no batches: leave it out")


def batch_service(target: Target) -> AbstractAsyncContextManager[BatchService]:
    """The batches of a model; raises `BadInput` where its provider has none."""
    check_batches(target.model.provider, target.role)
    return cast(BatchProvider, provider(target.model.provider)).batches(target)
