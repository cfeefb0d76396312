"""The fine-tuning routes of OpenAI's API through its own client, with our errors and our retries.

The client's retries are off: attempts are counted here and nowhere else. Answers are checked here, because the client
checks no types.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

from engine.errors import Fatal, GristmillError, Transient
from jobs.models.openai.official import official_client, untrusted_way
from jobs.tuning.job_states import is_failure, state_of

if TYPE_CHECKING:
    import openai
    from openai.types.fine_tuning import FineTuningJob as RemoteJob

    from jobs.config import Model
    from jobs.models.connection import Connection

__all__ = ["Provider", "Refused", "Sleep", "provider_at"]

ATTEMPTS = 6  # about half a minute
PATIENT_ATTEMPTS = 30  # about half an hour
REQUEST_TIMEOUT_S = 120.0  # between two bytes

_BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=60.0) + tenacity.wait_random(0.0, 0.5)

_NOT_READY = re.compile(
    r"\bfile\b.*(not (yet )?(been )?(ready|processed|validated|uploaded)"
    r"|(still|being|currently) (being )?(process|validat|upload|scann)|status\W+(pending|uploaded|processing|validating|queued))",
    re.IGNORECASE | re.DOTALL,
)
"""The words by which providers say that a file is not ready for training yet."""

_NO_LIST = {404, 405, 501}
"""The statuses of providers that have no list of jobs."""

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


@contextlib.asynccontextmanager
async def provider_at(way: Connection, base: Model, api_key: str, sleep: Sleep) -> AsyncIterator[Provider]:
    """The provider at the end of `way`, asked with the key, the headers and the query of `base`."""
    async with official_client(way, base, api_key, timeout_s=REQUEST_TIMEOUT_S) as client:
        yield Provider(client, api_key, sleep, way)


class Refused(Fatal):
    """The provider refuses a file or a job."""


class Provider:
    """OpenAI's client. Its errors become ours, and transient ones are retried here and nowhere else."""

    def __init__(self, client: openai.AsyncOpenAI, api_key: str, sleep: Sleep, way: Connection) -> None:
        self._client = client
        self._api_key = api_key
        self._way = way
        self.sleep = sleep

    async def upload(self, path: Path) -> str:
        """Upload a file in pieces and return its id at the provider. Raises `Refused` when it is rejected."""

        async def attempt() -> str:
            with await asyncio.to_thread(path.open, "rb") as file:
                sent = await self._client.files.create(file=(path.name, file), purpose="fine-tune")
            id_, status = _text(sent.id), getattr(sent, "status", None)
            if isinstance(status, str) and is_failure(status):
                details = getattr(sent, "status_details", None)
                raise Refused(f"the fine-tuning endpoint rejected {path.name}: {details or f'its status is {status}'}")
            return id_

        return await self._retrying(attempt)

    async def find_or_create(self, creation: Mapping[str, Any]) -> RemoteJob:
        """The job that `creation`, a request body, creates. Each attempt first looks for it: a lost reply may have
        created it."""

        async def attempt() -> RemoteJob:
            return _shaped(await self._find(creation) or await self._client.fine_tuning.jobs.create(**creation))

        return await self._retrying(attempt)

    async def job(self, job_id: str) -> RemoteJob:
        async def attempt() -> RemoteJob:
            import openai

            try:
                return _shaped(await self._client.fine_tuning.jobs.retrieve(job_id))
            except openai.NotFoundError as error:  # some providers list a job only a moment after they create it
                raise Transient(str(_ours(error, self._api_key)), kind=_MISSING) from None

        return await self._retrying(attempt, patient=True)

    async def events(self, job_id: str) -> Sequence[Any]:
        """The last hundred events, oldest first. None when they cannot be fetched: they are only shown to the user."""

        async def attempt() -> Sequence[Any]:
            page = await self._client.fine_tuning.jobs.list_events(job_id, limit=100)
            events = [event for event in page.data if _text(event.id) and _text(event.message)]
            events.reverse()  # they come newest first; those of one second keep their order
            events.sort(key=lambda event: event.created_at or 0)
            return events

        try:
            return await self._mapped(attempt)
        except (Transient, Fatal):
            return ()

    async def _find(self, creation: Mapping[str, Any]) -> RemoteJob | None:
        """The job of `creation` in the provider's list; None if it is not in the list, or if there is no list."""
        import openai

        seen: set[str] = set()
        try:
            page = await self._client.fine_tuning.jobs.list(limit=100)
        except openai.APIStatusError as error:
            if error.status_code in _NO_LIST:
                return None
            raise
        if not isinstance(page.data, list):  # else it would look like an empty list, and a second job would be started
            raise TypeError("a list of jobs without data")
        async for job in page:
            if job.id in seen:  # a provider without paging returns the first page each time
                return None
            seen.add(job.id)
            ours = job.metadata == creation["metadata"] or job.training_file == creation["training_file"]
            if ours and state_of(job) != "failed":
                return job
        return None

    async def _retrying(self, attempt: Callable[[], Awaitable[T]], *, patient: bool = False) -> T:
        """Retry until it works. With patience a lost network is waited out too, because the job goes on without us."""
        retrying = tenacity.AsyncRetrying(
            sleep=self.sleep,
            retry=lambda state: state.attempt_number < _attempts(state, patient=patient),
            wait=_wait_s,
            reraise=True,
        )
        try:
            return await retrying(self._mapped, attempt)
        except Transient as error:
            if error.kind in (_MISSING, _FILE):
                raise Fatal(str(error)) from None
            raise Fatal(f"the fine-tuning endpoint does not answer: {error}; run it again to go on") from error

    async def _mapped(self, attempt: Callable[[], Awaitable[T]]) -> T:
        import openai

        try:
            return await attempt()
        except (openai.APIError, json.JSONDecodeError) as error:
            # Without the cause: a provider's own error may repeat the key, and carries the request with its headers.
            raise untrusted_way(error, self._way) or _ours(error, self._api_key) from None
        except (AttributeError, TypeError) as error:
            # The client checks no types: other JSON, or no JSON, becomes text or an object without its fields.
            raise Transient("its answer does not have the shape of OpenAI's", kind="wrong_shape") from error


