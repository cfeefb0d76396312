from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from llama_index.core.evaluation import BatchEvalRunner, CorrectnessEvaluator, SemanticSimilarityEvaluator
from llama_index.core.vector_stores import SimpleVectorStore, VectorStoreQuery

from engine.errors import Permanent, Transient
from engine.requests import Reply, Request, Usage
from jobs.evaluation.score_parser import judge_messages
from jobs.models.llama_index import CallEmbedding, CallLLM


class Script:
    """A call that notes each request and answers with `answer`, or with a vector of each text's length."""

    def __init__(self, answer: str | Exception | None = "4.0\nok") -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Reply:
        await asyncio.sleep(0)
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        vectors = [[float(len(text)), 1.0] for text in request.texts]
        return Reply(text=self.answer or "", vectors=vectors, usage=Usage(requests=1))


async def test_evaluator_on_our_call() -> None:
    """LlamaIndex's CorrectnessEvaluator runs on our call, and sends what our own judge sends."""
    call = Script()
    judge = CorrectnessEvaluator(llm=CallLLM(call, to="judge", max_tokens=300))
    result = await judge.aevaluate(query="q {x}", response="a", reference="r")

    assert (result.score, result.passing, result.feedback) == (4.0, True, "ok")
    (request,) = call.requests
    assert (request.to, request.max_output_tokens) == ("judge", 300)
    assert request.messages == judge_messages(query="q {x}", response="a", reference="r")
    assert request.characters == sum(len(turn["content"]) for turn in request.messages)


@pytest.mark.filterwarnings("ignore:asyncio_module:DeprecationWarning")  # LlamaIndex's runner warns of itself
async def test_batch_runner() -> None:
    """BatchEvalRunner plugs in too: one chat request for each response, as many embeddings as texts."""
    call = Script()
    evaluators = {
        "correctness": CorrectnessEvaluator(llm=CallLLM(call, to="judge")),
        "semantic_similarity": SemanticSimilarityEvaluator(embed_model=CallEmbedding(call)),
    }
    results = await BatchEvalRunner(evaluators, workers=4).aevaluate_response_strs(
        queries=["q1", "q2"],
        response_strs=["abc", "abcd"],
        reference=["abc", "abcd"],  # type: ignore[arg-type]  # its annotation is of the keywords, not of one
    )
    assert [result.score for result in results["correctness"]] == [4.0, 4.0]
    assert [result.score for result in results["semantic_similarity"]] == pytest.approx([1.0, 1.0])
    assert sum(bool(request.messages) for request in call.requests) == 2


async def test_completion() -> None:
    """A completion is a chat of one user message."""
    call = Script("fine")
    answer = await CallLLM(call, to="generator").acomplete("how?")

    assert answer.text == "fine"
    assert call.requests[0].messages == [{"role": "user", "content": "how?"}]


@pytest.mark.parametrize("answer", [None, "", " \n"])
async def test_no_text_is_never_an_answer(answer: str | None) -> None:
    """An empty answer is a failure with a reason, not the words "Empty Response"."""
    with pytest.raises(Permanent) as caught:
        await CallLLM(Script(answer), to="judge").acomplete("q")
    assert caught.value.kind == "empty_answer"


async def test_errors_of_the_call_pass_through() -> None:
    """What our call raises reaches the caller unchanged; LlamaIndex neither hides nor retries it."""
    call = Script(Transient("busy"))
    with pytest.raises(Transient, match="busy"):
        await CorrectnessEvaluator(llm=CallLLM(call, to="judge")).aevaluate(query="q", response="a", reference="r")
    assert len(call.requests) == 1


async def test_embeddings_of_a_batch() -> None:
    """A batch is one request, and vectors come back in the order of the texts, whatever the server's order."""
    call = Script()
    vectors = await CallEmbedding(call, batch_size=3).aget_text_embedding_batch(["a", "bb", "ccc", "dddd"])

    assert vectors == [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [4.0, 1.0]]
    assert [request.texts for request in call.requests] == [["a", "bb", "ccc"], ["dddd"]]
    assert [request.characters for request in call.requests] == [6, 4]
    assert {request.to for request in call.requests} == {"embedding"}


async def test_query_embedding() -> None:
    """A query embeds like a text, and can be asked of a vector store."""
    vector = await CallEmbedding(Script()).aget_query_embedding("query")
    assert vector == [5.0, 1.0]
    assert SimpleVectorStore().query(VectorStoreQuery(query_embedding=vector)).ids == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda call: CallLLM(call, to="judge").complete,
        lambda call: CallEmbedding(call).get_query_embedding,
    ],
)
async def test_blocking_methods(ask: Callable[[Script], Callable[[str], object]]) -> None:
    """From a thread the blocking methods work on our loop; on the loop itself they are refused, not deadlocked."""
    call = Script("fine")
    method = ask(call)
    await asyncio.to_thread(method, "q")
    assert len(call.requests) == 1

    with pytest.raises(RuntimeError, match="would block the event loop"):
        method("q")
    assert len(call.requests) == 1


async def test_streams_are_refused() -> None:
    """Streaming says that it is not there."""
    with pytest.raises(NotImplementedError, match="not streamed"):
        CallLLM(Script(), to="judge").stream_complete("q")
