from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.batches.record import BatchRecord, read_records, write_record
from jobs.cli.cancel_batches import _target
from jobs.cli.main import main
from jobs.models.chat import chat
from jobs.models.providers import batch_service
from jobs.run import configfile
from jobs.run.folder import RunFolder

pytestmark = pytest.mark.processes


@pytest.fixture
def url(simulate: Callable[..., str]) -> str:
    return simulate("--batch-run-s", "3600")


@pytest.fixture
def run(tmp_path: Path, url: str, configured: Callable[..., Path]) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    with folder.held(configfile.validate(configfile.load(configured(url)))):
        folder.batches.mkdir()
    return folder


def made(run: RunFolder, number: int, *, journalled: bool = True) -> BatchRecord:
    """A batch of three requests that is at the provider; one that is not `journalled` was made just before a kill."""

    async def submitted() -> BatchRecord:
        async with batch_service(_target(run, run.config(), "generator")) as service:
            file = run.batches / f"{number}.requests.jsonl"
            asked = chat("generator", [{"role": "user", "content": f"Say {number}."}], max_tokens=10)
            file.write_bytes(b"".join(service.row(f"{number}-{row}", asked) for row in range(3)))
            record = BatchRecord(number=number, role="generator", account=service.account, rows=3, state="uploaded")
            file_id = await service.upload(file)
            batch = await service.create(file_id, "24h")
            found = msgspec.structs.replace(record, file_id=file_id)
            return msgspec.structs.replace(found, state="submitted", batch_id=batch.id) if journalled else found

    record = asyncio.run(submitted())
    write_record(run.batches, record)
    return record


def counters(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/counters") as answer:
        return dict(json.load(answer))


def test_every_live_batch_is_ended(run: RunFolder, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are known and one whose id a kill has hidden are ended at the provider; what has ended is left alone."""
    first, second = made(run, 1), made(run, 2, journalled=False)
    write_record(run.batches, msgspec.structs.replace(made(run, 3), state="ended", status="completed"))
    write_record(run.batches, BatchRecord(number=4, role="generator", rows=9))
    assert main(["batches", str(run.path), "--cancel-batches"]) == 0
    said = capsys.readouterr().out
    assert f"end of batch 1 ({first.batch_id})" in said
    assert "end of batch 2 (" in said
    assert "what they have answered is kept" in said
    assert [record.status for record in read_records(run.batches)] == ["cancelling", "cancelling", "completed", ""]
    assert read_records(run.batches)[1].batch_id
    assert second.batch_id == ""
    assert counters(url)["batches"]["cancelled"] == 2


def test_another_account(run: RunFolder, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A batch of another key or address is not looked for in vain: one line says whose it is."""
    write_record(run.batches, msgspec.structs.replace(made(run, 1), account="another"))
    assert main(["batches", str(run.path), "--cancel"]) == 1
    assert "batch 1 belongs to another account or address" in capsys.readouterr().err
    assert "cancelled" not in counters(url)["batches"]


def test_nothing_to_end(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is at a provider nothing is asked of it."""
    assert main(["batches", str(run.path), "--cancel"]) == 0
    assert "has no batch at a provider" in capsys.readouterr().out
