"""The models of the table: what they are called decides which answers are theirs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from jobs.evaluation.stage import compared
from jobs.run.configfile import validate
from jobs.run.context import RunContext


def names(candidate: dict[str, Any], base: dict[str, Any] | None = None) -> list[str]:
    config = validate({"models": {"base": {"model": "small", **(base or {})}, "candidates": {"rival": candidate}}})
    context = SimpleNamespace(config=config, tuned=lambda: None, name=lambda model: model.model)
    return [row.model for row in compared(cast(RunContext, context)).values()]


def test_a_plain_candidate_is_called_by_its_model() -> None:
    """A candidate that is asked as the base is has its model's name alone, as in runs made before."""
    assert names({"model": "large"}) == ["small", "large"]
    assert names({"model": "large", "temperature": 0.5}) == ["small", "large, temperature 0.5"]


def test_what_its_answers_depend_on_is_in_its_name() -> None:
    """A candidate that is asked to think more is another one: its former answers are not shown as its own."""
    low, high = ({"model": "large", "extra_body": {"reasoning_effort": effort}} for effort in ("low", "high"))
    assert names(low) != names(high)
    assert names(low)[1] == 'large, extra_body {"reasoning_effort": "low"}'
    assert names({"model": "large", "max_tokens": 7, "extra_headers": {"X-Team": "a"}}) == ["small", "large"]
