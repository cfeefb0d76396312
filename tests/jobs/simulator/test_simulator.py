from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import re
import signal
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
import openai
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput, Transient
from engine.requests import Request
from engine.testing import chat_reply, embedding_reply, scripted
from jobs.simulator import (
    Endpoint,
    Fault,
    Play,
    Received,
    Seen,
    Simulation,
    arguments,
    from_arguments,
    simulated_endpoint,
)
from jobs.simulator.answers import count_tokens, cut, embed
from jobs.simulator.limits import Bucket, format_duration
from jobs.simulator.server import Connection

CONTEXT = (
    "The mill grinds one paper or a million. A shard is a numbered file of records, and its seal makes it final. "
    "Every limiter joins requests, tokens and live headers into one queue. Recovery drops a torn line before it goes "
    "on with the next batch. Retrieval finds the chunks whose vectors lie closest to the question."
)
MODEL = "simulated-chat"


class Clock:
    """Seconds that pass only when told."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def endpoint(fault: Callable[[Seen], Fault | None] | None = None, clock: Clock | None = None, **knobs: Any) -> Endpoint:
    return Endpoint(Simulation(**knobs), clock=clock or Clock(), fault=fault)


def received(body: Any, path: str = "/v1/chat/completions", **headers: str) -> Received:
    return Received(method="POST", path=path, query={}, headers=headers, body=json.dumps(body).encode())


def chat(prompt: str = "Say something.", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **more}


def ask(server: Endpoint, body: Any, path: str = "/v1/chat/completions") -> Play:
    """One request that is answered and counted at once."""
    play = server.receive(received(body, path))
    if play.end == "keep":
        server.finish(play, whole=True)
    return play


def wire(play: Play) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a play."""
    head, _, body = b"".join(data for _, data in play.pieces).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def said(play: Play) -> str:
    content = json.loads(wire(play)[2])["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


# -- answers ---------------------------------------------------------------------------------------------------------


def test_answers_do_not_depend_on_order() -> None:
    """The same seed and prompts give the same bytes in any order, and another seed gives others."""
    bodies = [chat(f"{CONTEXT} {i}") for i in range(30)]
    first, second, other = endpoint(seed=1), endpoint(seed=1), endpoint(seed=2)
    forward = [wire(ask(first, body))[2] for body in bodies]
    backward = [wire(ask(second, body))[2] for body in reversed(bodies)]
    assert forward == backward[::-1]
    assert forward != [wire(ask(other, body))[2] for body in bodies]


def test_free_answer_is_copied_from_the_context() -> None:
    """An answer to LlamaIndex's question-answering prompt stands word for word in the prompt's context."""
    from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT

    prompt = DEFAULT_TEXT_QA_PROMPT.format(context_str=CONTEXT, query_str="What does Recovery drop?")
    answer = said(ask(endpoint(output_tokens_mean=8.0), chat(prompt)))
    assert len(answer) > 10
    assert answer in CONTEXT


def test_answer_length_has_the_mean_that_was_set() -> None:
    """The lengths of free answers lie around the configured mean."""
    server = endpoint(output_tokens_mean=60.0, output_tokens_sigma=0.5)
    lengths = [count_tokens(said(ask(server, chat(f"{CONTEXT} {i}")))) for i in range(300)]
    assert 50 < sum(lengths) / len(lengths) < 70
    assert max(lengths) > 2 * min(lengths)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_question_prompt_gets_as_many_numbered_questions(count: int) -> None:
    """LlamaIndex's question-generation prompt gets the asked number of distinct questions of the context's words."""
    from llama_index.core.evaluation import dataset_generation

    query = (
        f"You are a Teacher/Professor. Your task is to setup                         {count} questions for an upcoming"
        "                         quiz/examination."
    )
    template = dataset_generation.DEFAULT_QUESTION_GENERATION_PROMPT
    lines = said(ask(endpoint(), chat(template.format(context_str=CONTEXT, query_str=query)))).split("\n")
    assert [re.sub(r"\. .*\?$", "", line) for line in lines] == [str(i + 1) for i in range(count)]
    assert len(set(lines)) == count
    assert all(sum(word in CONTEXT for word in re.findall(r"\w{3,}", line)) >= 4 for line in lines)


def test_judge_prompt_gets_a_score_that_llama_index_reads() -> None:
    """A correctness prompt gets a score line and a reason; answers like the reference score higher."""
    from llama_index.core.evaluation import correctness, eval_utils

    def mean(answer: str) -> float:
        scores = []
        for i in range(50):
            user = correctness.DEFAULT_USER_TEMPLATE.format(
                query=f"Question {i}?", reference_answer="A seal makes a shard final.", generated_answer=answer
            )
            system = {"role": "system", "content": correctness.DEFAULT_SYSTEM_TEMPLATE}
            play = ask(server, {"model": MODEL, "messages": [system, {"role": "user", "content": user}]})
            score, reason = eval_utils.default_parser(said(play))
            assert score is not None
            assert reason
            assert 1 <= score <= 5
            scores.append(score)
        return float(sum(scores) / len(scores))

    server = endpoint()
    assert mean("Nothing is known of it.") + 0.5 < mean("A seal makes a shard final.")


def test_pairwise_prompt_gets_a_preference_that_llama_index_reads() -> None:
    """A pairwise prompt gets one of LlamaIndex's three verdicts; the answer that is like the reference wins more often."""
    from llama_index.core.evaluation import pairwise

    def won(first: str, second: str) -> float:
        scores = []
        for i in range(50):
            user = pairwise.DEFAULT_USER_TEMPLATE.format(
                query=f"Question {i}?", reference="A seal makes a shard final.", answer_1=first, answer_2=second
            )
            play = ask(server, chat(pairwise.DEFAULT_SYSTEM_TEMPLATE + user))
            _, score, _ = pairwise._default_parser_function(said(play))
            assert score is not None
            scores.append(score)
        return float(sum(scores) / len(scores))

    server = endpoint()
    assert won("A seal makes a shard final.", "Nothing is known.") > 0.6
    assert won("Nothing is known.", "A seal makes a shard final.") < 0.4


def test_schema_answer_conforms_and_quotes_the_prompt() -> None:
    """A json_schema answer validates, its evidence stands in the prompt, and its arrays keep their bounds."""

    class Pair(pydantic.BaseModel):
        evidence: str
        question: str
        kind: str = pydantic.Field(json_schema_extra={"enum": ["fact", "reason"]})
        difficulty: int = pydantic.Field(ge=1, le=3)
        weight: float = pydantic.Field(gt=0, lt=1)
        sure: bool
        note: str | None

    class Pairs(pydantic.BaseModel):
        pairs: list[Pair] = pydantic.Field(min_length=2, max_length=4)

    schema = {"name": "pairs", "schema": Pairs.model_json_schema()}
    server = endpoint()
    for i in range(40):
        body = chat(f"{CONTEXT} {i}.", response_format={"type": "json_schema", "json_schema": schema})
        found = Pairs.model_validate_json(said(ask(server, body)))
        assert 2 <= len(found.pairs) <= 4
        for pair in found.pairs:
            assert pair.evidence in CONTEXT + f" {i}."
            assert pair.question.endswith("?")
            assert pair.kind in ("fact", "reason")


def test_schema_that_holds_itself_comes_to_an_end() -> None:
    """A recursive schema gets a finite answer."""

    class Tree(pydantic.BaseModel):
        name: str
        left: Tree | None
        right: Tree | None

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    schema = {"name": "tree", "schema": Tree.model_json_schema()}
    body = chat(CONTEXT, response_format={"type": "json_schema", "json_schema": schema})
    assert Tree.model_validate_json(said(ask(endpoint(), body))).name


def test_json_object_answer_is_a_json_object() -> None:
    """response_format json_object gets an object."""
    answer = said(ask(endpoint(), chat(CONTEXT, response_format={"type": "json_object"})))
    assert isinstance(json.loads(answer), dict)


def test_max_tokens_cuts_the_answer() -> None:
    """An answer longer than max_tokens is cut at a word and ends with finish_reason length."""
    choice = json.loads(wire(ask(endpoint(), chat(CONTEXT, max_tokens=5)))[2])["choices"][0]
    assert choice["finish_reason"] == "length"
    assert 3 <= count_tokens(choice["message"]["content"]) <= 5


@given(st.text(max_size=300), st.integers(0, 60))
def test_cut_keeps_the_bound(text: str, tokens: int) -> None:
    """Whatever the text, what `cut` leaves is its beginning and has at most so many tokens."""
    left = cut(text, tokens)
    assert text.startswith(left)
    assert count_tokens(left) <= tokens


def test_n_and_logprobs() -> None:
    """n choices differ, and each token carries the asked number of log-probabilities, the likeliest first."""
    body = json.loads(wire(ask(endpoint(), chat(CONTEXT * 5, n=3, logprobs=True, top_logprobs=4)))[2])
    assert len({choice["message"]["content"] for choice in body["choices"]}) == 3
    for choice in body["choices"]:
        tokens = choice["logprobs"]["content"]
        assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
        for token in tokens:
            logprobs = [top["logprob"] for top in token["top_logprobs"]]
            assert len(logprobs) == 4
            assert logprobs == sorted(logprobs, reverse=True)
            assert logprobs[0] == token["logprob"] <= 0


def test_yes_or_no_prompt_gets_one_of_them_against_the_other() -> None:
    """A prompt that says "Yes or No" gets one, with the other as the second likeliest token."""
    choice = json.loads(wire(ask(endpoint(), chat("Yes or No?", logprobs=True, top_logprobs=2)))[2])["choices"][0]
    assert {top["token"] for top in choice["logprobs"]["content"][0]["top_logprobs"]} == {"Yes", "No"}


def test_embeddings_of_texts_that_share_words_lie_close() -> None:
    """Embeddings are unit vectors, alike for shared words, and base64 carries the same floats."""
    texts = ["a sealed shard is final", "the shard that is sealed is final", "whales sing under moonlit water"]
    body = {"model": "simulated-embedding", "input": texts}
    plain = json.loads(wire(ask(endpoint(), body, "/v1/embeddings"))[2])
    coded = json.loads(wire(ask(endpoint(), {**body, "encoding_format": "base64"}, "/v1/embeddings"))[2])
    vectors = np.array([item["embedding"] for item in plain["data"]])
    assert vectors.shape == (3, 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0] @ vectors[1] > 0.6 > vectors[0] @ vectors[2] + 0.3
    again = [np.frombuffer(b64decode(item["embedding"]), "<f4") for item in coded["data"]]
    assert np.allclose(vectors, again)


@given(st.text(min_size=1, max_size=50), st.integers(1, 40))
def test_every_text_has_a_unit_vector(text: str, dimensions: int) -> None:
    """Whatever the text, its embedding has the asked length and norm 1."""
    vector = embed(text, dimensions)
    assert vector.shape == (dimensions,)
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "path", "status", "code"),
    [
        ({**chat(), "model": "nobody"}, "/v1/chat/completions", 404, "model_not_found"),
        ({"model": MODEL}, "/v1/chat/completions", 400, None),
        ({"model": MODEL, "messages": []}, "/v1/chat/completions", 400, None),
        ({"model": MODEL, "input": ["a", ""]}, "/v1/embeddings", 400, None),
        (chat(), "/v1/nothing", 404, None),
    ],
)
def test_errors_have_openai_s_shape(body: Any, path: str, status: int, code: str | None) -> None:
    """What cannot be answered gets its status and an error object with message, type, param and code."""
    server = endpoint()
    found, _, text = wire(ask(server, body, path))
    error = json.loads(text)["error"]
    assert (found, error["code"]) == (status, code)
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (server.counters.refused, server.counters.answered) == (1, 0)


