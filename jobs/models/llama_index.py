"""The bridge to LlamaIndex: its prompt texts as plain strings, and our call as its language model and embedding.

Importing this module costs 1.3 s and 100 MB, so import it inside the function that needs it, never at the top of
another module. Nothing here copies LlamaIndex's texts: what it changes, changes here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
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
from llama_index.core.evaluation import correctness, faithfulness, pairwise, relevancy
from llama_index.core.evaluation.dataset_generation import DEFAULT_QUESTION_GENERATION_PROMPT, DatasetGenerator
from llama_index.core.llms import CustomLLM
from llama_index.core.prompts.chat_prompts import TEXT_QA_SYSTEM_PROMPT
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT

from engine.errors import Permanent
from engine.requests import Call, Reply, Request

__all__ = ["CallEmbedding", "CallLLM", "Prompts", "prompts", "question_gen_query"]

T = TypeVar("T")


class Prompts(msgspec.Struct, frozen=True, kw_only=True):
    """LlamaIndex's prompts; fill a template with `str.format`, which leaves braces in the values alone.

    ``question_generation`` (DatasetGenerator's DEFAULT_QUESTION_GENERATION_PROMPT) and ``text_qa``
    (DEFAULT_TEXT_QA_PROMPT, the notebook's own) take ``context_str`` and ``query_str``; ``text_qa_system`` is the system
    message of CHAT_TEXT_QA_PROMPT, with no place to fill. CorrectnessEvaluator's ``correctness_system`` has none
    either; its ``correctness_user`` takes ``query``, ``reference_answer`` and ``generated_answer``. So it is with
    PairwiseComparisonEvaluator's two, whose user message takes ``query``, ``reference``, ``answer_1`` and ``answer_2``.
    FaithfulnessEvaluator's and RelevancyEvaluator's own take ``query_str`` and ``context_str``.
    """

    question_generation: str
    text_qa: str
    text_qa_system: str
    correctness_system: str
    correctness_user: str
    pairwise_system: str
    pairwise_user: str
    faithfulness: str
    relevancy: str


@cache
def prompts() -> Prompts:
    """LlamaIndex's default prompts, word for word."""
    return Prompts(
        question_generation=DEFAULT_QUESTION_GENERATION_PROMPT,
        text_qa=DEFAULT_TEXT_QA_PROMPT.get_template(),
        text_qa_system=TEXT_QA_SYSTEM_PROMPT.content or "",
        correctness_system=correctness.DEFAULT_SYSTEM_TEMPLATE,
        correctness_user=correctness.DEFAULT_USER_TEMPLATE,
        pairwise_system=pairwise.DEFAULT_SYSTEM_TEMPLATE,
        pairwise_user=pairwise.DEFAULT_USER_TEMPLATE,
        faithfulness=faithfulness.DEFAULT_EVAL_TEMPLATE.get_template(),
        relevancy=relevancy.DEFAULT_EVAL_TEMPLATE.get_template(),
    )


@cache
def question_gen_query(questions_per_chunk: int) -> str:
    """DatasetGenerator's query for so many questions, with its accidental runs of spaces made single.

    The text exists only inside its constructor, which is called past the class's deprecation warning: that warning
    shows itself on every call, whatever the filters say. Nothing of the object is used but the text.
    """
    generator = object.__new__(DatasetGenerator)
    DatasetGenerator.__init__(
        generator, nodes=[], llm=_UNUSED, callback_manager=_UNUSED, num_questions_per_chunk=questions_per_chunk
    )
    return re.sub(r" {2,}", " ", generator.question_gen_query)


_UNUSED: Any = object()  # true, so that no default model is looked up


class CallLLM(CustomLLM):
    """A model of ours where LlamaIndex wants an LLM: ``CorrectnessEvaluator(llm=CallLLM(call, to="judge"))``.

    `to` is the role that answers, `parameters` are OpenAI's, added to each body. Make it where the event loop runs.
    The async methods are the way; the others work in threads beside that loop, and raise RuntimeError on it.
    Raises what `call` raises, and `Permanent` (kind "empty_answer") for an answer without text, which LlamaIndex
    would store as the words "Empty Response".
    """

    _call: Call = PrivateAttr()
    _to: str = PrivateAttr()
    _max_tokens: int = PrivateAttr()
    _parameters: Mapping[str, Any] = PrivateAttr()
    _context_window: int = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    def __init__(
        self, call: Call, *, to: str, max_tokens: int = 1024, context_window: int = 128_000, **parameters: Any
    ) -> None:
        super().__init__()
        self._call = call
        self._to = to
        self._max_tokens = max_tokens
        self._context_window = context_window
        self._parameters = parameters
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
            route="chat",
            body={"messages": turns, **self._parameters},
            characters=sum(len(turn["content"]) for turn in turns),
            max_output_tokens=self._max_tokens,
        )
        reply = await self._call(request)
        return ChatResponse(message=ChatMessage(role="assistant", content=_content(reply)), raw=reply.body)

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
        request = Request(
            to=self._to, route="embeddings", body={"input": texts}, characters=sum(len(text) for text in texts)
        )
        reply = await self._call(request)
        return [item["embedding"] for item in sorted(reply.body["data"], key=lambda item: item["index"])]

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
    content = reply.body["choices"][0]["message"]["content"]
    if not isinstance(content, str) or not content.strip():
        raise Permanent("the answer holds no text", kind="empty_answer")
    return content


def _from_thread(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """Run `work` on `loop`, where the call lives, from another thread, and wait for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run_coroutine_threadsafe(work, loop).result()
    work.close()
    raise RuntimeError("this method would block the event loop: await its async counterpart (achat, aget_..., aquery)")
