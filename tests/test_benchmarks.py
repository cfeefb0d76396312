"""What `make bench` promises of itself: one that fails stops no other, nothing is left running, and it is told."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("machine")]

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
_OWN = ("results", "tables")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program that `make bench` runs, as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("bench", BENCHMARKS / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in _OWN:
        sys.modules.pop(name, None)


def test_a_failure_is_one_line(bench: ModuleType) -> None:
    """A benchmark that raises is told by the last line that it wrote, one that succeeds by none."""
    assert bench.run([sys.executable, "-c", "raise SystemExit('no room')"], 60) == "no room"
    assert bench.run([sys.executable, "-c", ""], 60) == ""


def test_nothing_outlives_a_benchmark(bench: ModuleType, tmp_path: Path) -> None:
    """One that takes too long is ended, and so is the process that it has started."""
    told = tmp_path / "child"
    program = (
        "import pathlib, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1);"
        f"path = pathlib.Path({str(told)!r}); path.with_suffix('.tmp').write_text(str(child.pid));"
        "path.with_suffix('.tmp').rename(path); child.wait()"
    )
    for limit_s in (2, 10, 60):  # time to start the two, on whatever machine this is
        assert bench.run([sys.executable, "-c", program], limit_s) == f"it took more than {limit_s} s"
        if told.exists():
            break
    child = int(told.read_text())
    end = time.monotonic() + 60
    while _runs(child):
        assert time.monotonic() < end
        time.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_results_tell_what_failed(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RESULTS.md counts the targets that were met, and names the benchmark that failed with its reason."""
    results = sys.modules["results"]
    monkeypatch.setattr(results, "_HERE", tmp_path)
    row = {"measure": "speed", "value": "2", "target": "≥ 1", "met": True}
    common = {"date": "2026-01-02", "environment": bench.environment(), "seconds": 1.0}
    results.write_results(
        [
            results.Kept(name="good", failed="", found={"rows": [row], "plots": {"good": "<svg/>"}}, **common),
            results.Kept(name="bad", failed="no room", found={}, **common),
        ]
    )
    told = (tmp_path / "RESULTS.md").read_text()
    assert "1 of 1 met" in told
    assert "| speed | ≥ 1 | 2 |" in told
    assert "**Failed**: no room" in told
    assert (tmp_path / "good.svg").read_text() == "<svg/>"