def test_key_is_asked_for_and_never_shown() -> None:
    """Without the right key the answer is 401; the key stands in no response and no repr."""
    server = endpoint(api_key="sk-secret")
    refused = server.receive(received(chat(), authorization="Bearer sk-other"))
    assert wire(refused)[0] == 401
    request = received(chat(), authorization="Bearer sk-secret")
    assert wire(server.receive(request))[0] == 200
    shown = repr(server.simulation) + repr(request) + repr(refused)
    assert "sk-" not in shown


# -- limits ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 40)), max_size=60))
def test_bucket_never_gives_more_than_its_limit(steps: list[tuple[float, int]]) -> None:
    """Over any stretch of time, what was taken is at most one bucket, the limit's share, and the last one's debt."""
    clock = Clock()
    bucket = Bucket(120, 10, clock)
    taken: list[tuple[float, int]] = []
    for pause_s, amount in steps:
        clock.now_s += pause_s
        if bucket.wait_s(amount) == 0:
            bucket.take(amount)
            taken.append((clock.now_s, amount))
    for i, (start_s, _) in enumerate(taken):
        for j in range(i, len(taken)):
            given_out = sum(amount for _, amount in taken[i : j + 1])
            debt = max(0, taken[j][1] - 20)
            assert given_out <= 20 + 2 * (taken[j][0] - start_s) + debt + 1e-6


