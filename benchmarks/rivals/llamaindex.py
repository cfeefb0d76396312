"""LlamaIndex's own way to ask many things: `achat` of an OpenAI-like model, under `run_jobs`. Answers come at the end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from asking import finish
from llama_index.core.async_utils import run_jobs
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from work import MODEL, Settings, Started, prompts, settings


async def ask_all(given: Settings, asked: list[str], clocks: Started) -> list[str]:
    model = OpenAILike(
        model=MODEL,
        api_base=given.base_url,
        api_key="none",
        is_chat_model=True,
        temperature=0.0,
        max_tokens=given.max_tokens,
        timeout=given.timeout_s,
    )

    async def ask(prompt: str) -> str:
        clocks.sent()
        response = await model.achat([ChatMessage(role="user", content=prompt)])
        return response.message.content or ""

    answers: list[str] = await run_jobs([ask(prompt) for prompt in asked], workers=given.in_flight or 100)
    return answers


def main() -> None:
    given = settings()
    asked, path = list(prompts(given.requests, given.seed)), Path(given.folder) / "answers.jsonl"
    clocks = Started()
    answers = asyncio.run(ask_all(given, asked, clocks))
    rows = [msgspec.json.encode({"id": str(number), "text": text}) + b"\n" for number, text in enumerate(answers)]
    path.write_bytes(b"".join(rows))
    finish(given, clocks, asked, path)


if __name__ == "__main__":
    main()
