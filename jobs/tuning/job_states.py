"""Whether a fine-tuning job at a provider has ended, and how, from the status words of many providers.

OpenAI says "succeeded", "failed" and "cancelled"; Together "completed", "error" and "user_error"; Mistral "SUCCESS" and
"FAILED_VALIDATION"; Azure "canceled"; Fireworks "JOB_STATE_COMPLETED" and "JOB_STATE_EXPIRED". A job with an unknown
status has ended when it has a ``finished_at``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from openai.types.fine_tuning import FineTuningJob as RemoteJob

__all__ = ["State", "error_of", "is_failure", "model_of", "state_of"]

State = Literal["running", "succeeded", "failed"]

_SUCCESS = re.compile(r"succe(ss|ssful|ssfully|eded)|complet(e|ed)(successfully)?|done|finished|earlystopped")
_FAILURE = re.compile(
    r"fail\w*|\w*error(ed)?|cancel+ed|expired?|reject(ed)?|abort(ed)?|terminated|deleted|time(d)?out|stopped|killed|invalid"
)
_PREFIX = re.compile(r"^jobstate|^job|^status")
_MODEL_FIELDS = ("fine_tuned_model", "output_name", "model_output_name", "output_model")


def state_of(job: RemoteJob) -> State:
    """Whether `job` is running, or how it ended."""
    word = _plain(job.status)
    if _FAILURE.fullmatch(word):
        return "failed"
    if _SUCCESS.fullmatch(word):
        return "succeeded"
    if not getattr(job, "finished_at", None):  # the client checks no fields
        return "running"
    return "failed" if error_of(job) and not model_of(job) else "succeeded"


def is_failure(status: str) -> bool:
    """Whether `status`, from a provider or from ``models.json``, means that the job ended without a model."""
    return _FAILURE.fullmatch(_plain(status)) is not None


def model_of(job: RemoteJob) -> str | None:
    """The name of the tuned model, None until the provider names it."""
    names = (getattr(job, field, None) for field in _MODEL_FIELDS)
    return next((name for name in names if isinstance(name, str) and name), None)


def error_of(job: RemoteJob) -> str | None:
    """The provider's reason for the failure, on one line of bounded length; None if it gives none."""
    error: Any = getattr(job, "error", None)  # without an error it is null, or an object without fields
    said = error.get("message") if isinstance(error, dict) else getattr(error, "message", error)
    return " ".join(said.split())[:300] or None if isinstance(said, str) else None


def _plain(status: str) -> str:
    """The status without case, blanks, punctuation and the prefix that some providers put before it."""
    return _PREFIX.sub("", re.sub(r"[^a-z]", "", status.lower()))
