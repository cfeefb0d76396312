"""The rates of one endpoint: how much each request counts, when it may be sent, and what the server says of that.

Two meters (requests and tokens per minute) are filled with the estimates of requests. In a process that shares its limits
with others (`Rates.lease`) the meters go by the share that was granted. What a server says to remain is there for all
processes, so it corrects no meter here: it is noted, for the process that grants shares.
"""

from __future__ import annotations

import msgspec

from engine.demands import LimitDemand, Observed, Share, Sums
from engine.errors import Permanent
from engine.estimates import Estimate, Estimates, Sent, Tariff
from engine.meters import Meter, Reported
from engine.requests import Request, ServerLimits, Usage

__all__ = ["Counted", "Rates", "believable"]


class Counted:
    """One request as it is counted: its estimate, what is charged for it, and how the books stood when it was sent."""

    __slots__ = ("charge", "estimate", "request", "request_mark", "sent", "token_mark")

    estimate: Estimate
    sent: Sent
    charge: float
    request_mark: float
    token_mark: float

    def __init__(self, request: Request) -> None:
        self.request = request

    def explained_by(self, reported: ServerLimits | None) -> bool:
        """Whether a limit that the server states explains a rejection; else a hidden limit caused it."""
        if reported is None:
            return False
        return (reported.remaining_requests is not None and reported.remaining_requests < 2) or (
            reported.remaining_tokens is not None and reported.remaining_tokens < 2 * self.charge
        )


class Rates:
    """Both meters, and the estimates that they are filled with; times are the loop's."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self.requests = Meter(requests_per_minute)
        self.tokens = Meter(tokens_per_minute)
        self.estimates = Estimates()
        self.tariff = Tariff()
        self._workers = 0  # that share these rates; 0 while nothing is leased
        self._observed: tuple[float, Observed] | None = None

    @property
    def known(self) -> bool:
        """Whether there is a rate now."""
        return bool(self.requests.rate or self.tokens.rate)

    def ready_at(self, counted: Counted) -> float:
        """The time from which the request may be sent, if none is sent before; infinite for one that needs a share first."""
        counted.estimate = self.estimates.of(counted.request)
        counted.charge = self.tariff.charge(counted.estimate)
        return max(self.requests.ready_at(1), self.tokens.ready_at(counted.charge))

    def refuse_too_large(self, counted: Counted) -> None:
        """Raise `Permanent` (kind "too_large") for a request that can never be admitted."""
        if counted.charge > self.tokens.largest:
            request = counted.request
            raise Permanent(
                f"the request counts for about {counted.charge:.0f} tokens and the endpoint admits "
                f"{self.tokens.largest:.0f} at once: shorten its prompt ({request.characters} characters), lower "
                f"max_tokens ({request.max_output_tokens}) or raise tokens_per_minute",
                kind="too_large",
            )

    def take(self, counted: Counted, now: float) -> None:
        """The request is sent now."""
        self.tariff.add(counted.request, counted.estimate)
        counted.sent = self.tariff.sums(now)
        counted.request_mark = self.requests.take(1, now)
        counted.token_mark = self.tokens.take(counted.charge, now)

    def count(self, counted: Counted, usage: Usage, now: float) -> None:
        """Learn from the true cost of an answer, and return what was reserved beyond it."""
        self.estimates.learn(counted.request, usage)
        if used := usage.prompt_tokens + usage.completion_tokens:
            self.tokens.give_back(counted.charge - used, now)

    def reject(self, now: float) -> None:
        """The server rejects requests, though our meters had room."""
        self.requests.reject(now)
        self.tokens.reject(now)

    def hear(self, counted: Counted, reported: ServerLimits, now: float) -> None:
        """Learn from the limits that the reply to a request states."""
        requests = Reported(reported.limit_requests, reported.remaining_requests, reported.reset_requests_s)
        tokens = Reported(reported.limit_tokens, reported.remaining_tokens, reported.reset_tokens_s)
        if self._workers:
            self._note(counted, requests, tokens, now)
            return
        sent, charge = counted.sent, counted.charge
        self.requests.hear(requests, mark=counted.request_mark, amount=1, sent_at=sent.at, now=now)
        self.tokens.hear(tokens, mark=counted.token_mark, amount=charge, sent_at=sent.at, now=now)
        if tokens.remaining is not None and self.tokens.server_rate:
            self.tariff.learn(
                sent,
                tokens.remaining,
                rate=self.tokens.server_rate,
                tokens_per_character=self.estimates.tokens_per_character,
                near_full=self.tokens.near_full(tokens, charge),
            )

    def lease(self, share: Share, now: float) -> None:
        """Go by `share` from now on."""
        self._workers = share.workers
        self.requests.lease(_per_s(share.requests_per_minute), now, saved=share.saved)
        self.tokens.lease(_per_s(share.tokens_per_minute), now, saved=share.saved)
        if share.tariff is not None:
            self.tariff.follow(*share.tariff)

    def lapse(self, now: float) -> None:
        """The lease has ended: nothing is sent any more where there is a limit."""
        for meter in (self.requests, self.tokens):
            if meter.rate:
                meter.lease(0.0, now)

    def demand(self, started: int, now: float) -> LimitDemand:
        """What is known here; an observation is in one demand only."""
        sums, seen = self.tariff.sums(now), self._observed
        self._observed = None
        return LimitDemand(
            requests_per_minute=self.requests.configured,
            tokens_per_minute=self.tokens.configured,
            stated_requests=self.requests.stated,
            stated_tokens=self.tokens.stated,
            sums=Sums(requests=started, characters=sums.characters, output=sums.output, most_output=sums.most_output),
            tokens_per_character=self.estimates.tokens_per_character,
            observed=None if seen is None else msgspec.structs.replace(seen[1], age_s=now - seen[0]),
        )

    def _note(self, counted: Counted, requests: Reported, tokens: Reported, now: float) -> None:
        for meter, reported, amount in ((self.requests, requests, 1.0), (self.tokens, tokens, counted.charge)):
            meter.note(reported, amount)
            if meter.unlimited and meter.stated is not None:
                meter.lease(meter.stated / 60 / self._workers, now)
        if tokens.remaining is not None:
            self.tariff.hear(counted.sent)
        sent_at = counted.sent.at
        stated = requests.remaining is not None or tokens.remaining is not None
        if stated and (self._observed is None or sent_at >= self._observed[0]):
            self._observed = (
                sent_at,
                Observed(
                    age_s=0.0,
                    requests=requests.remaining,
                    tokens=tokens.remaining,
                    full_requests=self.requests.full(requests, 1),
                    full_tokens=self.tokens.full(tokens, counted.charge),
                    near_full=self.tokens.near_full(tokens, counted.charge),
                ),
            )


def believable(reported: ServerLimits, usage: Usage) -> ServerLimits:
    """What of `reported` can be so, of a server that has just admitted a request of `usage`."""
    if reported.limit_tokens is not None and reported.limit_tokens < usage.prompt_tokens:
        # It has admitted more than it says to admit in a minute: it counts something else.
        return msgspec.structs.replace(reported, limit_tokens=None, remaining_tokens=None, reset_tokens_s=None)
    return reported


def _per_s(per_minute: float | None) -> float | None:
    return None if per_minute is None else per_minute / 60
