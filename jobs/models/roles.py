"""The models behind the roles: each is opened when it is first called, and closed with the run.

A role's call is put together here: ``batched(retrying(budgeted(limited(endpoint))))``, with ``deferring`` around it where
the role's requests go in batches. Roles that name the same model at the same address share one limit, those of the same
file one local server; an endpoint only where every setting is the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engine.batches.batches import Batches
from engine.batches.policy import BatchPolicy
from engine.batches.service import BatchService
from engine.budget import Budget, budgeted
from engine.calls import batched
from engine.errors import BadInput, Fatal
from engine.events import Hook, Note
from engine.limits import Limit, limited
from engine.prices import Price
from engine.records import make_id
from engine.requests import Call, Reply, Request
from engine.retries import RetryPolicy, retrying
from engine.signals import Stop, Stopped
from jobs.config import Config, Model, api_key
from jobs.models.providers import Target, batch_service, check_batches, check_provider, provider
from jobs.models.usage import price_of
from jobs.run.background_imports import imported
from jobs.run.model_names import model_name
from jobs.run.traffic import Traffic

if TYPE_CHECKING:
    from engine.cluster.leaseholder import Leaseholder
    from jobs.models.gguf import Served
    from jobs.models.llama_server import LocalServer

__all__ = [
    "LOCAL_SLOTS",
    "ModelCalls",
    "batch_policy",
    "check",
    "check_connections",
    "local_file",
    "served_by",
    "slots",
    "used",
]

LOCAL_SLOTS = 4
"""Requests that the embedded server answers at a time: on two cores more only wait for each other."""

_FREE_SLOTS = 512


def slots(model: Model) -> int:
    """How many records may be in flight for this model: 2 × concurrency, half in flight and half backing off."""
    return 2 * (LOCAL_SLOTS if model.local else model.max_concurrency or _FREE_SLOTS // 2)


def used(config: Config) -> dict[str, Model]:
    """The sections whose models a run may ask, each model with its price: nothing is generated for a file's pairs."""
    unused = "generator" if config.evaluate.pairs else ""
    return {section: config.model(section) for section in config.models.sections() if section != unused}


def served_by(config: Config) -> list[str]:
    """Which model at which address serves which section of [models], one line each."""
    return [
        f"{section}: {'the embedded model' if model.model == 'local' else model_name(model)} "
        f"{'on this machine' if model.local else f'at {model.base_url}'}{', in batches' if model.batch else ''}"
        for section, model in used(config).items()
    ]


def check(config: Config) -> None:
    """Raise `BadInput` for a key or a price that is needed and not set, before anything is sent."""
    for role, model in used(config).items():
        if not model.local:
            check_provider(model.provider, role)
            api_key(model, role)
            if model.batch:
                check_batches(model.provider, role)
        elif model.batch:
            raise BadInput(
                f"[models.{role}] has batch = true, and its model is local: there is no provider that takes batches; "
                "leave batch out there"
            )
        if config.budget.usd is not None and _price(model) is None:
            raise BadInput(
                f"budget.usd is set, and {model.model!r} of [models.{role}] has no price: state input_usd_per_million "
                f'and output_usd_per_million in [prices."{model.model}"] (0 where it is free), or use budget.tokens'
            )


async def check_connections(config: Config) -> None:
    """Raise `BadInput` for an address, a proxy or a certificate that cannot be used, before anything is sent.

    The HTTP client is imported for that, beside the event loop.
    """
    ways: Any = await imported("jobs.models.connection")
    for role, model in used(config).items():
        if not model.local:
            ways.connection(role, model)


def local_file(model: Model, weights: Path | None) -> Path:
    """The file, or the Hugging Face folder, of a local model; `weights` are those of the embedded one.

    Raises `BadInput` when it is not there."""
    if model.model == "local":
        if weights is None:
            raise RuntimeError("the embedded model's weights were not fetched before the run")
        return weights
    path = Path(model.model.removeprefix("local:"))
    if not path.is_file() and not (path / "config.json").is_file():
        raise BadInput(f"there is no model file {path}; correct model = {model.model!r}")
    return path


