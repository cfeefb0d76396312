"""The retry policy: tenacity decides when a failed attempt is repeated.

Only `Transient` is retried: after the wait that the server asks for, else after a jittered exponential wait. Errors of
the server as a whole (rate limits, overload, no connection) are retried for as long as they last. Errors that the
record may cause (a server error, a body that does not decode) get a bounded number of attempts and then become
`Permanent`.

What concerns the key or the way to the endpoint, after it has answered, may pass: it is waited out for some minutes and
ends the run then, since no record is to blame.

A timeout, a reset or a server error may be either. All calls under one policy decide together: while the endpoint
answers others, the record is the cause; when an endpoint that has answered before answers no call any more and many
calls fail, it is an outage, and the calls are retried, for an hour at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from engine.errors import Fatal, GristmillError, Permanent, Transient
from engine.events import AttemptFailed, Hook
from engine.requests import Call, Reply, Request, Usage

__all__ = ["RetryPolicy", "retrying"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """``attempts`` bounds the attempts of one record; waits are full-jitter exponential, in seconds.

    Errors whose kind is in ``waited_out`` do not count as attempts. Those in ``outages`` do not count while
    ``outage_calls`` calls at once have failed and none was answered since, for ``outage_s`` seconds at most.

    Those in ``suspicions`` do not count while no call is answered; after ``suspicion_s`` seconds of that they are
    `Fatal`. Once ``series`` records in a row have ended by one kind and none was answered, each further record of
    that kind gets a single attempt; this does not hold for ``outages``.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    waited_out: frozenset[str] = frozenset({"rate_limited", "overloaded", "unreachable"})
    outages: frozenset[str] = frozenset({"timeout", "reset", "server_error"})
    outage_calls: int = 8
    outage_s: float = 3600.0
    suspicions: frozenset[str] = frozenset({"key_refused", "forbidden"})
    suspicion_s: float = 300.0
    series: int = 3


def retrying(call: Call, policy: RetryPolicy, *, sleep: Callable[[float], Awaitable[None]], hook: Hook) -> Call:
    """Repeat `call` while it raises `Transient` and the policy allows it.

    ``sleep`` waits between attempts and may raise to end the wait. The call raises `Permanent` with the last error's
    kind when the attempts are used up. The cost of failed attempts is added to the usage of the reply or of the error.
    """
    return _Retried(call, policy, sleep, hook).reply


