"""The stateful part of the simulated endpoint: fine-tuning jobs and models, kept in memory.

A job's state is a function of the time since it was made, so nothing runs in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jobs.simulator.answers import count_tokens
from jobs.simulator.files import File, Files, page
from jobs.simulator.openai import CREATED, Refused
from jobs.simulator.settings import Simulation

__all__ = ["Platform"]

EPOCHS = 3
ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class Job(msgspec.Struct, kw_only=True):
    """``began_s`` and ``cancelled_s`` are times of the clock; ``error`` is the fault of its files, if any.

    ``hidden`` is the number of requests for it that still get 404.
    """

    id: str
    began_s: float
    model: str
    request: dict[str, Any]
    error: dict[str, Any] | None
    trained_tokens: int
    cancelled_s: float | None = None
    hidden: int = 0


class Platform:
    """Answers ``/v1/fine_tuning/jobs`` and ``/v1/models``. `clock` returns seconds."""

    def __init__(self, simulation: Simulation, clock: Callable[[], float], files: Files) -> None:
        self._simulation = simulation
        self._clock = clock
        self._files = files
        self._jobs: dict[str, Job] = {}

    def knows(self, model: str) -> bool:
        """Whether chat and embeddings accept `model`: a configured one, or one whose tuning has succeeded."""
        return model in self._simulation.models or "*" in self._simulation.models or model in self._tuned()

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The JSON of the response; `path` is what follows ``/v1/``. Raises `Refused`."""
        match [method, *path.split("/")]:
            case ["GET", "models"]:
                names = [*self._simulation.models, *self._tuned()]
                return {"object": "list", "data": [_model(name) for name in names if name != "*"]}
            case ["GET", "models", *name]:
                return self._model("/".join(name))
            case [_, "fine_tuning", "jobs", *rest]:
                return self._tuning(method, rest, query, body)
        raise Refused(404, f"Invalid URL ({method} /v1/{path})")

    def _model(self, name: str) -> dict[str, Any]:
        if not self.knows(name):
            raise Refused(404, f"The model '{name}' does not exist", code="model_not_found", param="model")
        return _model(name)

    def _tuned(self) -> list[str]:
        return [name for job in self._jobs.values() if (name := self._job(job)["fine_tuned_model"])]

    def _tuning(self, method: str, rest: list[str], query: Mapping[str, str], body: bytes) -> dict[str, Any]:
        if rest and rest[0] not in self._jobs:
            raise Refused(404, f"Could not find fine tune: {rest[0]}", code="fine_tune_not_found", param="id")
        job = self._jobs[rest[0]] if rest else None
        match method, job, rest[1:]:
            case "POST", None, []:
                return self._start(body)
            case "GET", None, [] if not self._simulation.tuning_no_list:
                return page([self._job(job) for job in reversed(self._jobs.values())], query)
            case "GET", Job(), [] if job.hidden:
                job.hidden -= 1
                raise Refused(404, f"Could not find fine tune: {job.id}", code="fine_tune_not_found", param="id")
            case "GET", Job(), []:
                return self._job(job)
            case "GET", Job(), ["events"]:
                return page(self._events(job), query)
            case "GET", Job(), ["checkpoints"]:
                return page(self._checkpoints(job), query)
            case "POST", Job(), ["cancel"]:
                if self._job(job)["finished_at"] is not None:
                    raise Refused(400, f"Job has already completed: {job.id}", code="invalid_request")
                job.cancelled_s = self._clock()
                return self._job(job)
        if method == "GET" and not rest:
            raise Refused(404, "Invalid URL (GET /v1/fine_tuning/jobs)")
        raise Refused(405, f"Not allowed to {method} on /v1/fine_tuning/jobs/{'/'.join(rest)}")

    def _start(self, body: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(400, "We could not parse the JSON body of your request.") from error
        model = request.get("model")
        if not isinstance(model, str) or not self.knows(model):
            message = f"Model {model} is not available for fine-tuning or does not exist."
            raise Refused(400, message, code="model_not_available", param="model")
        for param in ("training_file", "validation_file"):
            name = request.get(param)
            if self._files.find(str(name)) is None and (name is not None or param == "training_file"):
                raise Refused(400, f"invalid {param}: {name}", code="file_not_found", param=param)
        self._check_ready(request)
        training = self._files.file(request["training_file"])
        fault = _fault_of(training, "training_file", at_least=10)
        if fault is None and request.get("validation_file"):
            fault = _fault_of(self._files.file(request["validation_file"]), "validation_file", at_least=1)
        job = Job(
            id=self._files.id("ftjob-"),
            began_s=self._clock(),
            model=model,
            request=request,
            error=fault,
            trained_tokens=EPOCHS * count_tokens(training.data.decode("utf-8", "replace")),
            hidden=self._simulation.tuning_hidden,
        )
        self._jobs[job.id] = job
        return self._job(job)

    def _check_ready(self, request: Mapping[str, Any]) -> None:
        """Raise `Refused` for a file that was rejected, or that was uploaded a moment ago."""
        for param in ("training_file", "validation_file"):
            file = self._files.find(request.get(param) or "")
            if file and file.bad:
                raise Refused(400, f"The file {file.id} has status error", code="invalid_file", param=param)
            if file and self._clock() < file.sent_s + self._simulation.tuning_file_s:
                raise Refused(400, f"The file {file.id} is not ready: it is being processed", param=param)

    def _status(self, job: Job) -> tuple[str, float | None]:
        """The present status, and the seconds from start to end of the job, None while it runs."""
        age_s = (self._clock() if job.cancelled_s is None else job.cancelled_s) - job.began_s
        simulation = self._simulation
        validated_s = simulation.tuning_validate_s
        started_s = validated_s + simulation.tuning_queue_s
        done_s = started_s + simulation.tuning_run_s
        if job.cancelled_s is not None:
            return "cancelled", age_s
        if age_s < validated_s:
            return "validating_files", None
        if job.error:
            return "failed", validated_s
        if age_s < done_s:
            return "queued" if age_s < started_s else "running", None
        return "failed" if simulation.tuning_fails else "succeeded", done_s

    def _name(self, job: Job, ended_s: float | None) -> str | None:
        """The tuned model's name, which may appear some time after the job's end."""
        if ended_s is None or self._clock() < job.began_s + ended_s + self._simulation.tuning_name_s:
            return None
        return f"ft:{job.model}:simulated:{job.request.get('suffix') or ''}:{job.id[-8:]}"

    def _job(self, job: Job) -> dict[str, Any]:
        status, ended_s = self._status(job)
        done = status == "succeeded"
        error = job.error or {"code": "server_error", "message": "The job failed while training.", "param": None}
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "created_at": CREATED,
            "finished_at": None if ended_s is None else CREATED + round(ended_s),
            "status": (status if ended_s is None else self._simulation.tuning_word) or status,
            "model": job.model,
            "fine_tuned_model": self._name(job, ended_s) if done else None,
            "error": error if status == "failed" else None,
            "organization_id": "simulated",
            "training_file": job.request["training_file"],
            "validation_file": job.request.get("validation_file"),
            "hyperparameters": {"n_epochs": EPOCHS, "batch_size": 1, "learning_rate_multiplier": 2.0},
            "method": job.request.get("method") or {"type": "supervised", "supervised": {}},
            "metadata": job.request.get("metadata"),
            "trained_tokens": job.trained_tokens if done else None,
            "result_files": [],
            "seed": job.request.get("seed") or self._simulation.seed,
        }

    def _events(self, job: Job) -> list[dict[str, Any]]:
        """The events of the job so far, the newest first, as OpenAI lists them."""
        status, _ = self._status(job)
        messages = [f"Created fine-tuning job: {job.id}", f"Validating training file: {job.request['training_file']}"]
        if status in ("queued", "running", "succeeded"):
            messages.append("Files validated, moving job to queued state")
        if status in ("running", "succeeded"):
            messages.append("Fine-tuning job started")
        if status == "succeeded":
            messages += ["New fine-tuned model created", "The job has successfully completed"]
        if status == "cancelled":
            messages.append("Fine-tuning job cancelled")
        if status == "failed":
            messages.append(f"The job failed: {self._job(job)['error']['message']}")
        return [_event(job, i, message) for i, message in enumerate(messages)][::-1]

    def _checkpoints(self, job: Job) -> list[dict[str, Any]]:
        tuned = self._job(job)["fine_tuned_model"]
        return [
            {
                "object": "fine_tuning.job.checkpoint",
                "id": f"ftckpt-{job.id[6:]}-{step}",
                "created_at": CREATED,
                "fine_tuned_model_checkpoint": tuned if step == EPOCHS else f"{tuned}:ckpt-step-{step}",
                "fine_tuning_job_id": job.id,
                "metrics": {"step": step, "train_loss": 1 / (1 + step), "train_mean_token_accuracy": 0.6 + step / 10},
                "step_number": step,
            }
            for step in range(EPOCHS if tuned else 0, 0, -1)
        ]


