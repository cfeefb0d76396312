"""One limit that several processes share: what each is granted of it.

The invariant, for requests and tokens per minute and for requests in flight: the shares that may be in use never exceed
together what may be used at that time. A share counts from when it is granted until its lease has ended, or its holder says
that it follows a later grant. So what is taken from one process is given to another in a later grant.
"""

from __future__ import annotations

from collections import deque
from math import inf

import msgspec

from engine.cluster.division import Turns, fair, fair_whole
from engine.cluster.sums import minus, mixed, plus, times
from engine.cluster.supply import Supply
from engine.demands import LimitDemand, Observed, Share, Sums
from engine.estimates import Estimate, Sent, Tariff

__all__ = ["LEASE_S", "SharedLimit"]

LEASE_S = 3.0
"""How long a share may be used after the demand that it answers was sent, in seconds."""

_TURN_S = 10.0
_FLOOR = 0.02
_RECENT_S = 1.5
_APART_S = 0.1
_KEPT = 120
_NOTHING = Share(requests_per_minute=0.0, tokens_per_minute=0.0, max_concurrency=0)


class _Held(msgspec.Struct, frozen=True):
    """A share that may be in use until ``until``."""

    number: int
    until: float
    share: Share


class _Process:
    """What is known of one process. ``recent`` is what it sends a second."""

    def __init__(self) -> None:
        self.demand = LimitDemand()
        self.waited = False
        self.recent = Sums()
        self.held: list[_Held] = []
        self.sums: deque[tuple[float, Sums]] = deque(maxlen=_KEPT)

    def hear(self, demand: LimitDemand, applied: int, now: float) -> None:
        self.waited = self.demand.waiting > 0
        self.demand = demand
        self.sums.append((now, demand.sums))
        self.recent = times(minus(demand.sums, self.sent(now - _RECENT_S)), 1 / _RECENT_S)
        self.held = [held for held in self.held if held.number >= applied and held.until > now]

    def sent(self, at: float) -> Sums:
        """What it had sent by the time `at`, interpolated between its demands before and after; after the last one, at its last rate."""
        if not self.sums:
            return Sums()
        later = self.sums[-1]
        for time, sums in reversed(self.sums):
            gap = later[0] - time
            if gap >= _APART_S and time <= at:
                return mixed(sums, later[1], min((at - time) / gap, 1 + _RECENT_S / gap))
            if gap >= _APART_S:
                later = (time, sums)
        return later[1]


