from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobs.tuning.job_states import error_of, is_failure, model_of, state_of


def job(status: str, **fields: Any) -> Any:
    return SimpleNamespace(status=status, **fields)


@pytest.mark.parametrize(
    "word",
    "validating_files queued running paused QUEUED STARTED VALIDATED notRunning pending compressing uploading "
    "cancel_requested CANCELLATION_REQUESTED JOB_STATE_RUNNING cancelling completing initializing".split(),
)
def test_a_job_that_runs(word: str) -> None:
    """No word for a job that runs is taken for its end."""
    assert state_of(job(word)) == "running"
    assert not is_failure(word)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (job("whatever", finished_at=3, fine_tuned_model="m"), "succeeded"),
        (job("whatever", finished_at=3, error={"message": "no"}), "failed"),
        (job("whatever", finished_at=0), "running"),
        (job("running", finished_at=3, error=None), "succeeded"),
        (job("cancelled", finished_at=3, fine_tuned_model="m"), "failed"),
    ],
)
def test_a_job_that_has_a_time_of_its_end(found: Any, state: str) -> None:
    """A job with finished_at has ended: with its error, or with its model, which may follow."""
    assert state_of(found) == state


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, None),
        ({}, None),
        ({"message": "two\n lines"}, "two lines"),
        ("text", "text"),
        (SimpleNamespace(message=None), None),
        (SimpleNamespace(message="x" * 999), "x" * 300),
        (7, None),
    ],
)
def test_what_went_wrong(error: Any, said: str | None) -> None:
    """An error is an object, a mapping or a text; it is shown on one line of bounded length."""
    assert error_of(job("failed", error=error)) == said


def test_the_name_of_the_model() -> None:
    """Providers call the tuned model by several names; a null or empty one is none."""
    assert model_of(job("completed", fine_tuned_model=None, output_name="m")) == "m"
    assert model_of(job("completed", fine_tuned_model="")) is None