def test_rejection_tells_when_to_come_back() -> None:
    """Above the limit the answer is 429 with the wait in both forms; after just that wait the request passes."""
    clock = Clock()
    server = endpoint(clock=clock, requests_per_minute=60.0, bucket_s=2.0)
    headers = [wire(ask(server, chat()))[1] for _ in range(2)]
    assert [found["x-ratelimit-remaining-requests"] for found in headers] == ["1", "0"]
    assert headers[1]["x-ratelimit-limit-requests"] == "60"
    assert headers[1]["x-ratelimit-reset-requests"] == "2s"
    clock.now_s = 0.25
    status, found, body = wire(ask(server, chat()))
    assert (status, found["retry-after"], found["retry-after-ms"]) == (429, "1", "750")
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    clock.now_s += 0.75
    assert wire(ask(server, chat()))[0] == 200
    assert (server.counters.answered, server.counters.rejected) == (3, 1)


def test_tokens_count_as_prompt_and_most_output() -> None:
    """The token limit takes the prompt's tokens and max_tokens for each choice, and one too large never passes."""
    server = endpoint(tokens_per_minute=6000.0, bucket_s=10.0)
    headers = wire(ask(server, chat("one two three", max_tokens=100, n=2)))[1]
    assert server.counters.charged_tokens == 3 + 4 + 200
    assert headers["x-ratelimit-remaining-tokens"] == str(1000 - 207)
    status, headers, body = wire(ask(server, chat(max_tokens=7000)))
    assert (status, "retry-after" in headers) == (429, False)
    assert "too large" in json.loads(body)["error"]["message"]


