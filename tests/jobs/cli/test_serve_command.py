from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import pytest
from served_run import sealed_run

from engine.errors import BadInput
from jobs.cli.main import main
from jobs.cli.serve_command import served
from jobs.config import Config
from jobs.run import configfile
from jobs.run.folder import RunFolder


def run_in(folder: Path) -> RunFolder:
    run = sealed_run(folder)
    run.settings.write_bytes(configfile.dump(Config()))
    return run


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_folder_that_is_no_run_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is wrong, as with every command."""
    assert main(["serve", str(tmp_path)]) == 1
    assert "is not a run" in capsys.readouterr().err


def test_other_machines_need_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that others can reach is refused until there is a password."""
    monkeypatch.delenv("GRISTMILL_PASSWORD", raising=False)
    run_in(tmp_path)
    assert main(["serve", str(tmp_path), "--bind", "0.0.0.0"]) == 1
    assert "GRISTMILL_PASSWORD" in capsys.readouterr().err


def test_an_address_without_serve_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that shall not be served needs no port."""
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "run"), "--port", "80"]) == 1
    assert "--bind and --port go with --serve" in capsys.readouterr().err


async def test_the_printed_address_opens_the_run(tmp_path: Path) -> None:
    """The address has the token; its server ends with the block, and the folder holds no new file."""
    run = run_in(tmp_path)
    before = files(tmp_path)
    async with (
        served(run, port=0) as address,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
    ):
        assert address.startswith("http://127.0.0.1:")
        assert "?token=" in address
        async with session.get(address) as answer:
            assert answer.status == 200
            assert "token=" not in str(answer.url)
    assert files(tmp_path) == before
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(address)


async def test_with_a_password_the_address_has_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed lets nobody in who does not know the password."""
    monkeypatch.setenv("GRISTMILL_PASSWORD", "millstone")
    async with served(run_in(tmp_path), bind="0.0.0.0", port=0) as address:
        assert "token" not in address


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """One that was asked for is refused in one line; the usual one gives way to a free one."""
    run = run_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match="cannot serve at"):
            async with served(run, port=port):
                raise AssertionError
    async with served(run) as first, served(run) as second:
        assert first.partition("?")[0] != second.partition("?")[0]
