"""Quirks of servers in what they do with batches: statuses, file ids, shapes, queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jobs.simulator.quirks.quirk import BatchWays, Body, Quirk

__all__ = ["BATCHES"]


def _with(**changes: Any) -> Callable[[str, Any], Any]:
    """Change these keys of every batch that is shown."""
    return _each(lambda batch: {**batch, **changes})


def _each(change: Callable[[Body], Body]) -> Callable[[str, Any], Any]:
    """Change every batch that is shown, alone or in a list."""

    def shows(kind: str, body: Any) -> Any:
        if kind == "line":
            return body
        return {**body, "data": [change(batch) for batch in body["data"]]} if kind == "list" else change(body)

    return shows


def _lines(change: Callable[[Body], Any]) -> Callable[[str, Any], Any]:
    """Change every line of the files of results; None leaves it out."""
    return lambda kind, body: change(body) if kind == "line" else body


def _empty_ids(batch: Body) -> Body:
    return {**batch, "output_file_id": batch["output_file_id"] or "", "error_file_id": batch["error_file_id"] or ""}


def _said(words: Mapping[str, str]) -> Callable[[Body], Body]:
    return lambda batch: {**batch, "status": words.get(batch["status"], batch["status"])}


def _together(kind: str, body: Any) -> Any:
    """Upper-case statuses, progress in percent, a created batch inside "job", and a list without a page around it."""
    if kind == "line":
        return body
    if kind == "list":
        return [_together_job(batch) for batch in body["data"]]
    job = _together_job(body)
    return {"job": job, "warning": ""} if kind == "created" else job


def _together_job(batch: Body) -> Body:
    counts = batch["request_counts"]
    done = counts["completed"] + counts["failed"]
    errors = (batch["errors"] or {"data": []})["data"]
    shown: Body = {name: batch[name] for name in ("id", "endpoint", "input_file_id") if name in batch}
    return {
        **shown,
        "user_id": "simulated",
        "status": batch["status"].upper(),
        "progress": 100.0 * done / max(1, counts["total"]),
        "model_id": batch["model"],
        "created_at": "2026-01-01T00:00:00Z",
        "output_file_id": batch["output_file_id"] or "",
        "error_file_id": batch["error_file_id"] or "",
        **({"error": errors[0]["message"]} if errors else {}),
    }


def _together_path(method: str, path: str) -> str:
    """Uploads go to another address than all else about files."""
    if method == "POST" and path == "files":
        return ""
    return "files" if path == "files/upload" else path


def _no_list(method: str, path: str) -> str:
    return "" if (method, path) == ("GET", "batches") else path


def _raw_ids(batch: Body) -> Body:
    """The id that the provider behind a proxy gave to the file, in the place of the proxy's own."""
    return {**batch, "input_file_id": f"file-behind-{batch['input_file_id'][-8:]}"}


def _litellm(kind: str, body: Any) -> Any:
    return _each(_raw_ids)(kind, body) if kind == "list" else body


def _as_text(line: Body) -> Any:
    """The body of a response as text that holds JSON."""
    response = line["response"]
    if response is None:
        return line
    return {**line, "response": {**response, "body": msgspec.json.encode(response["body"]).decode()}}


def _quirk(server: str, report: str, about: str, **ways: Any) -> Quirk:
    return Quirk(server, report, about, batches=BatchWays(**ways))


BATCHES: dict[str, Quirk] = {
    "batch-late-queue": _quirk(
        "OpenAI",
        "openai/openai-python#1643",
        "a batch for which the queue of 4,000 tokens has no room is created, and failed afterwards",
        settings={"batch_queue_tokens": 4_000, "batch_queue_late": True},
    ),
    "batch-azure": _quirk(
        "Azure",
        "openai/openai-python#2084",
        "a queue of 30,000 tokens that fails batches afterwards, file ids that are empty text, nothing ever expires",
        settings={"batch_queue_tokens": 30_000, "batch_queue_late": True, "batch_expire": 0.0},
        shows=_each(_empty_ids),
    ),
    "batch-groq": _quirk(
        "Groq",
        "",
        "a window of up to 7 days is taken; the answer lacks metadata and model",
        settings={"batch_longest_h": 168},
        shows=_with(metadata=None, model=None),
    ),
    "batch-together": _quirk(
        "Together",
        "mozilla-ai/any-llm#1273",
        "uploads go to /files/upload; statuses are in capitals, a new batch stands in job, a list is bare",
        path=_together_path,
        shows=_together,
    ),
    "batch-litellm": _quirk(
        "LiteLLM's proxy",
        "BerriAI/litellm#36049",
        "an upload has to name its model; a list of batches has the file ids of the provider behind the proxy",
        settings={"batch_form_field": "target_model_names"},
        shows=_litellm,
    ),
    "batch-no-output-id": _quirk(
        "OpenAI",
        "ProjectTech4DevAI/kaapi-backend#723",
        "every row fails in its first batch, which is completed without output_file_id",
        settings={"batch_errors_at_first": True},
    ),
    "batch-empty-error-id": _quirk(
        "Azure",
        "tobert/kaibo#93",
        "output_file_id and error_file_id are empty text where there is no file",
        shows=_each(_empty_ids),
    ),
    "batch-failures-apart": _quirk(
        "OpenAI",
        "567-labs/instructor#2657",
        "every fourth row fails at first, which only the error file says",
        settings={"batch_error": 0.25},
    ),
    "batch-vanishes": _quirk(
        "OpenAI",
        "tensorzero/tensorzero#1198",
        "every fourth batch is gone before it ran: 404",
        settings={"batch_vanish": 0.25},
    ),
    "batch-words": _quirk(
        "gateways",
        "",
        "statuses are other words: queued, running, succeeded, canceled",
        shows=_each(
            _said({"validating": "queued", "in_progress": "running", "completed": "succeeded", "cancelled": "canceled"})
        ),
    ),
    "batch-unknown-word": _quirk(
        "gateways",
        "",
        "while a batch goes on its status is a word that nobody knows",
        shows=_each(_said({"validating": "warming_up", "in_progress": "brewing", "finalizing": "brewing"})),
    ),
    "batch-no-counts": _quirk("gateways", "", "request_counts are null", shows=_with(request_counts=None)),
    "batch-no-metadata": _quirk("gateways", "", "metadata is forgotten", shows=_with(metadata=None)),
    "batch-no-list": _quirk("gateways", "", "there is no list of batches: 404", path=_no_list),
    "batch-body-text": _quirk("gateways", "", "the body of a response is text that holds JSON", shows=_lines(_as_text)),
    "batch-file-late": _quirk(
        "Azure", "", "a file is not ready for a second after its upload", settings={"batch_ready_s": 1.0}
    ),
}
