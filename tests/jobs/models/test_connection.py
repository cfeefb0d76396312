from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from way_servers import Certificates, certificates, model_server, proxy_server, saying
from yarl import URL

from engine.errors import BadInput, Fatal, GristmillError, Transient
from engine.requests import Reply
from engine.retries import RetryPolicy, retrying
from engine.virtualtime import run_virtual
from jobs.config import Model
from jobs.models.chat import chat, text
from jobs.models.connection import connection
from jobs.models.openai.endpoint import Endpoint
from jobs.models.providers import Target

CHAT = chat("generator", [{"role": "user", "content": "Say something."}], max_tokens=64)
NOBODY = 9  # a port at which nobody listens


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("SSL_CERT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def issued(tmp_path: Path) -> Certificates:
    return certificates(tmp_path)


def endpoint(url: str, *, reached: set[URL] | None = None, **settings: Any) -> Endpoint:
    model = Model.model_validate({"model": "m", "api_key_env": "", **settings})
    target = Target(
        role="judge",
        model=model,
        name="m",
        base_url=url,
        api_key="the-key",
        reached=set() if reached is None else reached,
    )
    return Endpoint(target)


async def ask(url: str, **settings: Any) -> Reply:
    async with endpoint(url, **settings) as opened:
        return await opened(CHAT)


async def refused(url: str, **settings: Any) -> GristmillError:
    """The error at an address that nobody has reached yet: one line, without a key."""
    with pytest.raises(GristmillError) as caught:
        await ask(url, **settings)
    assert "\n" not in str(caught.value)
    assert "the-key" not in str(caught.value)
    return caught.value


# Proxies


async def test_a_plain_request_goes_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY takes a request to an http:// address, whose name the proxy resolves."""
    async with model_server() as server, proxy_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert text(await ask(f"http://model.test:{server.port}/v1"))
    assert proxy.heads[0].startswith(f"POST http://model.test:{server.port}/v1/chat/completions ")
    assert len(server.heads) == 1


async def test_a_tls_request_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, issued: Certificates) -> None:
    """HTTPS_PROXY opens a tunnel, in which the certificate is the model's; the proxy never sees the key."""
    async with model_server(tls=issued.server()) as server, proxy_server() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert text(await ask(f"https://model.test:{server.port}/v1", ca_file=str(issued.file)))
    assert proxy.heads[0].startswith(f"CONNECT model.test:{server.port} ")
    assert "the-key" not in proxy.heads[0]
    assert "Bearer the-key" in server.heads[0]


async def test_a_proxy_that_speaks_tls(monkeypatch: pytest.MonkeyPatch, issued: Certificates) -> None:
    """A proxy may itself be at an https:// address."""
    async with model_server() as server, proxy_server(tls=issued.server()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"https://127.0.0.1:{proxy.port}")
        assert text(await ask(f"http://model.test:{server.port}/v1", ca_file=str(issued.file)))


async def test_no_proxy_goes_there_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is reached without the proxy."""
    async with model_server() as server, proxy_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert text(await ask(f"http://127.0.0.1:{server.port}/v1"))
    assert proxy.heads == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_credentials_of_the_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch, issued: Certificates) -> None:
    """A user and a password in the variable are sent to the proxy alone, percent-decoded."""
    tls = issued.server() if scheme == "https" else None
    async with model_server(tls=tls) as server, proxy_server(credentials="anna:s@cret") as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://anna:s%40cret@127.0.0.1:{proxy.port}")
        assert text(await ask(f"{scheme}://model.test:{server.port}/v1", ca_file=str(issued.file)))
    assert "Proxy-Authorization: Basic " in proxy.heads[0]
    assert ("the-key" in proxy.heads[0]) == (scheme == "http")
    assert server.heads[0].count("Bearer the-key") == 1
    assert scheme == "http" or "Proxy-Authorization" not in server.heads[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_wants_other_credentials(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 407 says which variable to set, and shows neither user nor password."""
    async with proxy_server(credentials="anna:right") as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://anna:wr0ng@127.0.0.1:{proxy.port}")
        error = await refused(f"{scheme}://model.test/v1")
    assert type(error) is Fatal
    assert f"set {scheme.upper()}_PROXY to http://USER:PASSWORD@HOST:PORT" in str(error)
    assert not any(word in str(error) for word in ("anna", "wr0ng"))


