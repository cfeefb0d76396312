"""A provider of one's own: a server that speaks Ollama's native API, with other paths, JSON and errors than OpenAI's.

To have it as ``provider = "ollama"`` of a model, put this file into ``jobs/models/ollama.py`` and add one line to
`jobs.models.providers.PROVIDERS`: ``"ollama": "jobs.models.ollama:Ollama"``. Limits, retries, budget and resume are the
engine's and hold for it as for any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from engine.errors import Fatal, Permanent, Transient
from engine.requests import Call, Reply, Request, Usage
from jobs.models.providers import Target
from jobs.models.reply_text import said

__all__ = ["Ollama"]


@asynccontextmanager
async def Ollama(target: Target) -> AsyncIterator[Call]:
    """Opens the connections to ``base_url``, as in "http://localhost:11434"."""
    async with aiohttp.ClientSession(target.base_url, timeout=aiohttp.ClientTimeout(target.model.timeout_s)) as session:

        async def call(request: Request) -> Reply:
            options = {"num_predict": request.max_output_tokens, "temperature": target.model.temperature}
            chat = {
                "messages": request.messages,
                "format": request.schema and request.schema.schema,
                "options": options,
            }
            path, body = ("/api/embed", {"input": request.texts}) if request.texts else ("/api/chat", chat)
            try:
                async with session.post(path, json={"model": target.name, "stream": False, **body}) as response:
                    answer: Any = await response.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise Transient(f"Ollama did not answer: {type(error).__name__}", kind="reset") from error
            if response.status == 404:
                raise Fatal(f"Ollama has no model {target.name!r}: run `ollama pull {target.name}`")
            if response.status != 200:
                kind = "overloaded" if response.status == 503 else "server_error"
                raise Transient(str(answer.get("error")), kind=kind)
            usage = Usage(
                requests=1,
                prompt_tokens=answer.get("prompt_eval_count", 0),
                completion_tokens=answer.get("eval_count", 0),
            )
            if request.texts:
                return Reply(vectors=answer["embeddings"], usage=usage)
            if answer["done_reason"] == "length":
                raise Permanent("the answer was cut off at max_tokens; raise it", kind="truncated", usage=usage)
            return Reply(text=said(answer["message"]["content"]).text, usage=usage)

        yield call
