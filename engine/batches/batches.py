"""Calls that defer: each request goes into a batch, and is answered when its record is processed again.

What a request's answer is kept under, its key, is a digest of the shard, the record, the model and the request. So the
same record finds its answer in any later process, and equal prompts of two records do not share one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from engine.batches.courier import Courier, Surroundings
from engine.batches.journal import Journal, Key
from engine.batches.ledger import Ledger
from engine.batches.outbox import Outbox, Parcel
from engine.batches.policy import BatchPolicy, BatchTimes
from engine.batches.queue import ProviderQueue
from engine.batches.record import BatchRecord
from engine.batches.results import Answers
from engine.batches.service import BatchService
from engine.budget import Budget, PromptLength, Reservation, most_usage
from engine.deferrals import Deferred
from engine.errors import Fatal, Permanent
from engine.events import Hook
from engine.records import make_id
from engine.requests import Call, Reply, Request
from engine.signals import Stop, uninterrupted

__all__ = ["Batches"]

OpenService = Callable[[str], Awaitable[BatchService]]


class _Role:
    """The batches of one role. ``identity`` is what its model is."""

    def __init__(self, service: BatchService, policy: BatchPolicy, outbox: Outbox, identity: str) -> None:
        self.service = service
        self.policy = policy
        self.outbox = outbox
        self.identity = identity
        self.queue = ProviderQueue(policy.enqueued_tokens)
        self.prompts = PromptLength()
        self._answered = False
        self._failed = 0

    def check(self, record: BatchRecord) -> None:
        """Raise `Fatal` when the provider takes none of our batches: two in a row failed, and no row was ever answered."""
        self._answered = self._answered or record.done > 0
        self._failed = self._failed + 1 if record.status == "failed" else 0
        if self._failed > 1 and not self._answered:
            raise Fatal(
                f"the provider refuses the batches of [models.{record.role}]: {record.reason or 'it does not say why'}; "
                "fix that, or set batch = false, then run the same command again"
            )


class Batches:
    """All batches of a run, kept in `folder`: the `Deferrals` of the runner. Enter it to take up those of earlier processes.

    ``open_service`` opens the batches of a role. `budget` is None where there is no cap; ``clock`` tells the seconds since
    1970.
    """

    active = True

    def __init__(
        self,
        folder: Path,
        open_service: OpenService,
        *,
        stop: Stop,
        hook: Hook,
        budget: Budget | None = None,
        times: BatchTimes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Parameters: seven, since it joins a run's folder, its providers, its budget and its hooks."""
        self._journal = Journal(folder)
        self._ledger = Ledger(self._journal, stop, budget)
        self._open_service = open_service
        self._stop = stop
        self._budget = budget
        self._times = times or BatchTimes()
        self._around = Surroundings(journal=self._journal, times=self._times, stop=stop, hook=hook, clock=clock)
        self._roles: dict[str, _Role] = {}
        self._next = 1
        self._couriers: dict[asyncio.Task[None], Courier] = {}
        self._fetched: set[int] = set()
        self._work = 0
        self._tasks = asyncio.TaskGroup()
        self._running = False

    async def __aenter__(self) -> Self:
        self._next = await self._ledger.begin()
        await self._tasks.__aenter__()
        self._running = True
        self._stop.when_requested(self._end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        # Whatever else has ended the run, a creation that is under way is waited for.
        await self._tasks.__aexit__(*(kind, error, trace) if cancelled else (None, None, None))

    @property
    def roles(self) -> set[str]:
        """The roles with batches or needed answers of an earlier process; known once this is entered."""
        return self._ledger.roles()

    async def follow(self, role: str, policy: BatchPolicy, identity: str) -> None:
        """Open the batches of `role`, and take up those that have not ended. ``identity`` is what its model is.

        Raises `Fatal` where one of them belongs to another account.
        """
        if role in self._roles:
            return
        service = await self._open_service(role)
        unfinished = self._ledger.unfinished(role)
        for record in unfinished:
            if record.account != service.account:
                raise Fatal(
                    f"batch {record.number} of this run was sent with another key or address of [models.{role}]: run "
                    "with those again to fetch it, or end it with gristmill batches --cancel"
                )
        outbox = Outbox(policy, self._times, self._begin, lambda parcel: self._send(role, parcel))
        found = self._roles[role] = _Role(service, policy, outbox, identity)
        for record in unfinished:
            held = None if self._budget is None else self._budget.hold(record.reserved)
            if record.state != "meant":
                found.queue.take(record.number, record.tokens)
            self._start(found, record, held)

    def deferring(self, role: str, online: Call) -> Call:
        """A call that answers from batches, and defers what is on its way; `online` gets all other requests.

        These are the second and further requests of a record, as repairs are, and those that came back unanswered from all
        the batches that they may stand in. `follow` must have been called.
        """
        found = self._roles[role]

        async def deferred(request: Request) -> Reply:
            answers = self._ledger.answers(request.group)
            if answers is None or request.turn:
                return await online(request)
            key = Key(_key(request, found.identity), request.group, request.input)
            if (reply := self._answer(found, answers, key, request)) is not None:
                return reply
            if key.id in answers.live:
                raise Deferred("its answer comes with a batch")
            self._stop.check()
            if answers.tried[request.input] >= found.policy.rounds:
                return await online(request)
            await self._put(found, answers, key, request)
            raise Deferred("it goes with the next batch")

        return deferred

    # What the runner asks and says, as `engine.deferrals` describes.

    def waits(self, group: str) -> bool:
        return self._ledger.waits(group)

    async def open(self, group: str, committed: Collection[str]) -> None:
        await self._ledger.open(group, committed)

    async def close(self, group: str, deferred: int) -> None:
        await self._ledger.close(group, deferred)

    async def settled(self, group: str) -> None:
        await self._ledger.settled(group)

    def release(self, group: str) -> None:
        numbers = self._ledger.release(group)
        if numbers and self._running:
            self._tasks.create_task(self._forget(numbers))

    def begin_work(self) -> None:
        self._work += 1

    def end_work(self) -> None:
        self._work -= 1
        if not self._work and self._running:
            asyncio.get_running_loop().call_later(self._times.quiet_s, self._flush_if_quiet)

    # From here on: how.

    def _answer(self, role: _Role, answers: Answers, key: Key, request: Request) -> Reply | None:
        """The answer that is on disk; None where there is none that counts, so that the request is to be sent."""
        found = answers.line(key.id)
        if found is None:
            return None
        line, number = found
        outcome = role.service.outcome(line, request)
        if isinstance(outcome, Reply):
            role.prompts.learn(request, outcome.usage)
            return msgspec.structs.replace(outcome, kept=True)
        if isinstance(outcome, Permanent) or (isinstance(outcome, Fatal) and number in self._fetched):
            raise outcome
        return None

    async def _put(self, role: _Role, answers: Answers, key: Key, request: Request) -> None:
        row = role.service.row(key.id, request)
        if self._budget is not None:
            most = most_usage(request, role.policy.price, role.prompts)
            await self._budget.extend(most, lambda: _held(role.outbox.parcel()))
            self._stop.check()
        answers.live.add(key.id)
        self._ledger.add_row(key.group)
        role.outbox.put(key, row, texts=max(1, len(request.texts)), tokens=role.prompts.likely(request))

    def _begin(self) -> Parcel:
        self._journal.make()
        number, self._next = self._next, self._next + 1
        return Parcel(self._journal, number, self._budget)

    def _send(self, name: str, parcel: Parcel) -> None:
        """Make a batch of what the outbox has gathered."""
        role = self._roles[name]
        record = parcel.record(name, role.policy, role.service.account, self._around.clock())
        self._ledger.add(record)
        self._start(role, record, parcel.held, parcel)

    def _start(self, role: _Role, record: BatchRecord, held: Reservation | None, parcel: Parcel | None = None) -> None:
        courier = Courier(record, role.service, role.policy, role.queue, self._around)
        task = self._tasks.create_task(self._carry(role, courier, held, parcel))
        self._couriers[task] = courier
        task.add_done_callback(lambda task: self._couriers.pop(task, None))
        if parcel is not None:
            task.add_done_callback(lambda _: parcel.close())  # a task that is cancelled before it begins leaves it open

    async def _carry(self, role: _Role, courier: Courier, held: Reservation | None, parcel: Parcel | None) -> None:
        """One batch, from the files of its parcel to its end."""
        with self._stop.on_error():
            before = courier.record
            if parcel is not None:
                await uninterrupted(asyncio.to_thread(parcel.sync))
                await self._around.write(before)
            record = await courier.run()
            self._fetched.add(record.number)
            if held is not None:
                held.settle(record.paid)
            role.outbox.most_tokens = role.queue.limit
            self._ledger.settle(before, record)
            await uninterrupted(asyncio.to_thread(self._journal.forget, record.number))
            role.check(record)

    async def _forget(self, numbers: list[int]) -> None:
        with self._stop.on_error():
            await self._ledger.forget(numbers)

    def _flush_if_quiet(self) -> None:
        """Send all that is there: no job of the run can go on, so no more requests come before a batch has ended."""
        if not self._work and self._running:
            for role in self._roles.values():
                role.outbox.flush()

    def _end(self) -> None:
        """Leave all batches where they are: only a creation that is under way is waited for."""
        self._running = False
        for role in self._roles.values():
            role.outbox.drop()
        for task, courier in list(self._couriers.items()):
            if not courier.is_sending:
                task.cancel()
        self._ledger.end()


def _held(parcel: Parcel) -> Reservation:
    assert parcel.held is not None
    return parcel.held


def _key(request: Request, identity: str) -> str:
    """The custom id of a request: equal in every process, and of no other record."""
    asked = (request.to, request.messages, request.texts, request.query, request.schema, request.alternatives)
    return make_id(request.group, request.input, identity, msgspec.json.encode(asked).decode())