def _shaped(job: RemoteJob) -> RemoteJob:
    """`job`, after a check of the two fields that all else depends on."""
    _text(job.id), _text(job.status)
    return job


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in the place of text")
    return value


_MISSING, _FILE = "missing", "file_not_ready"


def _attempts(state: tenacity.RetryCallState, *, patient: bool) -> int:
    """The number of attempts for this kind of error. A file that is not ready is always waited for."""
    error = state.outcome.exception() if state.outcome else None
    match error:
        case Transient(kind="unreachable"):
            return PATIENT_ATTEMPTS if patient else 0
        case Transient(kind=kind) if kind == _MISSING:
            return ATTEMPTS
        case Transient(kind=kind):
            return PATIENT_ATTEMPTS if patient or kind == _FILE else ATTEMPTS
        case _:
            return 0


def _wait_s(state: tenacity.RetryCallState) -> float:
    """The wait that the server asked for, at most two minutes; else exponential with jitter, from half a second to a
    minute."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Transient) and error.retry_after_s is not None:
        return min(error.retry_after_s, 120.0)
    return _BACKOFF(state)


def _ours(error: openai.APIError | json.JSONDecodeError, api_key: str) -> GristmillError:
    import httpx2
    import openai

    text = _said(error)
    text = text.replace(api_key, "[key]") if api_key else text
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return Fatal(f"the fine-tuning endpoint refused the key ({error.status_code}): check api_key_env")
        case openai.RateLimitError(code="insufficient_quota"):
            return Fatal("the account at the fine-tuning endpoint has no quota left: add some and run it again")
        case openai.RateLimitError() | openai.ConflictError() | openai.InternalServerError():
            after = error.response.headers.get("retry-after", "")
            seconds = float(after) if after.replace(".", "", 1).isdecimal() else None
            return Transient(text, kind="server_error", retry_after_s=seconds)
        case openai.APIStatusError(status_code=408):
            return Transient(text, kind="timeout")
        case openai.APIConnectionError() if isinstance(error.__cause__, httpx2.ConnectError):
            return Transient("no connection", kind="unreachable")
        case openai.APIConnectionError():
            return Transient(text, kind="reset")
        case openai.APIResponseValidationError() | json.JSONDecodeError():
            return Transient(f"its answer is torn: {text}", kind="torn_body")
        case openai.APIStatusError() if _NOT_READY.search(text):
            return Transient(f"the fine-tuning endpoint refused: {text}", kind=_FILE)
        case openai.NotFoundError():
            return Refused(
                f"the fine-tuning endpoint knows no such model, file or job: {text}; "
                "check model and base_url, or delete models.json to start again"
            )
        case _:
            return Refused(f"the fine-tuning endpoint refused: {text}")


def _said(error: openai.APIError | json.JSONDecodeError) -> str:
    """The provider's own words, on one line of bounded length."""
    body = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(words or error).split())[:300]
