from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from way_servers import Certificates, certificates, model_server, proxy_server

from engine.errors import Fatal
from jobs.config import Model
from jobs.models.connection import connection
from jobs.tuning.openai_client import provider_at

JOB = json.dumps({"id": "job-1", "object": "fine_tuning.job", "status": "running", "model": "m"}).encode()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def issued(tmp_path: Path) -> Certificates:
    return certificates(tmp_path)


async def status(url: str, **settings: Any) -> str:
    """The status of a job at `url`, as the fine-tuning client gets it."""
    model = Model(model="m", **settings)
    async with provider_at(connection("base", model, url), model, "the-key", asyncio.sleep) as provider:
        return (await provider.job("job-1")).status


async def test_through_a_proxy(monkeypatch: pytest.MonkeyPatch, issued: Certificates) -> None:
    """The fine-tuning client goes through the proxies of the environment, by a tunnel to a server with TLS."""
    async with (
        model_server(answer=JOB) as plain,
        model_server(answer=JOB, tls=issued.server()) as secure,
        proxy_server(credentials="anna:s@cret") as proxy,
    ):
        monkeypatch.setenv("ALL_PROXY", f"http://anna:s%40cret@127.0.0.1:{proxy.port}")
        assert await status(f"http://model.test:{plain.port}/v1") == "running"
        assert await status(f"https://model.test:{secure.port}/v1", ca_file=str(issued.file)) == "running"
    assert proxy.heads[0].startswith(f"GET http://model.test:{plain.port}/v1/fine_tuning/jobs/job-1 ")
    assert proxy.heads[1].startswith(f"CONNECT model.test:{secure.port} ")
    assert "the-key" not in proxy.heads[1]


async def test_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY has the meaning that it has for all other requests: here a network that holds the address."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
    async with model_server(answer=JOB) as server:
        assert await status(f"http://127.0.0.1:{server.port}/v1") == "running"


async def test_a_unix_socket(tmp_path: Path) -> None:
    """An address unix:///PATH serves fine-tuning too."""
    async with model_server(answer=JOB, path=tmp_path / "s") as server:
        assert await status(f"unix://{tmp_path}/s") == "running"
    assert server.heads[0].startswith("GET /v1/fine_tuning/jobs/job-1 ")


async def test_certificates(issued: Certificates) -> None:
    """The model's CA is trusted, its client certificate shown, and a CA that is missing ends the run in one line."""
    chain, key = issued.client()
    async with model_server(answer=JOB, tls=issued.server(asks=issued.ca)) as server:
        url = f"https://localhost:{server.port}/v1"
        shown = {"client_cert": str(chain), "client_key": str(key)}
        assert await status(url, ca_file=str(issued.file), **shown) == "running"
        with pytest.raises(Fatal, match=r"certificate of localhost is not trusted .* set ca_file in \[models\.base\]"):
            await status(url, **shown)


async def test_headers_and_query() -> None:
    """What [models.base] says of the key's header, further headers and the query holds for fine-tuning too."""
    azure = {"key_header": "api-key", "key_scheme": "", "extra_query": {"api-version": "1"}}
    async with model_server(answer=JOB) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        assert await status(url) == "running"
        assert await status(url, extra_headers={"X-Team": "papers"}, **azure) == "running"
    plain, special = (head.lower() for head in server.heads)
    assert "\r\nauthorization: bearer the-key\r\n" in plain
    assert special.startswith("get /v1/fine_tuning/jobs/job-1?api-version=1 ")
    assert "\r\napi-key: the-key\r\n" in special
    assert "\r\nx-team: papers\r\n" in special
    assert "authorization" not in special
