"""Curator: its `LLM` over a data set of the prompts, with its cache on disk, and no limit but that on concurrency."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec
from work import MODEL, Started, prompts, settings

_UNLIMITED = 10**9


def main() -> None:
    given = settings()
    asked, path = list(prompts(given.requests, given.seed)), Path(given.folder) / "answers.jsonl"
    offline = {"TELEMETRY_ENABLED": "false", "LITELLM_LOCAL_MODEL_COST_MAP": "true"}
    os.environ |= {**offline, "HF_HUB_OFFLINE": "1", "HF_HOME": given.folder, "CURATOR_CACHE_DIR": given.folder}
    said, sys.stdout = sys.stdout, sys.stderr  # curator prints; only the outcome is for whoever started this
    from asking import finish
    from bespokelabs import curator

    class Asker(curator.LLM):
        def prompt(self, row: dict[str, str]) -> str:
            return row["prompt"]

        def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
            return {"id": row["id"], "text": response}

    asker = Asker(
        model_name=MODEL,
        backend="openai",
        generation_params={"temperature": 0.0, "max_tokens": given.max_tokens},
        backend_params={
            "base_url": given.base_url,
            "api_key": "none",
            "max_requests_per_minute": _UNLIMITED,
            "max_tokens_per_minute": _UNLIMITED,
            "max_concurrent_requests": given.in_flight or 100,
            "request_timeout": int(given.timeout_s),
        },
    )
    rows = [{"id": str(number), "prompt": prompt} for number, prompt in enumerate(asked)]
    clocks = Started()
    answers = asker(rows).dataset
    path.write_bytes(b"".join(msgspec.json.encode({"id": row["id"], "text": row["text"]}) + b"\n" for row in answers))
    sys.stdout = said
    finish(given, clocks, asked, path)


if __name__ == "__main__":
    main()