async def test_a_proxy_that_does_not_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tunnel that is refused at first is a setting, and names proxy, host and what to change; later it is an outage."""
    async with proxy_server(status=403) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        error = await refused("https://model.test/v1")
        assert type(error) is Fatal
        assert f"http://127.0.0.1:{proxy.port} of HTTPS_PROXY does not connect to model.test (403)" in str(error)
        assert "add model.test to NO_PROXY" in str(error)
        passing = await refused("https://model.test/v1", reached={URL("https://model.test/v1")})
    assert isinstance(passing, Transient)
    assert passing.kind == "unreachable"


async def test_a_proxy_that_nobody_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the proxy refuses connections, the line is about the proxy and its variable and not about the model."""
    monkeypatch.setenv("ALL_PROXY", f"http://anna:hidden@127.0.0.1:{NOBODY}")
    error = await refused("http://model.test/v1")
    assert type(error) is Fatal
    assert str(error).startswith(
        f"cannot connect to the proxy http://127.0.0.1:{NOBODY}: Connection refused; correct ALL"
    )
    assert "add model.test to NO_PROXY" in str(error)
    assert not any(word in str(error) for word in ("anna", "hidden"))


def test_a_server_of_ours_is_reached_directly() -> None:
    """No proxy stands before the embedded model's server on this machine."""
    way = connection("judge", Model(model="local"), "http://127.0.0.1:1/v1", environment={"HTTP_PROXY": "http://p:1"})
    assert way.proxy is None


# Certificates


async def test_a_ca_of_the_model(issued: Certificates) -> None:
    """ca_file of the model makes a company's own CA trusted."""
    async with model_server(tls=issued.server()) as server:
        url = f"https://localhost:{server.port}/v1"
        assert text(await ask(url, ca_file=str(issued.file)))
        error = await refused(url)
    assert type(error) is Fatal
    assert "the certificate of localhost is not trusted" in str(error)
    assert "set ca_file in [models.judge], or SSL_CERT_FILE" in str(error)


@pytest.mark.processes
@pytest.mark.processes
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_a_ca_of_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch, issued: Certificates, tmp_path: Path
) -> None:
    """SSL_CERT_FILE and SSL_CERT_DIR name the trusted CAs."""
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / f"{_subject_hash(issued.file)}.0").write_bytes(issued.file.read_bytes())
    monkeypatch.setenv(variable, str(issued.file if variable == "SSL_CERT_FILE" else folder))
    async with model_server(tls=issued.server()) as server:
        assert text(await ask(f"https://localhost:{server.port}/v1"))


