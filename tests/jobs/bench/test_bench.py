"""`gristmill bench`: what it measures of a simulated endpoint is what that was set to, and what it costs is bounded."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgspec
import pytest
from conftest import ROOT

from engine.errors import BadInput, Fatal
from engine.signals import Stop
from engine.virtualtime import run_virtual
from jobs.bench.bench import bench
from jobs.bench.capacity import Load, Settings, capacity
from jobs.bench.findings import Findings
from jobs.bench.workload import Plan, Target, find_target, requests
from jobs.cli.main import main
from jobs.config import Model
from jobs.parsing.tokens import count_any_tokens
from jobs.simulator import Counters, simulated_endpoint

pytestmark = pytest.mark.xdist_group("machine")

KEY = "plain+key/0123456789"
LOOP: dict[str, Any] = {"loop": "closed", "levels": (1, 2, 4, 8, 16, 32)}


def measure(plan: Plan, *, role: str = "generator", **knobs: Any) -> tuple[list[Load], Counters]:
    """The loads of `plan` at a simulated endpoint with these knobs, in virtual time, and what the endpoint counted."""
    loads: list[Load] = []

    async def run() -> Counters:
        async with simulated_endpoint(**knobs) as server:
            name = "simulated-embedding" if role == "embedding" else "simulated-chat"
            model = Model(model=name, base_url=server.base_url, api_key_env="")
            await bench(Target(role=role, model=model), plan, stop=Stop(), show=loads.append, nonce="test")
            return server.counters

    return loads, run_virtual(run())


@pytest.mark.slow
def test_percentiles_are_those_of_the_latency() -> None:
    """Of lognormal latencies the percentiles that are reported are those of the distribution."""
    plan = Plan(loop="closed", levels=(50,), requests=2000, seconds=1e6)
    loads, _ = measure(plan, latency_mean_s=2.0, latency_sigma=0.5)
    found = loads[0].latency
    assert found is not None
    for share, value, error in ((0.5, found.p50, 0.05), (0.9, found.p90, 0.06), (0.99, found.p99, 0.12)):
        expected = 2.0 * math.exp(0.5 * NormalDist().inv_cdf(share) - 0.125)
        assert value == pytest.approx(expected, rel=error)  # about three standard errors
    assert loads[0].answers_per_second == pytest.approx(25, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "requests"), [(0.0, None), (0.4, 400)])
def test_the_knee_is_at_the_slots_of_the_endpoint(sigma: float, requests: int | None) -> None:
    """An endpoint that answers eight at a time has its knee and its saturation at eight in flight."""
    loads, _ = measure(Plan(**LOOP, requests=requests), latency_mean_s=0.5, latency_sigma=sigma, slots=8)
    found = capacity(loads)
    assert found is not None
    assert (found.knee, found.saturation, found.settings, found.more) == (8, 8, Settings(max_concurrency=8), False)


def test_the_knee_is_where_more_are_turned_away() -> None:
    """An endpoint that refuses the ninth request at once is asked by eight at a time."""
    loads, _ = measure(Plan(**LOOP), latency_mean_s=0.5, max_in_flight=8, overload_status=429)
    found = capacity(loads)
    assert found is not None
    assert found.saturation == 8
    assert loads[-1].errors["rate_limited"] > 0


def test_a_rate_beyond_the_endpoint_shows_in_its_latency() -> None:
    """Below what eight slots can do latency is that of one answer; above it grows with every request that is due."""
    plan = Plan(loop="open", levels=(8, 32), seconds=10)
    (calm, overrun), _ = measure(plan, latency_mean_s=0.5, slots=8)
    assert calm.answers_per_second == pytest.approx(8, rel=0.01)
    assert overrun.answers_per_second == pytest.approx(16, rel=0.03)
    assert calm.latency is not None
    assert overrun.latency is not None
    assert calm.latency.p99 == pytest.approx(0.5, rel=0.01)
    assert overrun.latency.p99 == pytest.approx(10, rel=0.05)  # 320 requests take 20 s and were due within 10
    assert (calm.requests, overrun.requests) == (80, 320)


def test_the_first_token_is_timed_where_streams_are_asked_for() -> None:
    """It comes after the latency of the simulated endpoint, and the answer after its tokens."""
    plan = Plan(loop="closed", levels=(4,), stream=True)
    knobs: dict[str, Any] = {"latency_mean_s": 0.5, "output_tokens_per_second": 40.0, "output_tokens_sigma": 0.0}
    (load,), _ = measure(plan, **knobs)
    assert load.first_token is not None
    assert load.latency is not None
    assert (load.first_token.p50, load.first_token.p99) == pytest.approx((0.5, 0.5))
    assert 1.2 < load.latency.p50 < 1.6
    assert load.output_tokens_per_second == pytest.approx(4 * 40 / load.latency.p50, rel=0.1)


def test_embeddings_can_be_measured() -> None:
    """The embedding role is measured with embeddings: tokens go in and none come out."""
    (load,), counters = measure(Plan(loop="closed", levels=(4,)), role="embedding", latency_mean_s=0.1)
    assert load.answers == counters.requests["embeddings"] - 1 == 64
    assert (load.output_tokens_per_second, counters.requests["chat"]) == (0, 0)
    assert load.input_tokens_per_second > 0


@pytest.mark.parametrize("plan", [Plan(**LOOP), Plan(loop="open", levels=(3, 30), seconds=2)], ids=["closed", "open"])
def test_no_more_is_sent_than_was_said(plan: Plan) -> None:
    """The endpoint was sent what was announced, all of it was answered or counted as an error, and no prompt twice."""
    loads, counters = measure(plan, latency_mean_s=0.01, fault_500=0.2, fault_sticky=1.0)
    assert counters.requests["chat"] == plan.most_requests
    assert sum(load.requests for load in loads) == plan.most_requests - 1
    assert sum(load.errors.get("server_error", 0) for load in loads) in range(
        counters.faults["500"] - 1, counters.faults["500"] + 1
    )
    assert counters.answered_twice == 0


@pytest.mark.parametrize("tokens", [64, 256, 1024])
def test_prompts_have_the_length_that_was_asked_for(tokens: int) -> None:
    """A prompt has about as many tokens as the flag says, by a tokenizer that models use."""
    target = Target(role="generator", model=Model(model="m"))
    request = next(requests(target, Plan(loop="closed", levels=(1,), input_tokens=tokens), "a1b2c3"))
    assert count_any_tokens(request.messages[0]["content"]) == pytest.approx(tokens, rel=0.07)


def test_answers_that_are_cut_off_count() -> None:
    """An answer that ends at the length that was asked for took its time, and is measured like any."""
    plan = Plan(loop="closed", levels=(1,), max_tokens=20)
    (load,), counters = measure(plan, output_tokens_mean=100.0)
    assert load.answers == load.requests
    assert counters.completion_tokens <= 20 * counters.answered


def test_a_load_without_an_answer_ends_the_benchmark() -> None:
    """Where nothing was answered, higher loads would only cost: it ends there, with the reason."""
    with pytest.raises(Fatal, match="nothing was answered at 1 in flight: 500: The server had an error"):
        measure(Plan(**LOOP), fault_500=1.0)


def test_too_few_requests_for_a_load_are_refused() -> None:
    """Loads that the requests cannot fill say how many it takes."""
    with pytest.raises(BadInput, match="set --requests to 64 or more"):
        Plan(**LOOP, requests=20)


# The command


def written(path: Path) -> Findings:
    """What `--json` wrote, checked against its documented structure, in which no field may be unknown."""
    return msgspec.json.decode(path.read_bytes(), type=Findings)


@pytest.mark.processes
def test_the_simulated_endpoint_is_measured_by_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an address it measures ours, says so before, and prints a table and a configuration."""
    path, html = tmp_path / "bench.json", tmp_path / "bench.html"
    flags = ["--concurrency", "2,1", "--requests", "8", "--stream", "--json", str(path), "--html", str(html)]
    assert main(["bench", *flags]) == 0
    assert b"simulated-chat" in html.read_bytes()
    out, err = capsys.readouterr()
    assert err.startswith("measures the simulated endpoint, in a process of its own: at most 17 requests, about 4,352 ")
    head, *rows = [line.split("  ") for line in out.splitlines()[:3]]
    assert [cell.strip() for cell in head if cell][:3] == ["in flight", "answers/s", "tokens/s in"]
    assert len(rows) == 2
    found = written(path)
    assert [load.level for load in found.loads] == [1, 2]
    assert all(load.first_token for load in found.loads)
    assert found.capacity is not None
    assert found.capacity.settings is not None
    assert f"[models.generator]\nmax_concurrency = {found.capacity.settings.max_concurrency}\n" in out


