"""Run the tests against each mutant that mutmut makes: `make mutate`.

mutmut starts pytest for each mutant, which takes seconds. Here the tests are collected once, and each mutant is a fork of
that process that runs only the tests that reach it, quickest first, until one fails. Results are kept in mutmut's files.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths, walk_mutatable_files
from mutmut.utils.format_utils import mangled_name_from_mutant_name

_SURVIVED, _KILLED, _TIMEOUT, _NO_TESTS = 0, 1, 36, 33
_WALL_S, _WALL_FACTOR = 8, 20  # a test has 8 s, and 20 times the processor time that it takes without a mutant


@dataclass
class Tests:
    """Which tests, by number, reach a function (by mutmut's name for it); the id and processor seconds of each test."""

    ids: list[str]
    by_function: dict[str, list[int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


class ForkedMutants:
    """A pytest plugin that replaces the loop over the tests by one over the mutants whose name matches a pattern."""

    def __init__(self, patterns: Sequence[str], longest_s: float, again: bool) -> None:
        self._patterns, self._longest_s, self._again = patterns, longest_s, again
        self._failed = False
        self.complete = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return False
        gc.freeze()
        tests = self._reached(session.items)
        for path in walk_mutatable_files():
            file = SourceFileMutationData(path=Path("..") / path)
            file.meta_path = Path(f"{path}.meta")
            file.load()
            for name, result in file.exit_code_by_key.items():
                open_again = result is None or (self._again and result in (_SURVIVED, _NO_TESTS))
                if open_again and any(fnmatch.fnmatch(name, pattern) for pattern in self._patterns or ["*"]):
                    found = self._result(session.items, tests, name)
                    if result is None or found != _NO_TESTS:
                        file.exit_code_by_key[name] = found
                    file.save()
        self.complete = True
        return True

    def _reached(self, items: list[pytest.Item]) -> Tests:
        """Run every test once without a mutant, in a fork, which writes down what each reaches; once for the same tests."""
        kept, ids = Path("reached.json"), [item.nodeid for item in items]
        if kept.exists() and (tests := Tests(**json.loads(kept.read_text("utf-8")))).ids == ids:
            return tests

        def run() -> int:
            tests = Tests(ids=ids)
            for number, item in enumerate(items):
                state()._stats.clear()
                started = time.process_time()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if self._failed:
                    os.write(2, f"fails without a mutant: {item.nodeid}\n".encode())
                    return _KILLED
                tests.seconds.append(time.process_time() - started)
                for function in state()._stats:
                    tests.by_function.setdefault(function, []).append(number)
            kept.write_text(json.dumps(vars(tests)), "utf-8")
            return _SURVIVED

        if _in_fork("stats", run) != _SURVIVED:
            pytest.exit("a test fails without a mutant", returncode=1)
        return Tests(**json.loads(kept.read_text("utf-8")))

    def _result(self, items: list[pytest.Item], tests: Tests, mutant: str) -> int:
        reaching = tests.by_function.get(mangled_name_from_mutant_name(mutant), [])
        chosen = sorted((n for n in reaching if tests.seconds[n] <= self._longest_s), key=tests.seconds.__getitem__)

        def run() -> int:
            for number in chosen:
                signal.setitimer(signal.ITIMER_REAL, _WALL_S + _WALL_FACTOR * tests.seconds[number])
                items[number].config.hook.pytest_runtest_protocol(item=items[number], nextitem=None)
                if self._failed:
                    return _KILLED
            return _SURVIVED

        return _in_fork(mutant, run) if chosen else _NO_TESTS


def _in_fork(mutant: str, run: Callable[[], int]) -> int:
    """Return what `run` returns in a fork of this process in which the mutant is active."""
    pid = os.fork()
    if pid == 0:
        code = _KILLED
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            set_mutant_under_test(mutant)
            code = run()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return _TIMEOUT if code == -signal.SIGALRM else code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", help="names of mutants, such as engine.shards*; without any, all")
    parser.add_argument("--longest", type=float, default=60, help="leave out tests that take more processor seconds")
    parser.add_argument("--tests", nargs="+", help="the test files, instead of those that pyproject.toml names")
    parser.add_argument(
        "--again", action="store_true", help="also those that survived, or that no test reached, before"
    )
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    setup_source_paths()
    create_mutants(1)
    os.chdir("mutants")
    set_mutant_under_test("")
    plugin = ForkedMutants(arguments.patterns, arguments.longest, arguments.again)
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.tests or config().pytest_add_cli_args_test_selection
        selected = [*config().pytest_add_cli_args, *files]
        pytest.main(["-q", "--rootdir=.", f"--basetemp={folder}/tests", *selected], plugins=[plugin])
    for path in walk_mutatable_files():
        results = json.loads(Path(f"{path}.meta").read_text("utf-8"))["exit_code_by_key"].values()
        print(path, dict(Counter(status_by_exit_code[result] for result in results)))
    return 0 if plugin.complete else 1


if __name__ == "__main__":
    sys.exit(main())