class _Retried:
    """One call under one policy; the state of one request is in its `_Tries`."""

    def __init__(self, call: Call, policy: RetryPolicy, sleep: Callable[[float], Awaitable[None]], hook: Hook) -> None:
        self._call = call
        self._policy = policy
        self._hook = hook
        self._seen = _Seen()
        self._backoff = wait_random_exponential(multiplier=policy.first_wait_s, max=policy.longest_wait_s)
        self._again = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            stop=self._is_enough,
            wait=self._wait_s,
            sleep=sleep,
            before_sleep=self._tell,
            retry_error_callback=self._give_up,
        )

    async def reply(self, request: Request) -> Reply:
        before = self._seen.answers
        try:
            reply = await self._call(request)
        except Transient as error:
            first = error
        else:
            self._seen.answers += 1
            return reply
        # Created only now: most requests need no retry, and tenacity costs more than everything else around a call.
        self._seen.begin_failing()
        tries = _Tries(before)
        try:
            reply = await self._again.copy()(self._attempt, request, tries=tries, failed=[first])
        except GristmillError as error:
            raise error.costing(tries.paid + error.usage) from error.__cause__
        finally:
            self._seen.end_failing()
        return msgspec.structs.replace(reply, usage=tries.paid + reply.usage)

    async def _attempt(self, request: Request, *, tries: _Tries, failed: list[Transient]) -> Reply:
        """Make one more attempt; the first has ``failed`` already."""
        try:
            if failed:
                raise failed.pop()
            tries.answers_before = self._seen.answers
            reply = await self._call(request)
        except Transient as error:
            tries.paid += error.usage
            raise
        self._seen.answers += 1
        return reply

    def _is_enough(self, state: RetryCallState) -> bool:
        """Count an attempt, unless the endpoint is the cause, and return whether it was the last."""
        kind, tries, policy, seen = _error(state).kind, _tries(state), self._policy, self._seen
        silent_s = seen.silent_s()
        if kind in policy.waited_out:
            return False
        many = seen.failing >= policy.outage_calls and silent_s < policy.outage_s
        if kind in policy.outages and many and 0 < seen.answers == tries.answers_before:
            return False
        if kind in policy.suspicions and seen.answers == tries.answers_before:
            return silent_s >= policy.suspicion_s
        tries.count += 1
        hopeless = kind not in policy.outages and seen.is_series(kind, policy.series)
        return hopeless or tries.count >= policy.attempts

    def _give_up(self, state: RetryCallState) -> Reply:
        error, seen = _error(state), self._seen
        if error.kind in self._policy.suspicions and seen.answers == _tries(state).answers_before:
            raise Fatal(f"{error}, for {seen.silent_s() / 60:.0f} minutes; check that, then run the same command again")
        seen.gave_up(error.kind)
        plural = "s" * (state.attempt_number != 1)
        message = f"gave up after {state.attempt_number} attempt{plural}: {error}"
        raise Permanent(message, kind=error.kind).replying(error.reply) from error

    def _wait_s(self, state: RetryCallState) -> float:
        error = _error(state)
        if error.retry_after_s is not None:
            # A shared Retry-After would wake all calls at one instant: spread them over a slightly longer time.
            return error.retry_after_s + self._backoff(state) / 8
        # If others were answered meanwhile, the endpoint works, and a long wait gains nothing.
        chance = error.kind not in self._policy.waited_out and self._seen.answers > _tries(state).answers_before
        return self._backoff(state) / 4 if chance else self._backoff(state)

    def _tell(self, state: RetryCallState) -> None:
        error = _error(state)
        self._hook(
            AttemptFailed(
                job=state.args[0].job,
                kind=error.kind,
                reason=str(error),
                attempt=state.attempt_number,
                wait_s=state.upcoming_sleep,
            )
        )


class _Seen:
    """What all calls under one policy share: answers so far, and calls that have failed and try again."""

    __slots__ = ("_answers_then", "_idle_since", "_series", "_silent_since", "answers", "failing")

    def __init__(self) -> None:
        self.answers = 0
        self.failing = 0
        self._answers_then = -1
        self._silent_since = 0.0
        self._idle_since = 0.0
        self._series = ("", 0, 0)  # a kind of failure, how many records in a row, and the answers until then

    def begin_failing(self) -> None:
        """A call has failed, and is going to be repeated."""
        if not self.failing:
            self._silent_since += asyncio.get_running_loop().time() - self._idle_since
        self.failing += 1

    def end_failing(self) -> None:
        """A call that had failed has ended."""
        self.failing -= 1
        self._idle_since = asyncio.get_running_loop().time()

    def silent_s(self) -> float:
        """How long calls have failed and none was answered, in seconds, from the first failure after the last answer."""
        now = asyncio.get_running_loop().time()
        if self._answers_then != self.answers:
            self._answers_then, self._silent_since = self.answers, now
        return now - self._silent_since

    def gave_up(self, kind: str) -> None:
        """One more record has used up its attempts."""
        before, count, answers = self._series
        self._series = kind, count + 1 if (before, answers) == (kind, self.answers) else 1, self.answers

    def is_series(self, kind: str, length: int) -> bool:
        """Whether `length` records in a row ended by this `kind`, and nothing was answered since."""
        before, count, answers = self._series
        return before == kind and answers == self.answers and count >= length


class _Tries:
    """The counted attempts of one call, their cost, and the number of answers under the policy when the last one began."""

    __slots__ = ("answers_before", "count", "paid")

    def __init__(self, answers_before: int) -> None:
        self.answers_before = answers_before
        self.count = 0
        self.paid = Usage()


def _tries(state: RetryCallState) -> _Tries:
    tries: _Tries = state.kwargs["tries"]
    return tries


def _error(state: RetryCallState) -> Transient:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, Transient):
        raise TypeError(f"only Transient errors are retried, not {error!r}")
    return error