@pytest.mark.processes
def test_json_on_standard_output_is_alone_there(capsys: pytest.CaptureFixture[str]) -> None:
    """With "-" the figures can be piped; what is for people goes to standard error."""
    assert main(["bench", "--rate", "40", "--seconds", "0.5", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["loads"][0]["requests"] == 20
    assert "40 requests/s" in err


@pytest.mark.processes
def test_a_configuration_names_the_model(
    simulate: Callable[..., str], configured: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a configuration the model of the role is measured, and the server's limits stand in the settings."""
    config = configured(simulate("--requests-per-minute", "60000"))
    flags = ["--role", "judge", "--concurrency", "1", "--requests", "4"]
    assert main(["bench", "--config", str(config), *flags]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("[models.judge]\nmax_concurrency = 1\nrequests_per_minute = 60000\n")
    assert "measures simulated-chat at http://127.0.0.1:" in err


def test_a_key_goes_to_its_own_address_only(tmp_path: Path) -> None:
    """Another address than the configuration's is sent no key, unless one is named with it."""
    config = tmp_path / "config.toml"
    config.write_text('[models.generator]\nmodel = "m"\nbase_url = "https://a.example/v1"\napi_key_env = "A"\n')
    elsewhere = {"base_url": "https://b.example/v1"}
    assert find_target("generator", {"model": None}, file=config).model.api_key_env == "A"
    assert find_target("generator", elsewhere, file=config).model.api_key_env == ""
    assert find_target("generator", elsewhere | {"api_key_env": "B"}, file=config).model.api_key_env == "B"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--base-url", "http://127.0.0.1:9/v1", "--model", "m"], "Connection refused"),
        (["--base-url", "URL", "--model", "no-such-model"], "knows no model 'no-such-model' (404"),
        (["--base-url", "URL", "--model", "simulated-chat", "--api-key-env", "BENCH_KEY"], "refuses the key"),
        (["--base-url", "URL", "--model", "simulated-chat", "--api-key-env", "NOT_SET"], "NOT_SET"),
        (["--base-url", "nonsense", "--model", "m"], "must begin with http:// or https://"),
        (["--base-url", "URL"], "name one with --base-url and --model"),
        (["--model", "m"], "say where the model is"),
        (["--role", "embedding", "--stream"], "leave out --stream"),
        (["--requests", "20"], "set --requests to 512 or more"),
        (["--json", "no/such/folder/bench.json"], "there is no folder no/such/folder"),
        (["--html", "no/such/folder/bench.html"], "there is no folder no/such/folder"),
        (["--config", "no-such.toml"], "cannot read the configuration no-such.toml"),
    ],
)
def test_mistakes_are_one_line(
    flags: list[str],
    said: str,
    simulate: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be measured ends with exit code 1 and one line that says what to do; no key is in it."""
    monkeypatch.setenv("BENCH_KEY", KEY)
    monkeypatch.setenv("WANTED", "another")
    if "URL" in flags:
        wants_key = ["--api-key-env", "WANTED"] if "BENCH_KEY" in flags else []
        flags = [simulate(*wants_key) if flag == "URL" else flag for flag in flags]
    assert main(["bench", *flags]) == 1
    out, err = capsys.readouterr()
    *announced, last = err.splitlines()
    assert last.startswith("gristmill: ")
    assert said in last
    assert all(line.startswith("measures ") for line in announced)
    assert KEY not in out + err


@pytest.mark.parametrize(
    "flags",
    [["--concurrency", "0"], ["--concurrency", "1,x"], ["--rate", "0"], ["--rate", "inf"], ["--seconds", "-1"],
     ["--requests", "1.5"], ["--rate", "1", "--concurrency", "1"], ["--role", "writer"]],
)  # fmt: skip
def test_bad_flags_are_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Flags that mean nothing end with exit code 2 before anything is sent."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *flags])
    assert ended.value.code == 2
    assert "error: argument" in capsys.readouterr().err


@pytest.mark.processes
@pytest.mark.parametrize("signals", [1, 2])
async def test_what_was_measured_survives_an_interrupt(simulate: Callable[..., str], signals: int) -> None:
    """After Ctrl-C the loads that were measured are printed; the second Ctrl-C does not wait for what is in flight."""
    url = simulate("--latency-mean-s", "0.02", "--slots", "1")
    command = [sys.executable, "-m", "jobs", "bench", "--base-url", url, "--model", "simulated-chat"]
    process = await asyncio.create_subprocess_exec(
        *command, "--concurrency", "1,100", cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    while not (await process.stderr.readline()).startswith(b"1 in flight"):
        pass
    process.send_signal(signal.SIGINT)
    assert (await process.stderr.readline()).startswith(b"stopping")
    if signals == 2:
        process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 130
    rows = out.decode().split("stopped before all loads were measured")[0].splitlines()[1:]
    assert [row.split()[0] for row in rows] == (["1", "100"] if signals == 1 else ["1"])
    assert b"Traceback" not in err
