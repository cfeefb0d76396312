"""Cached prompt tokens through a whole run: from the endpoint's usage to status, results and report, at their price."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli.main import main

pytestmark = pytest.mark.processes

PRICES = """
[prices."simulated-chat"]
input_usd_per_million = 1.0
output_usd_per_million = 0.0
cached_input_usd_per_million = 0.1
[prices."simulated-embedding"]
input_usd_per_million = 0.0
"""


def test_cached_tokens_are_counted_priced_and_shown(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a provider's cache held is in the seals, has its price in every total, and is shown as a share."""
    url, out = simulate("--prefix-cache-tokens", "1000000"), tmp_path / "run"
    settings = configured(url, "[budget]\nusd = 5.0\n", PRICES)
    assert main(["run", str(example_papers), "--out", str(out), "--config", str(settings), "--until", "answer"]) == 0
    capsys.readouterr()
    assert main(["status", str(out), "--json"]) == 0
    usage = {job["job"]: job["usage"] for job in json.loads(capsys.readouterr().out)["jobs"]}
    answer = usage["answer"]
    assert answer["cached_tokens"] > 0.4 * answer["prompt_tokens"]
    assert answer["cost_usd"] == pytest.approx((answer["prompt_tokens"] - 0.9 * answer["cached_tokens"]) / 1e6)
    assert "cached_tokens" not in usage["parse"]
    share = f"{100 * answer['cached_tokens'] / answer['prompt_tokens']:.0f} %"
    assert main(["status", str(out)]) == 0
    head, *lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("job ", "answer "))]
    assert "cached" in head
    assert "thoughts" not in head
    assert share in lines[0]
    assert main(["report", str(out)]) == 0
    assert json.loads((out / "results.json").read_bytes())["usage"]["jobs"]["answer"] == answer
    page = re.sub(r"<[^>]+>", " ", (out / "report.html").read_text("utf-8"))
    assert f"({share} cached)" in page
