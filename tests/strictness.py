"""A pytest plugin that holds what the settings cannot: no warning passes, and a test that starts a process is marked.

`make quick` leaves out the tests with the mark "processes". `pytestmark = pytest.mark.processes` marks a whole file.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator

import pytest

_START = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
_IN_PROCESSES = {"lora", "trainers"}
_warned: list[str] = []
_running: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what always starts processes: long runs, the folders with an environment of their own, the simulator."""
    for item in items:
        started = "simulate" in getattr(item, "fixturenames", ()) or item.get_closest_marker("soak")
        if started or item.path.parent.name in _IN_PROCESSES:
            item.add_marker("processes")


def pytest_warning_recorded(warning_message: warnings.WarningMessage, nodeid: str) -> None:
    """Some libraries set filters of their own around a warning, which "filterwarnings = error" does not reach."""
    _warned.append(f"{nodeid}: {warning_message.category.__name__}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _warned and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _warned:
        terminalreporter.write_line(f"FAILED: {len(_warned)} warnings, the first from {_warned[0]}", red=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event in _START and _running and _running[-1].get_closest_marker("processes") is None:
        raise RuntimeError("this test starts a process: mark it with pytest.mark.processes")


sys.addaudithook(_audit)
