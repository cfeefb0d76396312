"""The `openai` client as it comes, over httpx, with its own retries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asking import Ask, main
from openai import AsyncOpenAI
from work import MODEL, Settings

__all__ = ["opened"]


@asynccontextmanager
async def opened(given: Settings, http_client: Any = None) -> AsyncIterator[Ask]:
    options = {"base_url": given.base_url, "api_key": "none", "timeout": given.timeout_s}
    async with AsyncOpenAI(**options, http_client=http_client) as client:

        async def ask(prompt: str) -> str:
            completion = await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": prompt}],
                temperature=0.0,
                max_tokens=given.max_tokens,
            )
            return completion.choices[0].message.content or ""

        yield ask


if __name__ == "__main__":
    main(opened)
