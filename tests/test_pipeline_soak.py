"""The whole pipeline, from PDFs to the report, killed again and again: at random times and at every step on the disk."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from killable_process import Life, Lives, Plan
from ledger import Ledger
from test_pipeline import counters, snapshot

KILLS = 210
IN_FLIGHT = 64
ROLES = ("generator", "base", "judge", "embedding")
ENDPOINT = ("--seed", "1", "--latency-mean-s", "0.5", "--latency-sigma", "1")
SETTINGS = (
    *(f"models.{role}.max_concurrency={IN_FLIGHT}" for role in ROLES),
    *(f"models.{role}.requests_per_minute=60000" for role in ROLES),  # known limits need no slow start
    "models.embedding.batch_size=1",  # so that the endpoint can tell what was paid twice
    "parse.chunk_size=96",
    "parse.chunk_overlap=8",
    "parse.papers_per_shard=1",
    "evaluate.sample=40",
)


@pytest.fixture
def lives() -> Iterator[Lives]:
    with Lives.begin() as begun:
        yield begun


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kills_at_every_step_and_at_random_times(
    example_papers: Path,
    tmp_path: Path,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    lives: Lives,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Over 200 SIGKILLs, with power cuts: the undisturbed bytes, nothing committed asked again, little paid twice."""
    began, chance, runs = time.monotonic(), Random(0), 0

    def fresh(name: str) -> tuple[str, Mill]:
        (tmp_path / name).mkdir()
        url = simulate(*ENDPOINT)
        return url, Mill(lives=lives, papers=example_papers, config=configured(url), place=tmp_path / name)

    url, undisturbed = fresh("undisturbed")
    assert undisturbed.live(Ledger())
    alike = counters(url)["answered_twice"]  # records that ask the same
    _, recorded = fresh("recorded")
    deaths = Deaths(recorded.steps())
    assert recorded.made() == undisturbed.made()
    while deaths.total < KILLS or not all(deaths.at_steps.values()):
        url, mill = fresh(f"run{runs}")
        ledger = Ledger()
        while deaths.one_more(mill, ledger, chance):
            pass
        assert mill.made() == undisturbed.made()
        ledger.check()
        counted = counters(url)
        assert 0 <= counted["answered_twice"] - alike <= ledger.in_flight_at_kills
        assert counted["most_in_flight"] >= IN_FLIGHT
        deaths.in_flight += ledger.in_flight_at_kills
        deaths.answers += counted["answered"]
        deaths.paid_twice += counted["answered_twice"] - alike
        runs += 1
    with capsys.disabled():
        print(f"\n{deaths} over {runs} whole runs; {time.monotonic() - began:.0f} s")


@dataclass(frozen=True)
class Mill:
    """One run in `place`, by processes that may be killed."""

    lives: Lives
    papers: Path
    config: Path
    place: Path
    settings: tuple[str, ...] = SETTINGS

    def made(self) -> dict[str, str | bytes]:
        """What must not depend on kills."""
        run = self.place / "run"
        return {**snapshot(run), "results.json": (run / "results.json").read_bytes()}

    def steps(self) -> Counter[str]:
        """Run undisturbed, and count the steps on the disk."""
        assert self.live(Ledger(), self.plan())
        return Counter(msgspec.json.decode(self.report.read_bytes(), type=dict[str, int]))

    @property
    def report(self) -> Path:
        return self.place.with_suffix(".report")

    def plan(self, **wanted: Any) -> Plan:
        return Plan(root=str(self.place), report=str(self.report), **wanted)

    def live(self, ledger: Ledger, plan: Plan | None = None, *, kill_after_s: float | None = None) -> bool:
        """One life of the process; returns whether it came to its end."""
        journal, errors = self.place.with_suffix(".journal"), self.place.with_suffix(".errors")
        settings = [part for setting in self.settings for part in ("--set", setting)]
        run = ["run", str(self.papers), "--out", str(self.place / "run"), "--config", str(self.config), *settings]
        life = Life(arguments=run, journal=str(journal), errors=str(errors), plan=plan)
        code = self.lives.live(life, kill_after_s=kill_after_s)
        assert code in (0, -signal.SIGKILL), errors.read_text("utf-8")
        ledger.add_life(journal.read_text("utf-8").splitlines())
        journal.unlink()
        return code == 0


@dataclass
class Deaths:
    """How often the process died at each step on the disk, alone or with the power, and at random times."""

    often: Counter[str]
    at_steps: Counter[tuple[str, bool]]
    at_random: int = 0
    in_flight: int = 0
    answers: int = 0
    paid_twice: int = 0

    def __init__(self, steps: Counter[str]) -> None:
        self.often = steps
        self.at_steps = Counter({(step, power): 0 for step in steps for power in (False, True)})

    @property
    def total(self) -> int:
        return sum(self.at_steps.values()) + self.at_random

    def one_more(self, mill: Mill, ledger: Ledger, chance: Random) -> bool:
        """One life that ends at a step that is due, or at a random time; False when it came to its end before that."""
        if chance.random() < 0.4:
            killed = not mill.live(ledger, kill_after_s=chance.uniform(0.2, 3))
            self.at_random += killed
            return killed
        power = chance.random() < 0.5
        due = self.due(power=power)
        soon = min(
            5, max(1, sum(self.often[step] for step in due) // 3)
        )  # a step that is rare is not waited for in vain
        plan = mill.plan(steps=due, nth=chance.randint(1, soon), power=power, seed=chance.randrange(2**32))
        if mill.live(ledger, plan):
            return False
        self.at_steps[mill.report.read_text("utf-8"), power] += 1
        return True

    def due(self, *, power: bool) -> list[str]:
        """The steps at which the process died least often in this way."""
        counts = {step: count for (step, with_power), count in self.at_steps.items() if with_power == power}
        return [step for step, count in counts.items() if count == min(counts.values())]

    def kills(self) -> str:
        powerless = sum(count for (_, power), count in self.at_steps.items() if power)
        return (
            f"{self.total} SIGKILLs of the whole pipeline: {self.at_random} at random times, "
            f"{self.total - self.at_random} at {len(self.at_steps) // 2} kinds of step, {powerless} of them with the power cut"
        )

    def __str__(self) -> str:
        return (
            f"{self.kills()}; {self.in_flight} requests in flight at the kills, "
            f"{self.paid_twice} of {self.answers} answers paid twice; 0 rows lost, doubled or torn, all bytes equal,"
        )