def test_limits_are_per_model() -> None:
    """One model's requests leave another model's limit alone."""
    server = endpoint(requests_per_minute=6.0)
    statuses = [wire(ask(server, {**chat(), "model": model}))[0] for model in (MODEL, MODEL, "simulated-embedding")]
    assert statuses == [200, 429, 200]


@pytest.mark.parametrize(
    ("duration_s", "text"), [(0.02, "20ms"), (0, "0ms"), (1.5, "1.5s"), (360, "6m0s"), (3723.5, "1h2m3.5s")]
)
def test_durations_are_written_as_openai_does(duration_s: float, text: str) -> None:
    """Reset times look like those in OpenAI's headers."""
    assert format_duration(duration_s) == text


def test_more_at_once_than_allowed_are_turned_away() -> None:
    """Above max_in_flight the configured status answers, until one has ended."""
    server = endpoint(max_in_flight=2, overload_status=429, latency_mean_s=1.0)
    plays = [server.receive(received(chat(str(i)))) for i in range(3)]
    assert [wire(play)[0] for play in plays] == [200, 200, 429]
    server.finish(plays[0], whole=True)
    assert wire(server.receive(received(chat("2"))))[0] == 200
    assert server.counters.most_in_flight == 2


# -- latency ---------------------------------------------------------------------------------------------------------


def test_latency_is_the_prompt_s_own() -> None:
    """Latencies vary around the mean by prompt, and the same prompt takes the same time whenever it is asked."""
    server = endpoint(latency_mean_s=2.0, latency_sigma=0.5)
    waits = [sum(wait_s for wait_s, _ in ask(server, chat(str(i))).pieces) for i in range(2000)]
    assert 1.94 < sum(waits) / len(waits) < 2.06
    assert sum(wait_s for wait_s, _ in ask(server, chat("7")).pieces) == waits[7]


def test_first_byte_comes_before_the_rest() -> None:
    """With first_byte_s the head leaves early, and a stream spreads its events over the latency."""
    server = endpoint(latency_mean_s=2.0, first_byte_s=0.5)
    plain = ask(server, chat()).pieces
    assert [wait_s for wait_s, _ in plain] == [0.5, 1.5]
    assert plain[0][1].endswith(b"\r\n\r\n")
    stream = ask(server, chat(CONTEXT, stream=True)).pieces
    assert stream[0][0] == 0.5
    assert abs(sum(wait_s for wait_s, _ in stream) - 2.0) < 1e-9


def test_tokens_follow_the_first_at_their_rate() -> None:
    """With a rate of tokens, latency is the time to the first words of a stream, and the whole answer takes longer."""
    knobs = {"latency_mean_s": 0.5, "output_tokens_per_second": 20.0, "output_tokens_sigma": 0.0}
    stream = ask(endpoint(**knobs), chat(CONTEXT, stream=True)).pieces
    assert stream[0][0] == 0.5
    assert re.search(rb'"content":"\w', stream[0][1])
    whole_s = sum(wait_s for wait_s, _ in stream)
    assert 2.2 < whole_s < 2.8  # forty tokens, less what makes whole words
    (piece,) = ask(endpoint(**knobs), chat(CONTEXT)).pieces
    assert math.isclose(piece[0], whole_s)


def test_requests_wait_for_a_slot() -> None:
    """So many as there are slots are answered at a time, and each slot takes the next when it falls free."""
    clock = Clock()
    server = endpoint(clock=clock, latency_mean_s=1.0, slots=2)
    assert [ask(server, chat(str(i))).pieces[0][0] for i in range(5)] == [1, 1, 2, 2, 3]
    clock.now_s = 2.5
    assert [ask(server, chat(str(i))).pieces[0][0] for i in range(2)] == [1, 1.5]
    assert {ask(endpoint(latency_mean_s=1.0), chat(str(i))).pieces[0][0] for i in range(50)} == {1.0}


# -- faults ----------------------------------------------------------------------------------------------------------


def fates(server: Endpoint, prompts: list[str], attempts: int) -> dict[str, list[str]]:
    """What became of each attempt of each prompt: the status, or how the connection ended."""
    found: dict[str, list[str]] = {prompt: [] for prompt in prompts}
    for prompt in prompts * attempts:
        play = ask(server, chat(prompt))
        found[prompt].append(play.end if play.end != "keep" else str(wire(play)[0]))
    return found


