"""What several test files share: real papers where they are, example papers, and a simulated endpoint to run against."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clustered_runs import Runs
from hypothesis import settings

pytest_plugins = ["strictness"]

# A run of the tests says the same each time; `make explore` looks for more examples, and new ones; `make quick` for fewer.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.register_profile("quick", derandomize=True, deadline=None, max_examples=10)
settings.load_profile("same")

# A proxy of whoever runs the tests is not for the servers of the tests, which are on this machine.
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

ROOT = Path(__file__).resolve().parents[1]
REAL_PAPERS = ROOT.parent / "shared" / "papers"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that ``-m "not MARK and …"`` deselects as a whole is not imported: some load LanceDB, for seconds."""
    wanted = config.getoption("markexpr")
    if collection_path.suffix != ".py" or not re.fullmatch(r"not \w+( and not \w+)*", wanted):
        return None
    marks = re.search(r"^pytestmark = (\[[^\]]*\]|[^\n]*)", collection_path.read_text("utf-8"), re.MULTILINE)
    left_out = set(re.findall(r"not (\w+)", wanted))
    return True if marks and left_out & set(re.findall(r"pytest\.mark\.(\w+)", marks[1])) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on real papers are deselected where there are none: a clone skips none, and misses no behaviour."""
    if REAL_PAPERS.is_dir():
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("papers")])
    items[:] = [item for item in items if not item.get_closest_marker("papers")]


@pytest.fixture
def example_papers() -> Path:
    return ROOT / "examples" / "papers"


@pytest.fixture
def real_papers() -> Path:
    if not REAL_PAPERS.is_dir():
        pytest.skip("the real papers are not beside this checkout")
    return REAL_PAPERS


@pytest.fixture
def simulate() -> Iterator[Callable[..., str]]:
    """Start ``gristmill simulate`` with these flags, in a process of its own; returns its base URL."""
    running: list[subprocess.Popen[str]] = []

    def start(*flags: str) -> str:
        command = [sys.executable, "-m", "jobs", "simulate", *flags]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration whose four roles are models at `url`, and return its path."""

    def write(url: str, *lines: str) -> Path:
        sections = [
            f'[models.{role}]\nmodel = "{model}"\nbase_url = "{url}"\napi_key_env = ""\n'
            for role, model in (
                ("generator", "simulated-chat"),
                ("base", "simulated-chat"),
                ("judge", "simulated-chat"),
                ("embedding", "simulated-embedding"),
            )
        ]
        sections += ["[parse]\nchunk_size = 256\nchunk_overlap = 32\nworkers = 1\n", "[evaluate]\nsample = 8\n", *lines]
        path = tmp_path / "config.toml"
        path.write_text("\n".join(sections), "utf-8")
        return path

    return write


@pytest.fixture
def runs(example_papers: Path, tmp_path: Path, simulate: Callable[..., str], configured: Callable[..., Path]) -> Runs:
    """Whole runs of the example papers, as processes."""
    return Runs(example_papers, tmp_path, simulate, configured)
