"""Vectors that an earlier release sealed although they cannot be used: the run goes on, and `retry` makes them again."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.cli.main import main
from jobs.models.embeddings import pack, unpack, unusable


def rows(shard: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shard.read_bytes().splitlines()]


def seal_again(shard: Path, changed: list[dict[str, Any]]) -> None:
    """Write a sealed shard with these rows, as the earlier release left it."""
    data = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in changed)
    shard.write_bytes(data)
    done = shard.with_suffix(".done.json")
    seal = json.loads(done.read_bytes())
    done.write_text(json.dumps({**seal, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}))


def test_a_sealed_vector_that_is_not_finite(
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    example_papers: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The store is made without it, with one line that says what to do; `retry` asks for it again, and only for it."""
    out = tmp_path / "run"
    config = configured(simulate(), "[ask]\nmax_questions = 4\n")
    arguments = ["run", str(example_papers), "--out", str(out), "--config", str(config), "--until", "augment"]
    assert main(arguments) == 0
    shard = out / "index" / "00000.jsonl"
    good = rows(shard)
    vector = unpack(good[0]["vector"]).copy()
    vector[3] = math.nan
    seal_again(shard, [{**good[0], "vector": pack(vector.tolist())}, *good[1:]])
    shutil.rmtree(out / "index" / "store")
    capsys.readouterr()
    assert main(arguments) == 0
    assert "1 sealed vectors cannot be used and are left out: retry --only bad_vector" in capsys.readouterr().err
    assert main(["retry", str(out), "--only", "bad_vector"]) == 0
    assert rows(shard) == good
    assert json.loads(shard.with_suffix(".done.json").read_bytes())["failures"] == []


def test_a_sealed_similarity_that_is_no_number(
    tmp_path: Path, simulate: Callable[..., str], configured: Callable[..., Path], example_papers: Path
) -> None:
    """A null is read, its response counts as unscored, and `retry` asks for it again."""
    out = tmp_path / "run"
    config = configured(simulate(), "[ask]\nmax_questions = 12\n")
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(config)]) == 0
    shard = next(path for path in sorted((out / "similarities").glob("0*.jsonl")) if rows(path))
    good = rows(shard)
    seal_again(shard, [{**good[0], "semantic_similarity": None}, *good[1:]])
    assert main(["report", str(out)]) == 0
    assert main(["retry", str(out), "--only", "bad_vector"]) == 0
    assert rows(shard) == good


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (pack([1.0, 2.0]), ""),
        (pack([1.0, math.nan]), "not finite"),
        (pack([1.0, math.inf]), "not finite"),
        (pack([0.0, 0.0]), "all zeros"),
        ("", "empty"),
        ("not base64!", "cannot be read"),
        (pack(np.ones(2).tolist())[:-3], "cannot be read"),
    ],
)
def test_which_vectors_can_be_used(packed: str, reason: str) -> None:
    """Finite numbers that are not all zero can; the reason says what is wrong with others."""
    assert (reason in unusable(packed)) if reason else unusable(packed) == ""
