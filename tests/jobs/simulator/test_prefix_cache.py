from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from engine.requests import Reply
from engine.virtualtime import run_virtual
from jobs.config import Model
from jobs.models.chat import chat
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target
from jobs.simulator import simulated_endpoint
from jobs.simulator.answers import count_tokens
from jobs.simulator.prefix_cache import BLOCK_TOKENS, PrefixCache

CHUNK = " ".join(f"word{number}" for number in range(100)) + "\n"


def test_a_shared_beginning_is_found_in_whole_blocks() -> None:
    """Of a prompt the blocks are found that it shares from its first word on, and none after the first that differs."""
    cache = PrefixCache(1000)
    cache.keep("m", f"{CHUNK}Ask a question.", 0.0)
    assert cache.find("m", f"{CHUNK}Answer this question, please.", 0.0) == 96
    assert cache.find("m", f"Answer this question.\n{CHUNK}", 0.0) == 0
    assert cache.find("other", f"{CHUNK}Ask a question.", 0.0) == 0


def test_a_prompt_is_there_once_its_first_token_is_out() -> None:
    """Requests at the same time find nothing of each other."""
    cache = PrefixCache(1000)
    cache.keep("m", CHUNK, 2.0)
    assert cache.find("m", CHUNK, 1.9) == 0
    cache.keep("m", CHUNK, 7.0)
    assert cache.find("m", CHUNK, 2.0) == 96


def test_what_was_used_longest_ago_goes_first() -> None:
    """The cache holds so many tokens; a prompt that is used again stays, and an end goes before its beginning."""
    cache = PrefixCache(2 * 96)
    prompts = [CHUNK.replace("word", name) for name in "abc"]
    cache.keep("m", prompts[0], 0.0)
    cache.keep("m", prompts[1], 0.0)
    cache.keep("m", prompts[0], 0.0)
    cache.keep("m", " ".join(prompts[2].split()[:49]), 0.0)
    assert [cache.find("m", prompt, 0.0) for prompt in prompts] == [96, 48, 48]


@given(st.lists(st.text("ab \n", max_size=200), max_size=8), st.text("ab \n", max_size=200))
def test_no_more_is_found_than_there_is(kept: list[str], prompt: str) -> None:
    """Whatever was kept, what is found is a whole number of words of the prompt and no more than it has."""
    cache = PrefixCache(64)
    for text in kept:
        cache.keep("m", text, 0.0)
    found = cache.find("m", prompt, 0.0)
    assert 0 <= found <= count_tokens(prompt)
    assert found % BLOCK_TOKENS == 0
    assert found == 0 or any(text.split()[:BLOCK_TOKENS] == prompt.split()[:BLOCK_TOKENS] for text in kept)


def test_usage_tells_what_was_found() -> None:
    """The endpoint reports cached tokens where it has a cache, and counts them; without one it says nothing of them."""

    async def asked(tokens: int) -> tuple[list[Reply], int]:
        model = Model(model="simulated-chat", api_key_env="")
        async with simulated_endpoint(prefix_cache_tokens=tokens, latency_mean_s=1.0) as server:
            target = Target(role="generator", model=model, name=model.model, base_url=server.base_url, api_key="")
            async with Endpoint(target) as endpoint:

                async def ask(question: str) -> Reply:
                    return await endpoint(
                        chat("generator", [{"role": "user", "content": CHUNK + question}], max_tokens=500)
                    )

                together = await asyncio.gather(ask("What is one?"), ask("What is two?"))
                return [*together, await ask("What is three?")], server.counters.cached_tokens

    replies, counted = run_virtual(asked(1000))
    assert [reply.usage.cached_tokens for reply in replies] == [0, 0, 96]
    assert counted == 96
    replies, counted = run_virtual(asked(0))
    assert replies[-1].usage.cached_tokens == 0
    assert counted == 0