class SharedLimit:
    """The limit of one endpoint, for about `workers` processes; times are the caller's.

    Nothing is granted before ``quiet_until``. ``fresh`` says that nobody used the limit before.
    """

    def __init__(self, *, workers: int, quiet_until: float, fresh: bool) -> None:
        self._workers = workers
        self._quiet_until = quiet_until
        self._unsaved = 1.0 if fresh else 0.0  # the part of a second's worth that nobody was granted as saved
        self._processes: dict[str, _Process] = {}
        self._gone: list[_Process] = []
        self._turns = Turns(_TURN_S)
        self._requests, self._tokens = Supply(exact=True), Supply(exact=False)
        self._tariff = Tariff(span_s=3.0)
        self._taken = self._past = Sums()
        self._peaks: dict[str, tuple[float, float]] = {}
        self._paused_until = -inf
        self._max_concurrency: int | None = None

    def grant(self, worker: str, demand: LimitDemand, *, applied: int, number: int, now: float) -> Share:
        """The share of grant `number`, in answer to a demand that was made after grant `applied`."""
        process = self._processes.setdefault(worker, _Process())
        rejected = demand.rejected > process.demand.rejected
        process.hear(demand, applied, now)
        self._learn(demand, now)
        if rejected:
            self._requests.reject(now)
            self._tokens.reject(now)
        if demand.paused_s > 1.0:
            self._paused_until = max(self._paused_until, now + demand.paused_s)
        share = _NOTHING if now < max(self._quiet_until, self._paused_until) else self._share(worker, now)
        process.held.append(_Held(number, now + LEASE_S, share))
        return share

    def lost(self, worker: str) -> None:
        """The process is gone; its share counts until its lease has ended."""
        if worker in self._processes:
            self._gone.append(self._processes.pop(worker))

    def held(self, now: float) -> tuple[float, float, float]:
        """What may be in use now: requests and tokens a second, requests in flight."""
        return self._others("", "requests", now), self._others("", "tokens", now), self._others("", "in_flight", now)

    def _learn(self, demand: LimitDemand, now: float) -> None:
        self._requests.learn(demand.requests_per_minute, demand.stated_requests)
        self._tokens.learn(demand.tokens_per_minute, demand.stated_tokens)
        self._max_concurrency = demand.max_concurrency
        for process in [process for process in self._gone if all(held.until <= now for held in process.held)]:
            self._past = plus(self._past, process.sent(now))
            self._gone.remove(process)
        sent = self._sent(now)
        taken, self._taken = minus(sent, self._taken), sent
        self._requests.advance(taken.requests, now)
        self._tokens.advance(self._charge(taken), now)
        seen = demand.observed
        if seen is not None:
            self._observe(seen, sent, now)

    def _observe(self, seen: Observed, sent: Sums, now: float) -> None:
        then = self._sent(now - seen.age_s)
        since = minus(sent, then)
        if seen.requests is not None:
            self._requests.observe(
                seen.requests, seen.full_requests, age_s=seen.age_s, taken_since=since.requests, grain=1.0, now=now
            )
        if seen.tokens is not None:
            if self._tokens.stated < inf:
                self._tariff.learn(
                    Sent(now - seen.age_s, then.characters, then.output, then.most_output),
                    seen.tokens,
                    rate=self._tokens.stated,
                    tokens_per_character=self._tokens_per_character,
                    near_full=seen.near_full,
                )
            self._tokens.observe(
                seen.tokens,
                seen.full_tokens,
                age_s=seen.age_s,
                taken_since=self._charge(since),
                grain=self._largest(now),
                now=now,
            )

    def _share(self, worker: str, now: float) -> Share:
        places = self._places(now)
        active = self._turns.taken_by(self._processes, self._wanting(), min(places, len(self._processes)), now)
        at_once = float(len(active))
        requests, tokens = self._requests.per_s(at_once), self._tokens.per_s(at_once * self._largest(now))
        of_requests = self._part(worker, "requests", requests, active, places, now)
        of_tokens = self._part(worker, "tokens", tokens, active, places, now)
        return Share(
            requests_per_minute=None if requests == inf else 60 * of_requests,
            tokens_per_minute=None if tokens == inf else 60 * of_tokens,
            max_concurrency=self._window(worker, active, now),
            workers=self._count,
            saved=self._saved(worker, of_requests / requests, of_tokens / tokens),
            tariff=self._tariff.factors,
        )

    def _places(self, now: float) -> int:
        """For how many processes the limit is enough: about a request a second for each."""
        largest = self._largest(now)
        places = self._count if self._max_concurrency is None else min(self._count, self._max_concurrency)
        for total, least in ((self._requests.per_s(1.0), 1.0), (self._tokens.per_s(largest), largest)):
            if total < inf and least:
                places = min(places, max(1, int(total / least)))
        return places

    def _part(self, worker: str, kind: str, total: float, active: set[str], places: int, now: float) -> float:
        """What `worker` gets of so much a second, beside what the others hold."""
        if total == inf or worker not in active:
            return 0.0
        floor = _FLOOR * total / len(active)
        wants = {name: self._want(self._processes[name], kind, floor) for name in active}
        # What nobody needs is for all, also for those that are yet to come.
        part = fair(total, wants)[worker] if inf in wants.values() else total / max(len(active), places)
        return max(0.0, min(part, self._most(kind, total, now) - self._others(worker, kind, now)))

    def _most(self, kind: str, total: float, now: float) -> float:
        """The most that might be used a second at any time within the last lease: all parts shrink as one, each with the
        next grant of its process, so that the first to ask is not left without."""
        most, since = self._peaks.get(kind, (0.0, now))
        if total >= most or now - since >= LEASE_S:
            most, since = self._peaks[kind] = total, now
        return most

    def _want(self, process: _Process, kind: str, floor: float) -> float:
        if process.demand.waiting or process.waited:
            return inf
        used = process.recent.requests if kind == "requests" else self._charge(process.recent)
        return 1.25 * used + floor

    def _window(self, worker: str, active: set[str], now: float) -> int | None:
        if self._max_concurrency is None:
            return None
        if worker not in active:
            return 0
        wants = {
            name: inf if self._processes[name].demand.crowded else self._processes[name].demand.in_flight + 1.0
            for name in active
        }
        if inf not in wants.values():  # as much for each, also for those that are yet to come
            missing = max(0, min(self._count, self._max_concurrency) - len(active))
            wants = {**dict.fromkeys(wants, inf), **{f" {place}": inf for place in range(missing)}}
        part = fair_whole(self._max_concurrency, wants)[worker]
        return max(0, min(part, int(self._max_concurrency - self._others(worker, "in_flight", now))))

    def _saved(self, worker: str, *parts: float) -> bool:
        """Whether a second's worth of the share is there at once: once for each process, and one second's worth for all."""
        part = max(parts)
        process = self._processes[worker]
        if process.held or process.demand.sums.requests or not 0 < part <= self._unsaved + 1e-9:
            return False
        self._unsaved -= part
        return True

    def _others(self, worker: str, kind: str, now: float) -> float:
        """What processes but `worker` may have in use."""
        limit = self._requests.limit if kind == "requests" else self._tokens.limit
        total = 0.0
        for name, process in [*self._processes.items(), *(("", process) for process in self._gone)]:
            if name != worker or not name:
                shares = (_in_use(held.share, kind, limit) for held in process.held if held.until > now)
                most = max(shares, default=0.0)
                total += max(most, process.demand.in_flight) if kind == "in_flight" and name else most
        return total

    def _wanting(self) -> set[str]:
        return {
            name
            for name, process in self._processes.items()
            if process.demand.waiting or process.demand.crowded or process.waited
        }

    @property
    def _count(self) -> int:
        return max(self._workers, len(self._processes))

    def _sent(self, at: float) -> Sums:
        return plus(self._past, *(process.sent(at) for process in [*self._processes.values(), *self._gone]))

    @property
    def _tokens_per_character(self) -> float:
        weights = [
            (process.demand.sums.requests, process.demand.tokens_per_character) for process in self._processes.values()
        ]
        total = sum(weight for weight, _ in weights)
        return sum(weight * value for weight, value in weights) / total if total else 0.25

    def _charge(self, sums: Sums) -> float:
        """What the server counts for these requests, in tokens."""
        prompt = sums.characters * self._tokens_per_character
        estimate = Estimate(prompt=prompt, output=sums.output, most_output=sums.most_output)
        return self._tariff.charge(estimate)

    def _largest(self, now: float) -> float:
        """The tokens of a request, as far as is known: of the mean one, or of the largest that waits first somewhere."""
        recent = minus(self._sent(now), self._sent(now - 10 * _RECENT_S))
        mean = self._charge(recent) / recent.requests if recent.requests else 0.0
        return max([mean, *(process.demand.next_tokens for process in self._processes.values())])


def _in_use(share: Share, kind: str, limit: float) -> float:
    """What a share may use: one of a limit that is not known takes a part of it as soon as it is."""
    if kind == "in_flight":
        return share.max_concurrency or 0
    per_minute = share.requests_per_minute if kind == "requests" else share.tokens_per_minute
    if per_minute is not None:
        return per_minute / 60
    return 0.0 if limit == inf else limit / share.workers