def test_faults_do_not_depend_on_order() -> None:
    """A prompt meets the same faults in the same attempts whatever else is asked, and a retry may pass."""
    prompts = [str(i) for i in range(200)]
    knobs: dict[str, Any] = {"seed": 3, "fault_500": 0.2, "fault_reset": 0.1, "fault_hang": 0.1}
    found = fates(endpoint(**knobs), prompts, 3)
    assert found == fates(endpoint(**knobs), prompts[::-1], 3)
    firsts = [fate[0] for fate in found.values()]
    assert 25 <= firsts.count("500") <= 55
    assert 8 <= firsts.count("reset") <= 35
    assert any(fate[0] == "500" and "200" in fate[1:] for fate in found.values())


def test_rejections_are_no_attempts() -> None:
    """What the limits turn away moves no prompt on to its next fault."""
    clock = Clock()
    server = endpoint(clock=clock, fault=lambda seen: None if seen.attempt else Fault(kind="reset"))
    limited = endpoint(
        clock=clock, requests_per_minute=6.0, fault=lambda seen: None if seen.attempt else Fault(kind="reset")
    )
    ask(limited, chat("another"))
    assert wire(ask(limited, chat("mine")))[0] == 429
    clock.now_s = 60
    assert ask(limited, chat("mine")).end == ask(server, chat("mine")).end == "reset"


def test_sticky_faults_fail_always() -> None:
    """A prompt that is sticky meets its first fate again and again."""
    found = fates(endpoint(fault_500=0.5, fault_sticky=1.0), [str(i) for i in range(50)], 4)
    assert {len(set(fate)) for fate in found.values()} == {1}
    assert {fate[0] for fate in found.values()} == {"200", "500"}


def test_unknown_kind_of_fault_is_refused() -> None:
    """A fault whose kind nobody knows cannot be made."""
    with pytest.raises(ValueError, match="typo"):
        Fault(kind="typo")


def test_storm_turns_everything_away_until_it_is_over() -> None:
    """A storm answers every request with 429 and the time that is left of it."""
    clock = Clock()
    server = endpoint(
        clock=clock, storm_s=3.0, fault=lambda seen: Fault(kind="storm") if seen.prompt == "storm" else None
    )
    assert [wire(ask(server, chat(prompt)))[0] for prompt in ("a", "storm", "b")] == [200, 429, 429]
    clock.now_s = 2.5
    assert wire(ask(server, chat("b")))[1]["retry-after-ms"] == "500"
    clock.now_s = 3.0
    assert wire(ask(server, chat("b")))[0] == 200
    assert (server.counters.faults["storm"], server.counters.rejected) == (1, 3)


def test_content_faults_spoil_what_they_name() -> None:
    """Each fault of content changes the answer in its own way, and none of them counts as answered."""
    server = endpoint(fault=lambda seen: Fault(kind=seen.prompt), huge_bytes=100_000)

    def body(kind: str) -> Any:
        return json.loads(wire(ask(server, chat(kind)))[2])

    def choice(kind: str) -> Any:
        return body(kind)["choices"][0]

    assert choice("null")["message"]["content"] is None
    assert choice("filter")["finish_reason"] == "content_filter"
    assert choice("length")["finish_reason"] == "length"
    assert "weather" in choice("wrong")["message"]["content"]
    assert body("model")["model"] != MODEL
    assert body("duplicate_keys")["choices"] == []
    assert len(choice("huge")["message"]["content"]) >= 100_000
    with pytest.raises(json.JSONDecodeError):
        body("torn")
    assert server.counters.answered == 0
    assert set(server.counters.faults.values()) == {1}


def test_embedding_faults_spoil_the_vectors() -> None:
    """Wrong, null and duplicate-key answers spoil embeddings as well."""
    server = endpoint(fault=lambda seen: None if "none" in seen.prompt else Fault(kind=seen.prompt.split("\0")[0]))

    def vectors(kind: str) -> Any:
        body = {"model": "simulated-embedding", "input": [kind, "two"]}
        return json.loads(wire(ask(server, body, "/v1/embeddings"))[2])["data"]

    assert len(vectors("wrong")) == 1
    assert vectors("null")[0]["embedding"] is None
    assert vectors("duplicate_keys") == []
    assert len(vectors("none")) == 2


def test_scripted_status_carries_what_it_says() -> None:
    """A scripted status fault answers with its status, code, message and Retry-After."""
    fault = Fault(kind="status", status=429, code="insufficient_quota", message="No more.", retry_after_s=1.5)
    status, headers, body = wire(ask(endpoint(fault=lambda seen: fault), chat()))
    assert (status, headers["retry-after"], headers["retry-after-ms"]) == (429, "2", "1500")
    error = json.loads(body)["error"]
    assert (error["code"], error["message"]) == ("insufficient_quota", "No more.")


