"""Counters of the simulated endpoint, for the assertions of tests and benchmarks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """What has happened so far, to assert on. Answers that a fault spoiled count in `faults`, not in `answered`.

    `rejected` are all responses with status 429, `refused` the other errors that no fault made; `abandoned` the
    requests whose client left before the answer; `in_flight` chat and embedding requests between admission and end.
    `charged_tokens` is what admitted requests took from the token limit, `cached_tokens` what of the answered prompts
    was found in the prefix cache.

    `batches` counts those that were created and how they ended, `batch_rows` the requests that they took, which have a
    place in one that did not fail. A row that was answered counts in `answered` too, and in `answers_by_row`, by custom_id
    and body; `batch_rows_lost` were in output files that nobody could fetch.
    """

    requests: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    answered_by_model: Counter[str] = field(default_factory=Counter)
    answers_by_prompt: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    refused: int = 0
    abandoned: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    charged_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    batches: Counter[str] = field(default_factory=Counter)
    batch_rows: int = 0
    batch_rows_failed: int = 0
    batch_rows_expired: int = 0
    batch_rows_lost: int = 0
    answers_by_row: Counter[str] = field(default_factory=Counter)

    @property
    def answered_twice(self) -> int:
        """Answers beyond the first to the same prompt, model and format."""
        return self.answered - len(self.answers_by_prompt)

    @property
    def rows_answered_twice(self) -> int:
        """Answers in batches beyond the first to the same custom_id and body."""
        return sum(self.answers_by_row.values()) - len(self.answers_by_row)

    def to_json(self) -> bytes:
        """All counters but those by prompt and by row."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if "_by_p" not in name}
        found["answers_by_row"] = sum(self.answers_by_row.values())
        twice = {"answered_twice": self.answered_twice, "rows_answered_twice": self.rows_answered_twice}
        return msgspec.json.encode({**found, **twice})
