"""The rows of a simulated batch: an input file in, its faults as OpenAI's validation finds them, and lines of results out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from jobs.simulator.openai import EmbeddingRequest, Refused, read
from jobs.simulator.settings import Simulation

__all__ = ["ROUTES", "Row", "answer_line", "failure_line", "faults", "prompt_tokens", "read_rows", "refusal_line"]

Route = Literal["chat", "embeddings"]
ROUTES: dict[str, Route] = {
    "/v1/chat/completions": "chat",
    "/chat/completions": "chat",
    "/v1/embeddings": "embeddings",
    "/embeddings": "embeddings",
}
_MOST_FAULTS = 10


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch; ``body`` is its JSON as it was sent."""

    custom_id: str
    method: str = "POST"
    url: str
    body: msgspec.Raw


def read_rows(data: bytes) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows of an input file, and the faults of the lines that are none."""
    rows, found = [], []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            rows.append(_decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            found.append(_fault("invalid_json_line", f"This line is not parseable as a request: {error}", number))
    if not rows and not found:
        found.append(_fault("empty_file", "The file is empty."))
    return rows, found[:_MOST_FAULTS]


_decoder = msgspec.json.Decoder(Row)


class _Model(msgspec.Struct, frozen=True):
    model: str = ""


def faults(simulation: Simulation, rows: Sequence[Row], endpoint: str) -> list[dict[str, Any]]:
    """The faults that the validation of a batch finds in its rows; the first ones, where there are many."""
    if len(rows) > simulation.batch_max_rows:
        most = simulation.batch_max_rows
        return [_fault("too_many_tasks", f"The batch has {len(rows)} requests: the most is {most}.")]
    found = list(_row_faults(rows, endpoint))[:_MOST_FAULTS]
    if not found and ROUTES[endpoint] == "embeddings":
        texts = sum(_texts(row) for row in rows)
        if texts > simulation.batch_max_inputs:
            message = f"The batch has {texts} embedding inputs: the most is {simulation.batch_max_inputs}."
            found.append(_fault("too_many_inputs", message))
    return found


def _row_faults(rows: Sequence[Row], endpoint: str) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    first = ""
    for number, row in enumerate(rows, 1):
        if row.custom_id in seen:
            message = f"The custom_id for this request is a duplicate of another request: {row.custom_id}"
            yield _fault("duplicate_custom_id", message, number, "custom_id")
        seen.add(row.custom_id)
        if row.method != "POST" or ROUTES.get(row.url) != ROUTES[endpoint]:
            yield _fault("invalid_url", "The URL of this request does not match that of the batch.", number, "url")
        try:
            model = msgspec.json.decode(row.body, type=_Model).model
        except (msgspec.DecodeError, UnicodeDecodeError):
            model = ""
        if not model:
            yield _fault("invalid_request", "The body has no model.", number, "body.model")
        elif model != (first := first or model):
            message = f"The model {model} is not that of the first request, {first}: a batch has one model."
            yield _fault("mismatched_model", message, number, "body.model")


def _texts(row: Row) -> int:
    texts = msgspec.json.decode(row.body, type=EmbeddingRequest).input
    return len(texts) if isinstance(texts, list) else 1


def prompt_tokens(simulation: Simulation, rows: Sequence[Row]) -> int:
    """What the batch counts for in the queue: the tokens of its prompts. A row that is no request counts for none."""
    found = 0
    for row in rows:
        try:
            found += read(simulation, ROUTES[row.url], bytes(row.body)).prompt_tokens
        except Refused:
            continue
    return found


def answer_line(row: Row, id_: str, body: Any) -> dict[str, Any]:
    """A line of the output file."""
    return _line(row, id_, response={"status_code": 200, "request_id": f"req_{id_[10:]}", "body": body})


def refusal_line(row: Row, id_: str, status: int, body: Any) -> dict[str, Any]:
    """A line of the error file, for a request that was refused with `status`."""
    return _line(row, id_, response={"status_code": status, "request_id": f"req_{id_[10:]}", "body": body})


def failure_line(row: Row, id_: str, code: str) -> dict[str, Any]:
    """A line of the error file, for a request that never ran."""
    message = {
        "batch_expired": "This request could not be executed before the completion window expired.",
        "batch_cancelled": "This request was not executed, because the batch was cancelled.",
    }[code]
    return _line(row, id_, error={"code": code, "message": message})


def _line(row: Row, id_: str, *, response: Any = None, error: Any = None) -> dict[str, Any]:
    return {"id": id_, "custom_id": row.custom_id, "response": response, "error": error}


def _fault(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}
