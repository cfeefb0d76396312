"""One small request per model before anything else: each wrong setting is one line, and nothing was asked or written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import counters

from jobs.cli.main import main

pytestmark = pytest.mark.processes

Simulate = Callable[..., str]
Configured = Callable[..., Path]
Answer = tuple[int, Mapping[str, Any]]


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers each body as `answer` says; its address, and the bodies that it was sent."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            self._say(*answer(body))

        def do_GET(self) -> None:
            self._say(404, {})

        def _say(self, status: int, body: Mapping[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def says(text: str) -> Answer:
    usage = {"prompt_tokens": 20, "completion_tokens": 5}
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


def refuses(message: str, status: int = 400) -> Answer:
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": None}}


def files(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line by which the command ends."""
    capsys.readouterr()
    assert main(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gristmill: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def command(example_papers: Path, tmp_path: Path) -> Callable[..., list[str]]:
    def made(config: Path, *more: str) -> list[str]:
        return ["run", str(example_papers), "--out", str(tmp_path / "run"), "--config", str(config), *more]

    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "simulated-chatt"}, "knows no model 'simulated-chatt' (404), but 'simulated-chat'"),
        ({"base_url": "{root}"}, '{root} is not where the API is (404): set base_url = "{root}/v1"'),
        ({"base_url": "https://{host}/v1"}, "write http://"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "cannot connect to http://127.0.0.1:9/v1"),
        ({"base_url": "http://no-such-host.invalid/v1"}, "the name no-such-host.invalid does not resolve"),
        ({"api_key_env": "WRONG_KEY"}, "refuses the key of [models.judge] (401"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_one_line_and_nothing_is_written(
    change: dict[str, str],
    said: str,
    command: Callable[..., list[str]],
    simulate: Simulate,
    configured: Configured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong key, model or address ends a run before the corpus is read: one line, no folder, no question asked."""
    monkeypatch.setenv("RIGHT_KEY", "right")
    monkeypatch.setenv("WRONG_KEY", "wrong")
    url = simulate("--api-key-env", "RIGHT_KEY")
    root = url.removesuffix("/v1")
    names = {"root": root, "host": root.removeprefix("http://")}
    config = configured(url)
    text = config.read_text("utf-8").replace('api_key_env = ""', 'api_key_env = "RIGHT_KEY"')
    config.write_text(text, "utf-8")
    settings = [f"--set=models.judge.{key}={value.format(**names)}" for key, value in change.items()]
    line = refused(command(config, *settings), capsys)
    assert said.format(**names) in line
    assert "[models.judge]" in line
    assert not (tmp_path / "run").exists()
    assert sum(counters(url)["requests"].get(route, 0) for route in ("chat", "embeddings")) <= 4


@pytest.mark.parametrize(
    ("section", "answer", "said"),
    [
        ("judge", lambda body: says("I would rather not say."), 'set evaluate.method = "agreement"'),
        ("generator", lambda body: refuses("no such thing"), "check model and base_url in [models.generator]"),
    ],
)
def test_a_model_that_does_not_do_what_the_run_needs(
    section: str,
    answer: Callable[[dict[str, Any]], Answer],
    said: str,
    command: Callable[..., list[str]],
    simulate: Simulate,
    configured: Configured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A refused parameter, no system role, a judge without a score: the line says what to change, or how to go on."""
    with serving(answer) as (url, bodies):
        settings = [f"--set=models.{section}.base_url={url}", f"--set=models.{section}.model=odd"]
        line = refused(command(configured(simulate()), *settings), capsys)
    assert f"[models.{section}] odd at {url} does not do what the run needs" in line
    assert said in line
    assert line.endswith("or leave this check out by --no-preflight")
    assert not (tmp_path / "run").exists()
    assert len(bodies) <= 3


def test_what_a_refusal_teaches_is_learned_before_the_corpus_is_asked(
    command: Callable[..., list[str]], simulate: Simulate, configured: Configured
) -> None:
    """A model that refuses the temperature is asked without it from the first trial on: no chunk meets the refusal."""

    def answer(body: dict[str, Any]) -> Answer:
        return (
            refuses("Unsupported parameter: 'temperature'") if "temperature" in body else says("1. What does it grind?")
        )

    with serving(answer) as (url, bodies):
        settings = [f"--set=models.generator.base_url={url}", "--set=models.generator.model=odd"]
        assert main(command(configured(simulate()), *settings, "--until", "ask")) == 0
    assert ["temperature" in body for body in bodies[:2]] == [True, False]
    assert sum("temperature" in body for body in bodies) == 1
    assert "ready" in bodies[1]["messages"][0]["content"]


def test_a_run_that_passes(
    command: Callable[..., list[str]],
    simulate: Simulate,
    configured: Configured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The start of a run says which model serves which role; what trying them cost is in status and budget; a run in
    which nothing is left to ask tries nothing; a finished run keeps every byte when a new model cannot be used."""
    url, out = simulate(), tmp_path / "run"
    run = command(configured(url, "[budget]\ntokens = 1000000\n"))
    assert main(run) == 0
    started = capsys.readouterr().err.splitlines()
    assert started[:4] == [
        *(f"{role}: simulated-chat at {url}" for role in ("generator", "base", "judge")),
        f"embedding: simulated-embedding at {url}",
    ]
    assert main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    tried = status["preflight"]
    # One for questions, one with a system message, one score and one vector: roles share what they ask alike.
    assert tried["requests"] == 4
    assert tried["prompt_tokens"] > 0
    asked = counters(url)["answered"]
    chats = sum(job["usage"]["requests"] for job in status["jobs"] if job["job"] in _CHATTING)
    assert counters(url)["requests"]["chat"] == 3 + chats
    assert main(["status", str(out)]) == 0
    assert any(line.split()[:2] == ["preflight", "4"] for line in capsys.readouterr().out.splitlines())

    for again in (run, ["evaluate", str(out)], ["retry", str(out)]):
        assert main(again) == 0
        assert counters(url)["answered"] == asked

    before = files(out)
    for wrong, said in (
        (["--model", "x=nomodel"], "knows no model 'nomodel'"),
        (["--model", "x=m@http://127.0.0.1:9/v1"], "cannot connect"),
        (["--set", "models.judge.base_url=http://127.0.0.1:9/v1"], "cannot connect"),
        (["--set", "evaluate.metrics=['no_such']"], "no_such"),
    ):
        assert said in refused(["evaluate", str(out), *wrong], capsys)
        assert files(out) == before

    # What was tried has been paid: a budget of what the jobs alone have cost is spent before a new model is tried.
    spent = ["--set", f"budget.tokens={_tokens(status) + 1}", "--model", "x=simulated-chat"]
    assert f"({_tokens(status)} used" in refused(["evaluate", str(out), *spent], capsys)
    assert files(out) == before


_CHATTING = ("ask", "answer", "respond", "judge")


def _tokens(status: dict[str, Any]) -> int:
    usages = [status["preflight"], *(job["usage"] for job in status["jobs"])]
    return sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages)


def test_no_preflight(
    command: Callable[..., list[str]], simulate: Simulate, configured: Configured, tmp_path: Path
) -> None:
    """With --no-preflight no model is tried: the first request is about the corpus."""
    url = simulate()
    assert main(command(configured(url), "--no-preflight", "--until", "ask")) == 0
    seals = [json.loads(path.read_bytes()) for path in (tmp_path / "run" / "questions").glob("*.done.json")]
    assert counters(url)["answered"] == sum(seal["usage"]["requests"] for seal in seals)
    assert not (tmp_path / "run" / "preflight.json").exists()


def test_a_dry_run_tries_nothing_and_says_who_serves(
    command: Callable[..., list[str]], simulate: Simulate, configured: Configured, capsys: pytest.CaptureFixture[str]
) -> None:
    """--dry-run says which model at which address serves which role, one line each, and sends nothing."""
    url = simulate()
    assert main(command(configured(url), "--dry-run")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        *(f"{role}: simulated-chat at {url}" for role in ("generator", "base", "judge")),
        f"embedding: simulated-embedding at {url}",
    ]
    assert lines[-1] == "nothing was sent"
    assert counters(url)["answered"] == 0


def test_vectors_of_another_length(
    command: Callable[..., list[str]],
    simulate: Simulate,
    configured: Configured,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An endpoint whose vectors have another length than those of the run is found before anything is asked."""
    assert main(command(configured(simulate()), "--until", "index")) == 0
    before = files(tmp_path / "run")
    other = configured(simulate("--dimensions", "32"))
    line = refused(command(other), capsys)
    assert "its vectors have 32 numbers, those of the run 256" in line
    assert "--redo index" in line
    assert files(tmp_path / "run") == before
    assert main(command(other, "--redo", "index", "--until", "augment")) == 0
