from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput, Fatal
from jobs.tuning.hub import push

huggingface_hub = pytest.importorskip("huggingface_hub")


class Hub(ThreadingHTTPServer):
    """As much of the Hub as an upload needs: repositories, and the files of each."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.refusal = (0, "")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, said = self.server.refusal
        if status:
            return self._send({"error": said}, status)
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self._send({"error": "Invalid credentials"}, 401)
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = asked.get("private") or asked.get("visibility") == "private"
            return self._send({"url": f"{self.server.url}/datasets/{name}"})
        if path == "/api/validate-yaml":
            return self._send({"errors": [], "warnings": []})
        name = "/".join(path.split("/")[3:5])
        if path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._send({"files": files})
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.server.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        address = f"{self.server.url}/datasets/{name}/commit/1"
        return self._send({"success": True, "commitUrl": address, "commitOid": "1"})

    def do_GET(self) -> None:
        self._send({"error": "Not found"}, 404)

    def _send(self, answer: Any, status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    files = {"train.jsonl": "{}\n", "qa_pairs_train.json": "{}", "README.md": "---\n---\n", ".stamp": "1", "x.tmp": ""}
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_push(hub: Hub, dataset: Path) -> None:
    """The files of the dataset and its card are in a private repository afterwards, and nothing else."""
    assert push(dataset, "mill/papers", public=False) == f"{hub.url}/datasets/mill/papers"

    files = hub.repositories["mill/papers"]
    assert sorted(files) == ["README.md", "qa_pairs_train.json", "train.jsonl"]
    assert files["train.jsonl"] == b"{}\n"
    assert hub.private["mill/papers"]


def test_public(hub: Hub, dataset: Path) -> None:
    """A repository is public only where that is asked for."""
    push(dataset, "mill/papers", public=True)
    assert not hub.private["mill/papers"]


@pytest.mark.parametrize("name", ["papers", "a/b/c", "", "/b", "a/", "a b/c", "../c"])
def test_a_name_that_is_none(dataset: Path, name: str) -> None:
    """What is not OWNER/NAME is refused before anything is sent."""
    with pytest.raises(BadInput, match="OWNER/NAME"):
        push(dataset, name, public=False)


@pytest.mark.parametrize(
    ("status", "said", "line"),
    [
        (401, "Invalid credentials", "run hf auth login, or set HF_TOKEN"),
        (403, "Forbidden", "the key may not write to mill/papers"),
        (418, "I am a teapot", "the Hub refused mill/papers: .*teapot"),
    ],
)
def test_refusals(hub: Hub, dataset: Path, status: int, said: str, line: str) -> None:
    """A refusal is one line that says what to do, without the key."""
    hub.refusal = (status, said)
    with pytest.raises((BadInput, Fatal), match=line) as caught:
        push(dataset, "mill/papers", public=False)
    assert "hf_test" not in str(caught.value)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, dataset: Path) -> None:
    """A Hub that cannot be reached is one line."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    with pytest.raises(Fatal, match="the Hub cannot be reached"):
        push(dataset, "mill/papers", public=False)
