"""Batches at the simulated endpoint: created, looked at, listed, cancelled; their rows answered as they would be online.

A batch's state is a function of the time since it was made, so nothing runs in the background: reading any
batch brings all of them up to date. Rows are done one after the other, in an order of their own; one that is done is paid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from time import time
from typing import Any, Protocol

import msgspec

from jobs.simulator.batch import Batch, read_creation, shown, status
from jobs.simulator.batch_rows import (
    ROUTES,
    Row,
    answer_line,
    failure_line,
    faults,
    prompt_tokens,
    read_rows,
    refusal_line,
)
from jobs.simulator.counters import Counters
from jobs.simulator.files import Files, page
from jobs.simulator.openai import Refused
from jobs.simulator.settings import Simulation, draw

__all__ = ["AnswerRow", "Batches", "Ways"]


class AnswerRow(Protocol):
    """Answers the `body` of a row of `route` that came with `request`: the status and the decoded JSON."""

    def __call__(self, route: str, body: bytes, request: Any) -> tuple[int, Any]: ...


class Ways(Protocol):
    """What the quirks of a server make of the JSON that is sent: ``kind`` is "created", "batch", "list" or "line"."""

    def shown(self, kind: str, body: Any) -> Any: ...


class Batches:
    """Answers ``/v1/batches``. `answer_row` says what a row gets, `ways` what the server's JSON looks like."""

    def __init__(
        self,
        simulation: Simulation,
        *,
        clock: Callable[[], float],
        files: Files,
        counters: Counters,
        answer_row: AnswerRow,
        ways: Ways,
    ) -> None:
        """Parameters: six, each of them a part of the endpoint that the rows go through."""
        self._simulation = simulation
        self._clock = clock
        self._epoch_s = time() - clock()
        self._files = files
        self._counters = counters
        self._answer_row = answer_row
        self._ways = ways
        self._batches: dict[str, Batch] = {}
        self._attempts: Counter[str] = Counter()

    def answer(self, method: str, name: list[str], query: Mapping[str, str], request: Any) -> Any:
        """The JSON of the response; `name` is what follows ``batches``. Raises `Refused`."""
        self.catch_up()
        match [method, *name]:
            case ["POST"]:
                return self._ways.shown("created", self._shown(self._create(request)))
            case ["GET"]:
                listed = [self._shown(batch) for batch in reversed(self._batches.values()) if self._is_listed(batch)]
                return self._ways.shown("list", page(listed, query))
            case ["GET", id_]:
                return self._ways.shown("batch", self._shown(self._batch(id_)))
            case ["POST", id_, "cancel"]:
                return self._ways.shown("batch", self._shown(self._cancel(self._batch(id_))))
        raise Refused(404, f"Invalid URL ({method} /v1/{'/'.join(['batches', *name])})")

    def _shown(self, batch: Batch) -> dict[str, Any]:
        return shown(batch, self._simulation, self._clock())

    def loses_answer(self) -> bool:
        """Whether the answer to the creation of the last batch never arrives."""
        batch = next(reversed(self._batches.values()))
        return draw(self._simulation.seed, f"batch {batch.number}", "lost") < self._simulation.batch_lost_answers

    def catch_up(self) -> None:
        """Do what has been due since somebody last looked."""
        for batch in self._batches.values():
            if not batch.ended:
                self._catch_up(batch)

    def _batch(self, name: str) -> Batch:
        batch = self._batches.get(name)
        if batch is None or self._is_gone(batch):
            raise Refused(404, f"No batch found with id '{name}'.", param="id")
        return batch

    def _is_gone(self, batch: Batch) -> bool:
        return batch.vanishes and self._clock() >= batch.began_s + self._simulation.batch_validate_s

    def _is_listed(self, batch: Batch) -> bool:
        return self._clock() >= batch.began_s + self._simulation.batch_list_s and not self._is_gone(batch)

    def _create(self, request: Any) -> Batch:
        asked = read_creation(request.body, self._simulation.batch_longest_h)
        data = self._input(asked["input_file_id"])
        rows, errors = read_rows(data)
        errors = errors or faults(self._simulation, rows, asked["endpoint"])
        model = "" if errors else str(msgspec.json.decode(rows[0].body)["model"])
        tokens = prompt_tokens(self._simulation, rows) if self._simulation.batch_queue_tokens and not errors else 0
        if (full := self._full(model, tokens)) is not None:
            if not self._simulation.batch_queue_late:
                raise Refused(429, full["message"], code=full["code"])
            errors = [full]
        batch = self._made(asked, request, rows, errors, (model, tokens))
        self._batches[batch.id] = batch
        self._counters.batches["created"] += 1
        self._counters.batch_rows += 0 if errors else batch.total
        self._catch_up(batch)
        return batch

    def _input(self, name: str) -> bytes:
        seed, lost = self._simulation.seed, self._simulation.batch_lost_inputs
        if lost and draw(seed, name, "lost input") < lost:
            self._files.drop(name)
        file = self._files.find(name)
        if file is None:
            raise Refused(400, f"No such File object: {name}", code="invalid_input_file_id", param="input_file_id")
        if not file.purpose.startswith("batch"):
            raise Refused(400, f"The purpose of {name} is not batch.", code="invalid_purpose", param="input_file_id")
        if self._clock() < file.sent_s + self._simulation.batch_ready_s:
            raise Refused(400, f"The file {name} is not ready: it is still being processed", param="input_file_id")
        return file.data

    def _made(
        self,
        asked: Mapping[str, Any],
        request: Any,
        rows: list[Row],
        errors: list[dict[str, Any]],
        queued: tuple[str, int],
    ) -> Batch:
        simulation, number = self._simulation, self._counters.batches["created"]
        seed, expires = simulation.seed, simulation.batch_expire
        tried = [f"{row.custom_id} {self._attempts[row.custom_id]}" for row in rows]
        self._attempts.update({row.custom_id for row in rows} if not errors else ())
        ranks = [(draw(seed, key, "expires") < expires, draw(seed, key, "order")) for key in tried]
        order = sorted(range(len(rows)), key=ranks.__getitem__)
        return Batch(
            id=self._files.id("batch_"),
            number=number,
            began_s=self._clock(),
            created_at=round(self._epoch_s + self._clock()),
            asked=asked,
            request=request,
            rows=[] if errors else [rows[place] for place in order],
            expiring=sum(late for late, _ in ranks),
            tokens=queued[1],
            model=queued[0],
            errors=errors,
            vanishes=draw(seed, f"batch {number}", "vanishes") < simulation.batch_vanish,
            total=0 if errors else len(rows),
            output=[],
            failures=[],
        )

    def _full(self, model: str, tokens: int) -> dict[str, Any] | None:
        """The fault of a batch for which the queue of its model has no room."""
        limit = self._simulation.batch_queue_tokens
        waiting = sum(batch.tokens for batch in self._batches.values() if batch.model == model and not batch.ended)
        if not limit or waiting + tokens <= limit:
            return None
        message = (
            f"Enqueued token limit reached for {model} in organization org-simulated. Limit: {limit:,} enqueued tokens. "
            "Please try again once some in_progress batches have been completed."
        )
        return {"code": "token_limit_exceeded", "message": message, "param": None, "line": None}

    def _cancel(self, batch: Batch) -> Batch:
        if batch.ended:
            raise Refused(
                400,
                f"Cannot cancel a batch with status '{status(batch, self._simulation, self._clock())}'.",
                code="invalid_request",
            )
        if batch.cancelled_s is None:
            batch.cancelled_s = self._clock()
            self._catch_up(batch)
        return batch

    def _catch_up(self, batch: Batch) -> None:
        if self._is_gone(batch):  # nothing of it ran
            batch.ended = True
            self._counters.batches["vanished"] += 1
            return
        now_s, run_s = self._clock(), self._simulation.batch_run_s
        ran_s = min(now_s, now_s if batch.cancelled_s is None else batch.cancelled_s) - batch.run_began_s(
            self._simulation
        )
        able = 0 if batch.errors or ran_s < 0 else len(batch.rows) - batch.expiring
        due = able if ran_s >= run_s else int(able * ran_s / run_s)
        for row in batch.rows[batch.done : due]:
            self._do(batch, row)
        batch.done = max(batch.done, due)
        if now_s >= batch.ends_s(self._simulation):
            self._end(batch)

    def _do(self, batch: Batch, row: Row) -> None:
        simulation = self._simulation
        key = f"{row.custom_id} {self._attempts[row.custom_id]}"
        fails = simulation.batch_errors_at_first and self._attempts[row.custom_id] == 1
        if fails or draw(simulation.seed, key, "row error") < simulation.batch_error:
            message = "The server had an error while processing your request. Sorry about that!"
            status, body = 500, {"error": {"message": message, "type": "server_error", "param": None, "code": None}}
        else:
            status, body = self._answer_row(ROUTES[row.url], bytes(row.body), batch.request)
        if status == 200:
            batch.completed += 1
            self._counters.answers_by_row[_identity(row)] += 1
            self._keep(batch.output, answer_line(row, self._files.id("batch_req_"), body))
        else:
            batch.failed += 1
            self._counters.batch_rows_failed += 1
            self._keep(batch.failures, refusal_line(row, self._files.id("batch_req_"), status, body))

    def _keep(self, lines: list[bytes], line: dict[str, Any]) -> None:
        if (shown := self._ways.shown("line", line)) is not None:
            lines.append(msgspec.json.encode(shown))

    def _end(self, batch: Batch) -> None:
        left = batch.rows[batch.done :]
        code = "batch_cancelled" if batch.cancelled_s is not None else "batch_expired"
        for row in left:
            self._keep(batch.failures, failure_line(row, self._files.id("batch_req_"), code))
        self._counters.batch_rows_expired += len(left) if code == "batch_expired" else 0
        batch.ended, batch.rows = True, []
        self._counters.batches[status(batch, self._simulation, self._clock())] += 1
        batch.output_file_id = self._result(batch, "output", batch.output)
        batch.error_file_id = self._result(batch, "error", batch.failures)
        if self._simulation.batch_lost_outputs and batch.output_file_id:
            lost = draw(self._simulation.seed, f"batch {batch.number}", "lost output")
            if lost < self._simulation.batch_lost_outputs:
                self._files.drop(batch.output_file_id)
                self._counters.batch_rows_lost += batch.completed
        batch.output, batch.failures = [], []

    def _result(self, batch: Batch, kind: str, lines: list[bytes]) -> str | None:
        if not lines:
            return None
        return self._files.write(f"{batch.id}_{kind}.jsonl", "batch_output", b"\n".join(lines) + b"\n").id


def _identity(row: Row) -> str:
    return f"{row.custom_id} {blake2b(row.body, digest_size=8).hexdigest()}"