async def test_reset_and_short_bodies_end_the_connection(client: aiohttp.ClientSession) -> None:
    """A reset breaks the connection in mid-body, a short body ends before its length; the next attempt passes."""
    kinds = {"a": "reset", "b": "short"}
    async with simulated_endpoint(
        fault=lambda seen: None if seen.attempt else Fault(kind=kinds[seen.prompt])
    ) as server:
        for prompt in kinds:
            with pytest.raises(aiohttp.ClientError):
                async with client.post(f"{server.base_url}/chat/completions", json=chat(prompt)) as response:
                    await response.read()
            async with client.post(f"{server.base_url}/chat/completions", json=chat(prompt)) as response:
                assert said_by(await response.json())
        assert server.counters.faults == {"reset": 1, "short": 1}
        assert (server.counters.answered, server.counters.answered_twice) == (2, 0)


async def test_torn_stream_ends_within_an_event(client: aiohttp.ClientSession) -> None:
    """A torn stream is whole HTTP, but its last event is cut and [DONE] never comes."""
    async with (
        simulated_endpoint(fault=lambda seen: Fault(kind="torn")) as server,
        client.post(f"{server.base_url}/chat/completions", json=chat(CONTEXT, stream=True)) as response,
    ):
        text = await response.text()
    assert "[DONE]" not in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text.split("data: ")[-1])


async def test_hang_holds_the_request_until_the_client_leaves() -> None:
    """A hang sends nothing and counts as in flight; when the client leaves it counts as abandoned."""
    server = endpoint(fault=lambda seen: Fault(kind="hang"))
    connection, transport = connected(server)
    connection.data_received(http(chat()))
    assert transport.sent == b""
    assert server.counters.in_flight == 1
    connection.connection_lost(None)
    assert (server.counters.in_flight, server.counters.abandoned) == (0, 1)


# -- the wire --------------------------------------------------------------------------------------------------------


class FakeTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def connected(server: Endpoint) -> tuple[Connection, FakeTransport]:
    connection, transport = Connection(server, set()), FakeTransport()
    connection.connection_made(transport)
    return connection, transport


def http(body: Any, headers: str = "") -> bytes:
    data = json.dumps(body).encode()
    return f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data


