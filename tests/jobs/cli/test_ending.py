from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from judged_run import REMOTE, judged_run
from report_sample import HOSTILE, sample
from rich.console import Console

from jobs.cli.ending import print_ending
from jobs.report.data import ReportData
from jobs.run.folder import RunFolder


@pytest.fixture
async def folder(tmp_path: Path) -> RunFolder:
    return await judged_run(tmp_path / "[x] run")


def told(folder: RunFolder, report: ReportData | None) -> list[str]:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    print_ending(folder, REMOTE, report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_end_of_a_run(folder: RunFolder) -> None:
    """After the table: three pairs, each kind of failure with how to see more, the sentence, the path of the report."""
    lines = told(folder, sample())
    places = [lines.index(line) for line in ("3 of 2,255 kept pairs:", "2 failed, by kind:")]
    assert places == sorted(places)
    assert sum(line.startswith("  Q: ") for line in lines) == sum(line.startswith("  A: ") for line in lines) == 3
    assert f"gristmill status '{folder.path}' --failures content_filter" in lines[-4]
    assert "tuned is clearly better than base" in lines[-2]
    assert lines[-1] == f"report: {folder.path / 'report.html'}"


def test_a_run_that_ends_before_its_report(folder: RunFolder) -> None:
    """Its pairs and its failures are shown, and nothing that is not there."""
    lines = told(folder, None)
    assert not [line for line in lines if line.startswith("report:")]
    assert "2 failed, by kind:" in lines


def test_text_from_outside_is_no_command(folder: RunFolder) -> None:
    """Whatever a paper or a model writes, a terminal gets neither an escape sequence nor markup from it."""
    report = sample(text=HOSTILE)
    pairs = [msgspec.structs.replace(each, question=HOSTILE, answer=HOSTILE) for each in report.product.sample]
    product = msgspec.structs.replace(report.product, sample=pairs)
    shown = "\n".join(told(folder, msgspec.structs.replace(report, product=product, rows=[])))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "<script>alert(1)</script>" in shown
