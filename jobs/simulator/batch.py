"""One batch at the simulated endpoint: what made it, what its state is at a time, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from jobs.simulator.batch_rows import ROUTES, Row
from jobs.simulator.openai import Refused
from jobs.simulator.settings import Simulation

__all__ = ["Batch", "read_creation", "shown", "status"]

_WINDOW_S = 86_400


class Batch(msgspec.Struct, kw_only=True):
    """``rows`` stand in the order in which they are done; the last ``expiring`` never are. ``done`` of them were.

    ``created_at`` is in seconds since 1970. ``errors`` are the faults of a batch that fails.
    """

    id: str
    number: int
    began_s: float
    created_at: int
    asked: Mapping[str, Any]
    request: Any
    rows: list[Row]
    expiring: int
    tokens: int
    model: str
    errors: list[dict[str, Any]]
    vanishes: bool
    total: int
    done: int = 0
    output: list[bytes] = []
    failures: list[bytes] = []
    completed: int = 0
    failed: int = 0
    cancelled_s: float | None = None
    ended: bool = False
    output_file_id: str | None = None
    error_file_id: str | None = None

    def run_began_s(self, simulation: Simulation) -> float:
        return self.began_s + simulation.batch_validate_s

    def ends_s(self, simulation: Simulation) -> float:
        """The time at which the batch ends, by what is known of it now."""
        began_s = self.run_began_s(simulation)
        if self.errors:
            return began_s
        if self.cancelled_s is not None:
            return self.cancelled_s + simulation.batch_cancel_s
        return began_s + simulation.batch_run_s + (0 if self.expiring else simulation.batch_finalize_s)


def status(batch: Batch, simulation: Simulation, now_s: float) -> str:
    """OpenAI's word for the state of `batch`."""
    if batch.ended:
        if batch.errors:
            return "failed"
        if batch.cancelled_s is not None:
            return "cancelled"
        return "expired" if batch.expiring else "completed"
    if batch.cancelled_s is not None:
        return "cancelling"
    began_s = batch.run_began_s(simulation)
    if now_s < began_s:
        return "validating"
    return "in_progress" if now_s < began_s + simulation.batch_run_s else "finalizing"


def shown(batch: Batch, simulation: Simulation, now_s: float) -> dict[str, Any]:
    """The JSON of `batch`, in OpenAI's shape."""
    word = status(batch, simulation, now_s)
    failed = {"object": "list", "data": batch.errors} if word == "failed" else None
    ended_at = batch.created_at + round(batch.ends_s(simulation) - batch.began_s)
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.asked["endpoint"],
        "model": batch.model or None,
        "errors": failed,
        "input_file_id": batch.asked["input_file_id"],
        "completion_window": batch.asked["completion_window"],
        "status": word,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": batch.created_at,
        "in_progress_at": None if word == "validating" else batch.created_at + round(simulation.batch_validate_s),
        "expires_at": batch.created_at + _WINDOW_S,
        **{
            f"{each}_at": ended_at if word == each else None for each in ("completed", "failed", "expired", "cancelled")
        },
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.asked.get("metadata"),
    }


def read_creation(body: bytes, longest_h: int) -> dict[str, Any]:
    """The body of a creation, looked through as OpenAI does it before it answers. Raises `Refused`."""
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(asked.get("input_file_id"), str):
        raise Refused(400, "Missing required parameter: 'input_file_id'.", param="input_file_id")
    if asked.get("endpoint") not in ROUTES:
        message = f"Invalid value: {asked.get('endpoint')!r}. Supported values are: {', '.join(ROUTES)}."
        raise Refused(400, message, param="endpoint")
    window = str(asked.get("completion_window"))
    hours = int(window[:-1]) * {"h": 1, "d": 24}.get(window[-1:], 0) if window[:-1].isdecimal() else 0
    if not 24 <= hours <= longest_h:
        raise Refused(400, f"Invalid value: {window!r}. Supported values are: '24h'.", param="completion_window")
    if len(asked.get("metadata") or {}) > 16:
        raise Refused(400, "metadata: at most 16 pairs", param="metadata")
    return asked