def _subject_hash(file: Path) -> str:
    import subprocess

    command = ["openssl", "x509", "-hash", "-noout", "-in", str(file)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except FileNotFoundError:
        pytest.skip("the openssl command, which names the files of such a folder, is not there")


@pytest.mark.parametrize(
    ("names", "days", "said"),
    [
        (("localhost",), -2, "has expired: have it renewed"),
        (("localhost",), 90, "is not valid yet: set this machine's clock"),
        (("other.test",), 30, "is for another name: write the name that it holds in base_url of [models.judge]"),
    ],
)
async def test_a_certificate_that_cannot_be_used(
    names: tuple[str, ...], days: float, said: str, issued: Certificates
) -> None:
    """An expired, a premature and a foreign certificate are each named in one line that says what to do."""
    async with model_server(tls=issued.server(*names, days=days)) as server:
        error = await refused(f"https://localhost:{server.port}/v1", ca_file=str(issued.file))
    assert type(error) is Fatal
    assert f"the certificate of localhost {said}" in str(error)
    assert str(error).endswith("then run the same command again")


async def test_a_certificate_that_expires_in_mid_run(issued: Certificates) -> None:
    """Where a server was reached and its certificate expires then, the run ends and says so; waiting would not help."""
    tls = issued.server()
    async with (
        model_server(tls=tls) as server,
        endpoint(f"https://localhost:{server.port}/v1", ca_file=str(issued.file)) as opened,
    ):
        assert text(await opened(CHAT))
        issued.issue(days=-1).configure_cert(tls)
        with pytest.raises(Fatal, match="the certificate of localhost has expired: have it renewed"):
            await opened(CHAT)


async def test_a_client_certificate(issued: Certificates) -> None:
    """client_cert and client_key are shown to a server that asks for them; the key may stand in the same file."""
    chain, key = issued.client()
    both = chain.with_name("both.pem")
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    async with model_server(tls=issued.server(asks=issued.ca)) as server:
        url, ca = f"https://localhost:{server.port}/v1", str(issued.file)
        assert text(await ask(url, ca_file=ca, client_cert=str(chain), client_key=str(key)))
        assert text(await ask(url, ca_file=ca, client_cert=str(both)))


@contextlib.contextmanager
def alerting(context: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that says by a TLS alert what it dislikes, as most do and asyncio's does not."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listening.accept()
                with peer, peer.dup() as wire, contextlib.suppress(OSError):
                    try:
                        context.wrap_socket(peer, server_side=True).close()
                    except ssl.SSLError:  # the alert is out; whoever closes with bytes unread resets the connection
                        wire.shutdown(socket.SHUT_WR)
                        while wire.recv(4096):
                            pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def _foreign(issued: Certificates) -> Certificates:
    folder = issued.folder / "foreign"
    folder.mkdir()
    return certificates(folder)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_not_accepted(version: ssl.TLSVersion, issued: Certificates) -> None:
    """A server that wants a certificate, another one, or one that has not expired: each is said, also in mid-run."""
    context = issued.server(asks=issued.ca)
    context.maximum_version = version
    (old, old_key), (foreign, foreign_key) = issued.client(days=-1), _foreign(issued).client()
    ca = str(issued.file)
    with alerting(context) as port:
        url = f"https://localhost:{port}/v1"
        none = await refused(url, ca_file=ca)
        expired = await refused(url, ca_file=ca, client_cert=str(old), client_key=str(old_key), reached={URL(url)})
        other = await refused(url, ca_file=ca, client_cert=str(foreign), client_key=str(foreign_key))
    assert "localhost wants a client certificate: set client_cert and client_key in [models.judge]" in str(none)
    assert f"the client certificate {old} has expired: have it renewed" in str(expired)
    assert f"localhost does not accept the client certificate {foreign}" in str(other)
    assert {type(error) for error in (none, expired, other)} == {Fatal}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ca_file": "none.pem"}, "ca_file of [models.judge] names none.pem: No such file"),
        ({"ca_file": "empty.pem"}, "ca_file of [models.judge] names empty.pem, which holds no usable certificate"),
        ({"client_cert": "none.pem"}, "client_cert of [models.judge] names none.pem: No such file"),
        ({"client_cert": "client30.pem"}, "which holds no usable certificate and key"),
        (
            {"client_cert": "client30.pem", "client_key": "none"},
            "client_key of [models.judge] names none: No such file",
        ),
        ({"client_cert": "client30.pem", "client_key": "client60.key"}, "is not the key of client30.pem"),
        ({"client_cert": "client30.pem", "client_key": "locked.key"}, "is encrypted"),
    ],
)
def test_files_that_cannot_be_used(
    settings: dict[str, str], said: str, issued: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is missing, empty, encrypted or another's is refused before anything is sent, naming the key."""
    issued.client()
    _, other = issued.client(days=60)
    monkeypatch.chdir(issued.folder)
    Path("empty.pem").write_text("")
    Path("locked.key").write_bytes(_encrypted(other.read_bytes()))
    with pytest.raises(BadInput) as caught:
        connection("judge", Model(**settings), "https://model.test/v1", environment={})
    assert said in str(caught.value)


def _encrypted(key: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE names /nowhere/ca.pem: No such file"),
        ({"SSL_CERT_FILE": os.devnull}, "which holds no usable certificate"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR names /nowhere, which is no folder"),
    ],
)
def test_a_variable_that_names_no_certificates(environment: dict[str, str], said: str) -> None:
    """A wrong SSL_CERT_FILE or SSL_CERT_DIR is said, instead of a certificate that nobody trusts."""
    with pytest.raises(BadInput) as caught:
        connection("judge", Model(), "https://model.test/v1", environment=environment)
    assert said in str(caught.value)
    assert connection("judge", Model(), "http://model.test/v1", environment=environment).tls is None


# Sockets and addresses


@pytest.mark.parametrize("suffix", ["", ":/v1", ":/v1/"])
async def test_a_unix_socket(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """unix:///PATH is the server behind that socket, at /v1 unless a path follows a colon; no proxy is asked."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{NOBODY}")
    path = tmp_path / "model.sock"
    async with model_server(path=path) as server:
        assert text(await ask(f"unix://{path}{suffix}"))
    assert server.heads[0].startswith("POST /v1/chat/completions ")


async def test_a_path_behind_a_unix_socket(tmp_path: Path) -> None:
    """What follows the colon is the path there."""
    async with model_server(path=tmp_path / "s") as server:
        assert text(await ask(f"unix://{tmp_path}/s:/api/v2"))
    assert server.heads[0].startswith("POST /api/v2/chat/completions ")


async def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    """A socket that no server has made is named, with the key that names it."""
    error = await refused(f"unix://{tmp_path}/none.sock")
    assert type(error) is Fatal
    assert f"cannot connect to unix://{tmp_path}/none.sock: there is no such socket; check base_url in" in str(error)


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://host/v1", "http://", "unix://relative/path", "unix:///" + "x" * 120, "http://[::1"],
)
def test_an_address_that_is_none(url: str) -> None:
    """An address with another scheme, without a host, or of a socket whose path is too long is refused."""
    with pytest.raises(BadInput, match=r"\[models\.judge\] base_url must"):
        connection("judge", Model(), url)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_localhost_is_either_loopback_address(host: str) -> None:
    """A server that listens at one of the two alone is found as localhost, whatever the system's table of hosts says."""
    try:
        async with model_server(host=host) as server:
            assert text(await ask(f"http://localhost:{server.port}/v1"))
    except OSError:
        pytest.skip(f"{host} is not on this machine")


async def test_nobody_at_localhost() -> None:
    """Where no server listens at either, the line names the address as it was configured."""
    error = await refused(f"http://localhost:{NOBODY}/v1")
    assert f"cannot connect to http://localhost:{NOBODY}/v1: Connection refused; check base_url" in str(error)


# TLS against a plain port, and plain against TLS


async def test_tls_against_a_plain_port() -> None:
    """https:// where the server answers in plain HTTP says to write http://."""
    async with saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        error = await refused(f"https://localhost:{port}/v1")
    assert type(error) is Fatal
    assert "does not speak TLS; write http:// in base_url of [models.judge]" in str(error)


async def test_tls_against_a_plain_port_that_hangs_up() -> None:
    """Where the handshake ends without a word, the same is said as what it may be; in mid-run it is an outage."""
    async with saying(b"", reset=True) as port:
        url = f"https://localhost:{port}/v1"
        error = await refused(url)
        outage = await refused(url, reached={URL(url)})
    assert type(error) is Fatal
    assert "the TLS handshake broke off" in str(error)
    assert "write http:// in base_url of [models.judge] if the server has no TLS" in str(error)
    assert isinstance(outage, Transient)
    assert outage.kind == "unreachable"


async def test_plain_against_a_tls_port_that_says_so() -> None:
    """http:// where the server answers with a TLS alert says to write https://."""
    async with saying(b"\x15\x03\x01\x00\x02\x02\x46") as port:
        error = await refused(f"http://localhost:{port}/v1")
    assert type(error) is Fatal
    assert "speaks TLS: write https:// in base_url of [models.judge]" in str(error)


async def test_plain_against_a_tls_port_that_hangs_up(issued: Certificates) -> None:
    """http:// where the server hangs up without a word: a handshake tells that it speaks TLS, and the line says so."""
    async with model_server(tls=issued.server("other.test", days=-1)) as server:
        error = await refused(f"http://localhost:{server.port}/v1")
    assert type(error) is Fatal
    assert "speaks TLS: write https:// in base_url of [models.judge]" in str(error)


@pytest.mark.parametrize(
    "words",
    ["<h1>400</h1>The plain HTTP request was sent to HTTPS port", "Client sent an HTTP request to an HTTPS server."],
)
async def test_plain_against_a_tls_port_that_explains(words: str) -> None:
    """What nginx and Go answer to http:// at a port with TLS is understood."""
    body = words.encode()
    async with saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as port:
        error = await refused(f"http://localhost:{port}/v1")
    assert type(error) is Fatal
    assert "speaks TLS: write https:// in base_url of [models.judge]" in str(error)


@pytest.mark.slow
async def test_tls_against_a_plain_port_that_waits_for_more() -> None:
    """A server that takes a handshake for the start of a line, and waits for its end, is asked plainly after a second."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        error = await refused(f"https://localhost:{listening.sockets[0].getsockname()[1]}/v1")
    assert type(error) is Fatal
    assert "does not speak TLS; write http:// in base_url of [models.judge]" in str(error)


async def test_whether_a_server_speaks_tls(issued: Certificates) -> None:
    """A handshake tells, whatever the certificate; a plain server, nobody, and what a proxy hides do not speak it."""
    async with (
        model_server(tls=issued.server("other.test", days=-1)) as secure,
        saying(b"HTTP/1.1 400 B\r\n\r\n") as plain,
    ):
        assert await connection("judge", Model(), f"http://localhost:{secure.port}/v1", environment={}).speaks_tls()
        for url in (f"http://localhost:{plain}/v1", f"http://localhost:{NOBODY}/v1", "unix:///nowhere"):
            assert not await connection("judge", Model(), url, environment={}).speaks_tls()


# Names


async def test_a_name_that_does_not_resolve() -> None:
    """A name that nobody knows is a setting where nobody was reached, and an outage in mid-run."""
    url = "http://no-such-host.invalid/v1"
    error = await refused(url)
    assert type(error) is Fatal
    assert "the name no-such-host.invalid does not resolve; check base_url in [models.judge]" in str(error)
    outage = await refused(url, reached={URL(url)})
    assert isinstance(outage, Transient)
    assert outage.kind == "unreachable"


async def test_the_proxy_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is the proxy's name that nobody knows, its variable is named."""
    monkeypatch.setenv("HTTPS_PROXY", "http://no-such-proxy.invalid:3128")
    error = await refused("https://model.test/v1")
    assert "the name no-such-proxy.invalid does not resolve; check HTTPS_PROXY" in str(error)


def test_names_that_fail_for_a_minute_in_mid_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that knows nobody for a minute in mid-run is waited for: the request is answered in the end."""
    down_until_s = 0.0
    tried = 0

    async def resolve(self: Any, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        nonlocal tried
        tried += 1
        if asyncio.get_running_loop().time() < down_until_s:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)

    async def run() -> float:
        nonlocal down_until_s
        loop = asyncio.get_running_loop()
        async with model_server() as server, endpoint(f"http://model.test:{server.port}/v1") as opened:
            call = retrying(opened, RetryPolicy(), sleep=asyncio.sleep, hook=lambda event: None)
            assert text(await call(CHAT))
            assert isinstance(opened._session, aiohttp.ClientSession)
            assert isinstance(opened._session.connector, aiohttp.TCPConnector)
            opened._session.connector.clear_dns_cache()
            began, down_until_s = loop.time(), loop.time() + 60
            assert text(await call(CHAT))
            return loop.time() - began

    assert run_virtual(run()) >= 60
    assert tried > 3


def test_the_authority_is_trusted_beside_the_others(issued: Certificates, tmp_path: Path) -> None:
    """ca_file adds to what SSL_CERT_FILE names and takes nothing away."""
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    way = connection(
        "judge",
        Model(ca_file=str(issued.file)),
        "https://model.test/v1",
        environment={"SSL_CERT_FILE": str(tmp_path / "other.pem")},
    )
    assert way.tls is not None
    assert way.tls.cert_store_stats()["x509_ca"] == 2
