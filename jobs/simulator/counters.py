"""What the simulated endpoint has seen and done, for tests and benchmarks to assert on."""

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

    @property
    def answered_twice(self) -> int:
        """Answers beyond the first to the same prompt, model and format."""
        return self.answered - len(self.answers_by_prompt)

    def to_json(self) -> bytes:
        """All counters but those by prompt."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__ if name != "answers_by_prompt"}
        return msgspec.json.encode({**found, "answered_twice": self.answered_twice})