class ModelCalls:
    """The `Call` of a whole run: it sends each request to the model of the section that the request names.

    ``tuned`` gives the tuned model's name, None while there is none; it answers at the address of [models.base], or is
    ``served`` here, where it was tuned here. ``traffic`` counts what is under way. ``weights`` are those of the embedded model, where a role has it.
    """

    def __init__(
        self,
        config: Config,
        *,
        budget: Budget,
        weights: Path | None,
        stop: Stop,
        hook: Hook,
        tuned: Callable[[], str | None],
        served: Callable[[], Served | None] = lambda: None,
        watched: Callable[[Call], Call] = lambda call: call,
        leases: Leaseholder | None = None,
    ) -> None:
        """Parameters: more than six, since it joins a run, its budget, its hooks and its tuned model.

        `watched` wraps what sends a request, inside all limits and retries. `leases` has the part of this process of what
        several share: the limits of all endpoints.
        """
        self._config = config
        self._budget = budget
        self._weights = weights
        self._stop = stop
        self._hook = hook
        self._tuned = tuned
        self._served = served
        self._watched = watched
        self._opening = asyncio.Lock()
        self._calls: dict[str, Call] = {}
        self._endpoints: dict[tuple[str, str, str], Call] = {}
        self._servers: dict[tuple[Path, Path | None], LocalServer] = {}
        self._limits: dict[tuple[str, ...], Limit] = {}
        self._reached: set[Any] = set()
        self._learned: dict[tuple[str, str], dict[str, Any]] = {}
        self.traffic = Traffic()
        self._batches: Batches | None = None
        self._open = AsyncExitStack()
        self._leases = leases
        if leases is not None:  # now, so that the first grant holds for the first request
            for model in used(config).values():
                self._limit(model)

    @property
    def limits(self) -> list[tuple[str, str, Limit]]:
        """The models that were asked so far: name, address and limit of each."""
        return [(model, base_url, limit) for (base_url, model, *_), limit in self._limits.items()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def __call__(self, request: Request) -> Reply:
        call = self._calls.get(request.to)
        if call is None:
            async with self._opening:
                call = self._calls.get(request.to) or await self._ready(request.to)
                self._calls[request.to] = call
        return await call(request)

    @property
    def capped(self) -> Budget | None:
        """The budget, where it has a cap."""
        return self._budget if self._budget.usd is not None or self._budget.tokens is not None else None

    async def defer(self, batches: Batches) -> None:
        """From now on requests go in `batches`, where their model is to be asked so; what they have left is taken up.

        Raises `Fatal` where that belongs to another account.
        """
        self._batches = batches
        self._calls.clear()
        known = {*used(self._config), *(["tuned"] if self._tuned() is not None else [])}
        for role in sorted(batches.roles & known):  # a candidate may have been dropped, and its rows with it
            await self._follow(role)

    async def batch_service(self, role: str) -> BatchService:
        """The batches of the model of `role`, open until the run ends. Raises `BadInput` where its provider has none."""
        model, name = self._model(role)
        return await self._open.enter_async_context(batch_service(self._target(role, model, name)))

    def _model(self, role: str) -> tuple[Model, str]:
        """The section of `role`, and what the server calls its model."""
        name = None
        if role == "tuned":
            name = self._tuned()
            if name is None:
                raise Fatal("there is no tuned model; run gristmill finetune first")
        model = self._config.model("base" if role == "tuned" else role)
        return model, name or model.model

    async def _ready(self, role: str) -> Call:
        model, _ = self._model(role)
        online = await self._online(role)
        if self._batches is None or not (model.batch or role in self._batches.roles):
            return online
        await self._follow(role)
        return self._batches.deferring(role, online)

    async def _follow(self, role: str) -> None:
        assert self._batches is not None
        model, name = self._model(role)
        await self._batches.follow(role, batch_policy(model), make_id(name, *map(str, _meaning(model))))

    async def _online(self, role: str) -> Call:
        model, name = self._model(role)
        endpoint = await self._endpoint(role, model, name)
        call = limited(self.traffic.watched(self._watched(endpoint)), self._limit(model))
        if self.capped is not None:
            call = budgeted(call, self.capped, price=_price(model))
        call = retrying(call, RetryPolicy(), sleep=self._stop.sleep, hook=self._hook)
        return batched(call, size=model.batch_size, characters=_characters(model.batch_tokens))

    def _limit(self, model: Model) -> Limit:
        key = (model.base_url, model.model, str(model.requests_per_minute), str(model.tokens_per_minute))
        if key not in self._limits:
            limit = Limit(
                requests_per_minute=model.requests_per_minute,
                tokens_per_minute=model.tokens_per_minute,
                max_concurrency=LOCAL_SLOTS if model.local else model.max_concurrency,
            )
            self._stop.when_requested(lambda: limit.close(Stopped("the run is stopping")))
            self._limits[key] = limit
            if self._leases is not None and not model.local:
                self._leases.add("\n".join(key), limit)
        return self._limits[key]

    async def _endpoint(self, role: str, model: Model, name: str) -> Call:
        key = (model.model_dump_json(), name, "embedding" if role == "embedding" else "chat")
        if key not in self._endpoints:
            self._endpoints[key] = await self._opened(role, model, name)
        return self._endpoints[key]

    async def _opened(self, role: str, model: Model, name: str) -> Call:
        if not model.local:
            return await self._open.enter_async_context(provider(model.provider)(self._target(role, model, name)))
        from jobs.models.llama_server import while_up
        from jobs.models.minilm import LocalEmbedding

        if role == "embedding":
            if model.model != "local":
                raise BadInput('[models.embedding] may be model = "local" or a model at an endpoint, not a local file')
            return self._open.enter_context(LocalEmbedding())
        server = await self._server(model, self._served() if role == "tuned" else None)
        # A local model may take minutes for an answer while others wait before it: only a dead server times out.
        patient = model.model_copy(update={"timeout_s": max(model.timeout_s, 1800.0)})
        target = Target(
            role=role, model=patient, name=model_name(model), base_url=server.base_url, api_key=server.api_key
        )
        return while_up(await self._open.enter_async_context(provider("openai")(target)), server)

    def _target(self, role: str, model: Model, name: str) -> Target:
        return Target(
            role=role,
            model=model,
            name=name,
            base_url=model.base_url,
            api_key=api_key(model, "base" if role == "tuned" else role),
            reached=self._reached,
            learned=self._learned.setdefault((role, name), {}),
            tell=lambda line: self._hook(Note(job="models", text=line)),
        )

    async def _server(self, model: Model, tuned: Served | None) -> LocalServer:
        """The server of a local model, or of what was made of it here."""
        from jobs.models.gguf import runtime_file
        from jobs.models.llama_server import LocalServer

        lora = tuned.adapter if tuned else None
        file = tuned.model if tuned else None
        if file is None:
            file = await asyncio.to_thread(runtime_file, local_file(model, self._weights))
        if (file, lora) not in self._servers:
            server = LocalServer(file, slots=LOCAL_SLOTS, context_tokens=_context_tokens(self._config), lora=lora)
            self._servers[file, lora] = await self._open.enter_async_context(server)
        return self._servers[file, lora]


def _context_tokens(config: Config) -> int:
    """Room for the longest prompt and its answer, by a tokenizer that may need a third more than ours."""
    contexts = config.parse.chunk_size * config.augment.top_k
    return max(4096, 1024 * math.ceil((1.34 * contexts + 1536) / 1024))


def _characters(tokens: int | None) -> int | None:
    """A number of characters that make at most `tokens` tokens in languages written with an alphabet."""
    return None if tokens is None else 3 * tokens


def batch_policy(model: Model) -> BatchPolicy:
    """How the requests of `model` go in batches; without ``batch`` no more of them are sent so."""
    return BatchPolicy(
        window=model.batch_window,
        window_s=model.window_s,
        rounds=model.batch_rounds if model.batch else 0,
        rows=model.batch_rows,
        bytes=model.batch_bytes,
        enqueued_tokens=model.batch_enqueued_tokens,
        price=price_of(model).in_batches() if model.priced else None,
    )


def _meaning(model: Model) -> tuple[object, object]:
    """What, beside its name, decides what a model answers."""
    return sorted(model.meaning().items()), model.temperature


def _price(model: Model) -> Price | None:
    return price_of(model) if model.priced else None
