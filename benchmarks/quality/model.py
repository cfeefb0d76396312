"""One model behind an OpenAI-compatible endpoint, asked one request at a time, and what was paid for its answers."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Cost", "Model"]

Message = Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Cost:
    """Requests that were answered, their tokens, and the seconds from request to answer."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Model:
    """Call `ask` for an answer; `spent` says what was paid since the last call of it, and starts at nothing again."""

    base_url: str
    api_key: str
    name: str
    seed: int = 0
    _cost: Cost = field(default_factory=Cost, init=False)

    def ask(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        schema: Mapping[str, Any] | None = None,
        sample: int = 0,
    ) -> str:
        """The text of the answer; `sample` tells apart requests that are the same. Raises `OSError` without an answer."""
        body: dict[str, Any] = {
            "model": self.name,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": self.seed + sample,
        }
        if schema is not None:
            form = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        begun = time.monotonic()
        reply = self._post(body)
        usage = reply["usage"]
        self._cost.requests += 1
        self._cost.prompt_tokens += usage["prompt_tokens"]
        self._cost.completion_tokens += usage["completion_tokens"]
        self._cost.seconds += time.monotonic() - begun
        return str(reply["choices"][0]["message"]["content"] or "")

    def spent(self) -> Cost:
        cost, self._cost = self._cost, Cost()
        return cost

    def _post(self, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.base_url}/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.api_key}"},
        )
        with urllib.request.urlopen(request, timeout=1800) as response:
            return json.load(response)
