"""The retry policy: tenacity decides when an attempt that failed is made again.

Only `Transient` is retried: after what the server asked for, else after a jittered exponential wait. What a server says
of itself (rate limits, overload) is waited out for as long as it lasts; what may be the record's own doing (a server
error, a body that does not decode) gets a bounded number of attempts, and is `Permanent` after them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from engine.errors import Permanent, Transient
from engine.events import AttemptFailed, Hook
from engine.requests import Call, Reply, Request

__all__ = ["RetryPolicy", "retrying"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """``attempts`` bounds the tries of one record; waits are full-jitter exponential, in seconds.

    Errors whose kind is in ``waited_out`` do not count as tries.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    waited_out: frozenset[str] = frozenset({"rate_limited", "overloaded"})


def retrying(call: Call, policy: RetryPolicy, *, sleep: Callable[[float], Awaitable[None]], hook: Hook) -> Call:
    """Make `call` again while it raises `Transient` and the policy allows it.

    ``sleep`` waits between attempts and may raise to end the waiting. Raises `Permanent` with the last error's kind
    when the attempts are used up.
    """
    backoff = wait_random_exponential(multiplier=policy.first_wait_s, max=policy.longest_wait_s)

    def counted(state: RetryCallState) -> bool:
        error = _error(state)
        if error.kind not in policy.waited_out:
            tries = state.kwargs["tries"]
            tries.append(error.kind)
            return len(tries) >= policy.attempts
        return False

    def wait(state: RetryCallState) -> float:
        asked = _error(state).retry_after_s
        # A shared Retry-After would wake everybody in one instant: spread them over a little more than was asked.
        return backoff(state) if asked is None else asked + backoff(state) / 8

    def tell(state: RetryCallState) -> None:
        error = _error(state)
        hook(
            AttemptFailed(
                job=state.args[0].job,
                kind=error.kind,
                reason=str(error),
                attempt=state.attempt_number,
                wait_s=state.upcoming_sleep,
            )
        )

    def give_up(state: RetryCallState) -> Reply:
        error = _error(state)
        raise Permanent(f"gave up after {state.attempt_number} attempts: {error}", kind=error.kind) from error

    async def attempt(request: Request, *, tries: list[str], failed: list[Transient]) -> Reply:
        del tries
        if failed:
            raise failed.pop()
        return await call(request)

    again = AsyncRetrying(
        retry=retry_if_exception_type(Transient),
        stop=counted,
        wait=wait,
        sleep=sleep,
        before_sleep=tell,
        retry_error_callback=give_up,
    )

    async def retried(request: Request) -> Reply:
        try:
            return await call(request)
        except Transient as error:
            first = error
        # Only now: most requests need no policy, and tenacity costs a third of the engine's CPU (benchmarks/).
        return await again.copy()(attempt, request, tries=[], failed=[first])

    return retried


def _error(state: RetryCallState) -> Transient:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, Transient):
        raise TypeError(f"only Transient errors are retried, not {error!r}")
    return error