def _event(job: Job, number: int, message: str) -> dict[str, Any]:
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-{job.id[6:]}-{number}",
        "created_at": CREATED,
        "level": "error" if message.startswith("The job failed") else "info",
        "message": message,
        "type": "message",
        "data": {},
    }


def _fault_of(file: File, param: str, *, at_least: int) -> dict[str, Any] | None:
    """The reason why OpenAI would reject a training file: its purpose, its format, too few examples."""
    lines = [line for line in file.data.splitlines() if line.strip()]
    if file.purpose != "fine-tune":
        code, message = "invalid_file_purpose", f"The file's purpose is '{file.purpose}', it must be 'fine-tune'"
    elif bad := next((i for i, line in enumerate(lines, 1) if not _is_example(line)), 0):
        code, message = "invalid_file_format", f"Invalid file format. Line {bad} is not a chat example"
    elif len(lines) < at_least:
        code = "invalid_n_examples"
        message = f"{param} has {len(lines)} example(s), but must have at least {at_least} examples"
    else:
        return None
    return {"code": code, "message": message, "param": param}


def _is_example(line: bytes) -> bool:
    """Whether a line is ``{"messages": [...]}`` with known roles and texts, the last one from the assistant."""
    try:
        messages = msgspec.json.decode(line)["messages"]
        known = all(turn["role"] in ROLES and isinstance(turn["content"], str) for turn in messages)
        return bool(known and messages[-1]["role"] == "assistant")
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
        return False


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "simulated"}
