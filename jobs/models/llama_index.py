"""The bridge to LlamaIndex: our call as its language model and embedding.

Importing this module costs 1.3 s and 100 MB, so import it inside the function that needs it, never at the top of
another module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.generic_utils import chat_response_to_completion_response
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import CustomLLM

from engine.errors import Permanent
from engine.requests import Call, Reply, Request

__all__ = ["CallEmbedding", "CallLLM"]

T = TypeVar("T")


class CallLLM(CustomLLM):
    """A model of ours where LlamaIndex wants an LLM: ``CorrectnessEvaluator(llm=CallLLM(call, to="judge"))``.

    `to` is the role that answers. Make it where the event loop runs.
    The async methods are the way; the others work in threads beside that loop, and raise RuntimeError on it.
    Raises what `call` raises, and `Permanent` (kind "empty_answer") for an answer without text, which LlamaIndex
    would store as the words "Empty Response".
    """

    _call: Call = PrivateAttr()
    _to: str = PrivateAttr()
    _max_tokens: int = PrivateAttr()
    _context_window: int = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    def __init__(self, call: Call, *, to: str, max_tokens: int = 1024, context_window: int = 128_000) -> None:
        super().__init__()
        self._call = call
        self._to = to
        self._max_tokens = max_tokens
        self._context_window = context_window
        self._loop = asyncio.get_running_loop()

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            model_name=self._to,
            is_chat_model=True,
            context_window=self._context_window,
            num_output=self._max_tokens,
        )

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        turns = [{"role": message.role.value, "content": message.content or ""} for message in messages]
        request = Request(
            to=self._to,
            messages=turns,
            characters=sum(len(turn["content"]) for turn in turns),
            max_output_tokens=self._max_tokens,
        )
        reply = await self._call(request)
        return ChatResponse(message=ChatMessage(role="assistant", content=_content(reply)))

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return chat_response_to_completion_response(await self.achat([ChatMessage(role="user", content=prompt)]))

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return _from_thread(self.achat(messages), self._loop)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _from_thread(self.acomplete(prompt), self._loop)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        raise NotImplementedError("answers are not streamed; use achat or acomplete")


class CallEmbedding(BaseEmbedding):
    """Our embedding where LlamaIndex wants one, for its vector stores and SemanticSimilarityEvaluator.

    Texts of a batch go in one request. The same holds of loops and threads as for `CallLLM`.
    """

    _call: Call = PrivateAttr()
    _to: str = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    def __init__(self, call: Call, *, to: str = "embedding", batch_size: int = 64) -> None:
        super().__init__(model_name=to, embed_batch_size=batch_size)
        self._call = call
        self._to = to
        self._loop = asyncio.get_running_loop()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        request = Request(to=self._to, texts=texts, characters=sum(len(text) for text in texts))
        reply = await self._call(request)
        return [list(vector) for vector in reply.vectors]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._aget_text_embedding(query)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return _from_thread(self._aget_text_embeddings(texts), self._loop)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def _content(reply: Reply) -> str:
    if not reply.text.strip():
        raise Permanent("the answer holds no text", kind="empty_answer")
    return reply.text


def _from_thread(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """Run `work` on `loop`, where the call lives, from another thread, and wait for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    work.close()
    raise RuntimeError("this method would block the event loop: await its async counterpart (achat, aget_..., aquery)")
