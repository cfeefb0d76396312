"""What `bench_batches.py` measures, in small: memory and a resume with requests deferred, and every row answered."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("machine")]

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("bench_batches")


def test_what_waits_costs_no_memory(bench: ModuleType) -> None:
    """Ten times the requests deferred take a tenth more memory at most, below 100 MB; a resume looks at each batch."""
    few, _ = bench.waiting(1_000, 4, 400, 0)
    many, resumed = bench.waiting(10_000, 4, 400, 1)
    assert (few.batches, many.batches, [each.batches for each in resumed]) == (4, 4, [4])
    assert many.peak_rss_mb < min(100, 1.1 * few.peak_rss_mb)


def test_each_row_is_answered(bench: ModuleType) -> None:
    """Every record has its answer, in one batch as one by one."""
    assert bench.answered(300, in_batches=True).batches == 1
    bench.answered(300, in_batches=False)