def chunked(body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"5;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\ntrailer: t\r\n\r\n" % (data[:5], len(data) - 5, data[5:])


@given(cuts=st.lists(st.integers(1, 900), max_size=12))
def test_requests_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    """However the bytes of three requests are cut up, the answers are the same."""
    data = http(chat("one")) + chunked(chat("two")) + http(chat("three"))

    async def answers(pieces: list[bytes]) -> bytes:
        connection, transport = connected(endpoint())
        for piece in pieces:
            connection.data_received(piece)
        return transport.sent

    edges = [0, *sorted(min(cut_, len(data)) for cut_ in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
    whole = asyncio.run(answers([data]))
    assert whole.count(b"HTTP/1.1 200 OK") == 3
    assert asyncio.run(answers(pieces)) == whole


async def test_expectation_is_met_and_close_is_obeyed() -> None:
    """Expect: 100-continue gets its answer before the body, and Connection: close ends the connection."""
    connection, transport = connected(endpoint())
    data = http(chat(), "Expect: 100-continue\r\nConnection: close\r\n")
    at = data.index(b"\r\n\r\n") + 4
    connection.data_received(data[:at])
    assert transport.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(data[at:])
    assert b"HTTP/1.1 200 OK" in transport.sent
    assert transport.closed


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"x" * 70_000,
    ],
)
async def test_what_is_no_request_closes_the_connection(data: bytes) -> None:
    """Bytes that are no HTTP request get 400 and the end of the connection."""
    connection, transport = connected(endpoint())
    connection.data_received(data)
    assert transport.sent.startswith(b"HTTP/1.1 400")
    assert transport.closed


def said_by(body: Any) -> str:
    return str(body["choices"][0]["message"]["content"])


async def test_stream_says_what_the_plain_answer_says() -> None:
    """The openai client reads from a stream the words, finish reason and usage of the plain answer."""
    async with (
        simulated_endpoint(latency_mean_s=0.01, first_byte_s=0.001) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as api,
    ):
        messages: Any = [{"role": "user", "content": CONTEXT}]
        plain = await api.chat.completions.create(model=MODEL, messages=messages)
        stream = await api.chat.completions.create(
            model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == plain.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == plain.usage


# -- counters --------------------------------------------------------------------------------------------------------


async def test_counters_can_be_read_from_outside(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    """GET /counters tells requests by route, answers by model and answers given twice; the log has a line for each."""
    log = tmp_path / "answers.log"
    async with simulated_endpoint(log_path=str(log)) as server:
        for prompt in ("a", "b", "a"):
            async with client.post(f"{server.base_url}/chat/completions", json=chat(prompt)) as response:
                assert response.status == 200
        async with client.get(server.base_url.removesuffix("/v1") + "/counters") as response:
            found = await response.json()
    assert found["requests"] == {"chat": 3, "counters": 1}
    assert found["answered_by_model"] == {MODEL: 3}
    assert (found["answered"], found["answered_twice"], found["in_flight"]) == (3, 1, 0)
    hashes = [line.split()[0] for line in log.read_text().splitlines()]
    assert hashes[0] == hashes[2] != hashes[1]


# -- files and fine-tuning -------------------------------------------------------------------------------------------


def training_file(examples: int) -> bytes:
    line = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})
    return f"{line}\n".encode() * examples


@pytest.mark.slow
async def test_fine_tuning_path_runs_whole() -> None:
    """Through the openai client: upload, job, events, checkpoints, and the tuned model answers."""
    times: dict[str, Any] = {"tuning_validate_s": 0.0, "tuning_queue_s": 0.0, "tuning_run_s": 0.0}
    async with (
        simulated_endpoint(**times) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as api,
    ):
        data = training_file(10)
        file = await api.files.create(file=("train.jsonl", data), purpose="fine-tune")
        assert (file.filename, file.bytes) == ("train.jsonl", len(data))
        assert (await api.files.content(file.id)).content == data
        job = await api.fine_tuning.jobs.create(
            model=MODEL, training_file=file.id, validation_file=file.id, suffix="me"
        )
        job = await api.fine_tuning.jobs.retrieve(job.id)
        assert job.status == "succeeded"
        assert job.fine_tuned_model == f"ft:{MODEL}:simulated:me:{job.id[-8:]}"
        assert [found.id async for found in api.fine_tuning.jobs.list()] == [job.id]
        events = [event.message async for event in api.fine_tuning.jobs.list_events(job.id, limit=2)]
        assert len(events) == 6
        assert events[0] == "The job has successfully completed"
        checkpoints = [found async for found in api.fine_tuning.jobs.checkpoints.list(job.id)]
        assert checkpoints[0].fine_tuned_model_checkpoint == job.fine_tuned_model
        assert job.fine_tuned_model in [model.id async for model in api.models.list()]
        tuned = await api.chat.completions.create(
            model=job.fine_tuned_model, messages=[{"role": "user", "content": CONTEXT}]
        )
        assert tuned.model == job.fine_tuned_model


def tuning(server: Endpoint, data: bytes, purpose: str = "fine-tune") -> str:
    """Upload and start a job; its id."""
    form = (
        b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n%b\r\n--X\r\nContent-Disposition: form-data; '
        b'name="file"; filename="t.jsonl"\r\nContent-Type: application/jsonl\r\n\r\n%b\r\n--X--\r\n'
        % (purpose.encode(), data)
    )
    headers = {"content-type": "multipart/form-data; boundary=X"}
    upload = Received(method="POST", path="/v1/files", query={}, headers=headers, body=form)
    file = json.loads(wire(server.receive(upload))[2])["id"]
    return str(json.loads(wire(ask(server, {"model": MODEL, "training_file": file}, "/v1/fine_tuning/jobs"))[2])["id"])


def job_of(server: Endpoint, job: str) -> Any:
    path = f"/v1/fine_tuning/jobs/{job}"
    return json.loads(wire(server.receive(Received(method="GET", path=path, query={}, headers={}, body=b"")))[2])


def test_job_goes_through_its_states() -> None:
    """A job is validated, queued, run and done after the configured times; its model is unknown until then."""
    clock = Clock()
    server = endpoint(clock=clock, tuning_validate_s=1.0, tuning_queue_s=2.0, tuning_run_s=3.0)
    job = tuning(server, training_file(12))
    name = f"ft:{MODEL}:simulated::{job[-8:]}"
    states = []
    for clock.now_s in (0, 1, 3, 5.9):
        states.append(job_of(server, job)["status"])
        assert wire(ask(server, {**chat(), "model": name}))[0] == 404
    clock.now_s = 6
    assert states == ["validating_files", "queued", "running", "running"]
    assert (job_of(server, job)["status"], job_of(server, job)["fine_tuned_model"]) == ("succeeded", name)
    assert wire(ask(server, {**chat(), "model": name}))[0] == 200


@pytest.mark.parametrize(
    ("data", "purpose", "code"),
    [
        (training_file(9), "fine-tune", "invalid_n_examples"),
        (training_file(9) + b'{"messages": [{"role": "user", "content": "q"}]}\n', "fine-tune", "invalid_file_format"),
        (training_file(10) + b"[torn", "fine-tune", "invalid_file_format"),
        (training_file(10), "assistants", "invalid_file_purpose"),
    ],
)
def test_bad_training_files_fail_the_job(data: bytes, purpose: str, code: str) -> None:
    """A job whose file OpenAI would not take fails after validation, with the reason."""
    clock = Clock()
    server = endpoint(clock=clock)
    job = tuning(server, data, purpose)
    clock.now_s = 1
    found = job_of(server, job)
    assert (found["status"], found["error"]["code"], found["fine_tuned_model"]) == ("failed", code, None)


def test_job_can_be_cancelled_or_fail_while_running() -> None:
    """A cancelled job stays cancelled; with tuning_fails a job ends in its error; neither makes a model."""
    clock = Clock()
    server = endpoint(clock=clock, tuning_fails=True)
    cancelled, failing = tuning(server, training_file(10)), tuning(server, training_file(10))
    assert wire(ask(server, {}, f"/v1/fine_tuning/jobs/{cancelled}/cancel"))[0] == 200
    clock.now_s = 9
    assert job_of(server, cancelled)["status"] == "cancelled"
    assert (job_of(server, failing)["status"], job_of(server, failing)["error"]["code"]) == ("failed", "server_error")
    assert wire(ask(server, {}, f"/v1/fine_tuning/jobs/{failing}/cancel"))[0] == 400


# -- settings and command --------------------------------------------------------------------------------------------


def parsed(*argv: str) -> Simulation:
    parser = argparse.ArgumentParser()
    arguments(parser)
    return from_arguments(parser.parse_args(argv))


def test_every_setting_has_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags give the settings; without any they are the defaults; the key comes from the environment."""
    monkeypatch.setenv("A_KEY", "sk-secret")
    assert parsed() == Simulation()
    given_ = parsed(
        "--latency-mean-s", "0.2", "--seed", "1", "--fault-500", "0.05", "--models", "a, b", "--tuning-fails"
    )
    assert given_ == Simulation(latency_mean_s=0.2, seed=1, fault_500=0.05, models=("a", "b"), tuning_fails=True)
    assert parsed("--api-key-env", "A_KEY").api_key == "sk-secret"


@pytest.mark.parametrize(
    "knobs",
    [{"fault_500": 0.7, "fault_reset": 0.7}, {"latency_mean_s": -1.0}, {"bucket_s": 0.0}, {"fault_sticky": 2.0}],
)
def test_settings_that_cannot_be_are_refused(knobs: dict[str, Any]) -> None:
    """Shares above 1, negative numbers and empty buckets are bad input."""
    with pytest.raises(BadInput):
        Simulation(**knobs)


async def test_port_in_use_is_bad_input() -> None:
    """A port that cannot be listened on ends in one line that names it."""
    async with simulated_endpoint() as server:
        port = int(server.base_url.split(":")[2].split("/")[0])
        with pytest.raises(BadInput, match=str(port)):
            await simulated_endpoint(port=port).__aenter__()


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_command_serves_until_a_signal(client: aiohttp.ClientSession, number: signal.Signals) -> None:
    """The command prints its base URL in one line, answers, and ends with 0 on SIGINT or SIGTERM."""
    code = "import sys; from jobs.simulator import main; sys.exit(main(sys.argv[1:]))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "--seed", "1", stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        base_url = (await process.stdout.readline()).decode().strip()
        async with client.get(f"{base_url}/models") as response:
            assert [model["id"] for model in (await response.json())["data"]] == [MODEL, "simulated-embedding"]
    finally:
        process.send_signal(number)
    assert await process.stdout.read() == b""
    assert await process.wait() == 0


# -- scripted calls --------------------------------------------------------------------------------------------------


async def test_scripted_call_plays_its_turns() -> None:
    """Replies, texts, errors and functions are played in turn, and one request too many is an error."""
    call = scripted("one", Transient("no"), embedding_reply([[1.0]]), lambda request: chat_reply(request.to))
    request = Request(to="judge", messages=[], characters=0)
    assert (await call(request)).text == "one"
    with pytest.raises(Transient):
        await call(request)
    assert (await call(request)).vectors == [[1.0]]
    assert (await call(request)).text == "judge"
    assert (call.left, call.requests) == (0, [request] * 4)
    with pytest.raises(AssertionError):
        await call(request)


async def test_scripted_call_can_repeat_its_last_turn() -> None:
    """With forever the last turn goes on."""
    call = scripted(Transient("no"), "yes", forever=True)
    request = Request(to="judge", messages=[], characters=0)
    with pytest.raises(Transient):
        await call(request)
    assert [(await call(request)).text for _ in range(3)] == ["yes"] * 3


def test_public_names_exist() -> None:
    """What the two public modules promise is there."""
    import engine.testing
    import jobs.simulator

    for module in (jobs.simulator, engine.testing):
        assert sorted(module.__all__) == module.__all__
        assert all(hasattr(module, name) for name in module.__all__)
    assert msgspec.structs.fields(jobs.simulator.Fault)[0].name == "kind"
