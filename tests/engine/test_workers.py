from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import Fatal, Permanent, Transient
from engine.workers import Workers

pytestmark = pytest.mark.processes

# What the children run stands at the top of this module, where they find it by name.


def double(number: int) -> int:
    return 2 * number


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(_: object) -> None:
    ctypes.string_at(0)


def leave(status: int) -> None:
    sys.exit(status)


def loop_for_ever(_: object) -> None:
    while True:
        pass


def allocate(size: int) -> int:
    return len(bytearray(size))


def fail(error: Exception) -> None:
    raise error


def fail_encrypted(_: object) -> None:
    error = Permanent("needs a password", kind="encrypted")
    error.add_note("page 3")
    raise error


def fail_transient(_: object) -> None:
    raise Transient("busy", kind="rate_limited", retry_after_s=2.5)


def process_id(_: object) -> int:
    return os.getpid()


def print_noise(number: int) -> int:
    ctypes.CDLL(None).puts(b"noise from C")
    print("noise from Python")
    os.write(2, b"noise on stderr")
    return number


def append(job: tuple[str, str]) -> None:
    path, text = job
    with Path(path).open("a") as file:
        file.write(text)


def niceness_and_signals(_: object) -> tuple[int, bool, bool]:
    ignored = signal.SIG_IGN
    return os.nice(0), signal.getsignal(signal.SIGINT) is ignored, signal.getsignal(signal.SIGTERM) is ignored


def environment(_: object) -> dict[str, str]:
    return dict(os.environ)


def remember_and_die_later(path: str) -> int:
    """Crash in every process that has seen an input before; a fresh one is fine."""
    if getattr(remember_and_die_later, "used", False):
        die(None)
    remember_and_die_later.used = True  # type: ignore[attr-defined]
    return os.getpid()


def unpicklable(_: object) -> object:
    return lambda: None


def set_up() -> None:
    os.environ["WAS_SET_UP"] = "yes"


READY = f"{__name__}:set_up"  # importing this module is not part of the first input's time


def break_set_up() -> None:
    raise ImportError("no module named pymupdf")


async def failure(workers: Workers, function: object, argument: object) -> Permanent:
    with pytest.raises(Permanent) as caught:
        await workers.run(function, argument)  # type: ignore[arg-type]
    return caught.value


async def test_it_gives_back_what_the_function_returns() -> None:
    """Results come back from a child process, which is used again."""
    async with Workers(processes=1) as workers:
        assert [await workers.run(double, number) for number in range(3)] == [0, 2, 4]
        first = await workers.run(process_id, None)
        assert first != os.getpid()
        assert await workers.run(process_id, None) == first


async def test_three_killers_cost_three_inputs() -> None:
    """One killed by a signal, one looping for ever and one that takes 8 GiB: all the others are done."""
    jobs = [(double, 1), (die, None), (double, 2), (loop_for_ever, None), (double, 3), (allocate, 8 * 2**30)]
    jobs += [(double, number) for number in range(4, 10)]
    async with Workers(processes=2, timeout_s=2, memory_bytes=2**30, initializer=READY) as workers:
        results = await asyncio.gather(*(workers.run(*job) for job in jobs), return_exceptions=True)
    kinds = [result.kind for result in results if isinstance(result, Permanent)]
    assert sorted(kinds) == ["crashed", "out_of_memory", "timed_out"]
    assert [result for result in results if isinstance(result, int)] == [2 * number for number in range(1, 10)]


async def test_a_dead_child_says_how_it_died() -> None:
    """The reason names the signal or the exit status."""
    async with Workers(processes=1) as workers:
        assert "SIGKILL" in str(await failure(workers, die, None))
        assert "SIGSEGV" in str(await failure(workers, segfault, None))
        assert "SystemExit: 3" in str(await failure(workers, leave, 3))


async def test_our_errors_pass_through_whole() -> None:
    """A `GristmillError` keeps its class, its kind and its data on the way back."""
    async with Workers(processes=1) as workers:
        error = await failure(workers, fail_encrypted, None)
        assert (str(error), error.kind, error.__notes__) == ("needs a password", "encrypted", ["page 3"])
        with pytest.raises(Transient) as caught:
            await workers.run(fail_transient, None)
        assert (caught.value.kind, caught.value.retry_after_s) == ("rate_limited", 2.5)


async def test_other_errors_are_crashes_of_one_input() -> None:
    """What a function raises by accident, or returns and cannot be sent, is "crashed" with its type and text."""
    async with Workers(processes=1) as workers:
        child = await workers.run(process_id, None)
        error = await failure(workers, fail, ValueError("bad xref"))
        assert (error.kind, str(error)) == ("crashed", "ValueError: bad xref")
        assert (await failure(workers, unpicklable, None)).kind == "crashed"
        assert await workers.run(process_id, None) == child  # and the child is none the worse for it


async def test_a_failure_counts_only_in_a_fresh_child() -> None:
    """An input that dies of what earlier ones left behind is tried again in a new process."""
    async with Workers(processes=1) as workers:
        first = await workers.run(remember_and_die_later, "a")
        second = await workers.run(remember_and_die_later, "b")
        assert first != second


async def test_what_c_code_prints_stays_off_the_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    """Noise on stdout and stderr reaches neither the replies nor our own output."""
    async with Workers(processes=1) as workers:
        assert [await workers.run(print_noise, number) for number in range(3)] == [0, 1, 2]
    assert capfd.readouterr() == ("", "")


async def test_children_start_when_first_needed() -> None:
    """An unused pool starts nothing, and one call at a time needs one child of four."""
    async with Workers(processes=4) as workers:
        assert not workers._children
        assert len({await workers.run(process_id, None) for _ in range(3)}) == 1


async def test_idle_children_may_be_ended() -> None:
    """`rest` ends children that have nothing to do, and no other; what comes later gets a fresh one."""
    async with Workers(processes=2) as workers:
        first = await workers.run(process_id, None)
        working = asyncio.create_task(workers.run(process_id, None))
        await asyncio.sleep(0)  # the child has its input
        workers.rest()
        assert await working == first
        workers.rest()
        assert gone(first)
        assert await workers.run(process_id, None) != first


async def test_waiting_is_first_come_first_served(tmp_path: Path) -> None:
    """Inputs reach the one child in the order in which they were given."""
    path = tmp_path / "order"
    async with Workers(processes=1) as workers, asyncio.TaskGroup() as group:
        for letter in "abcdefgh":
            group.create_task(workers.run(append, (str(path), letter)))
    assert path.read_text() == "abcdefgh"


async def test_cancelling_a_running_call_kills_its_child() -> None:
    """The place is free at once, and the next input gets a healthy process."""
    async with Workers(processes=1) as workers:
        child = await workers.run(process_id, None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await workers.run(loop_for_ever, None)
        assert await workers.run(process_id, None) != child
        assert gone(child)


async def test_cancelling_a_waiting_call_harms_nobody() -> None:
    """A call cancelled before its turn leaves the one that runs alone, and the pool whole."""
    async with Workers(processes=1, timeout_s=1, initializer=READY) as workers, asyncio.TaskGroup() as group:
        running = group.create_task(failure(workers, loop_for_ever, None))
        waiting = group.create_task(workers.run(double, 1))
        after = group.create_task(workers.run(double, 2))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await after == 4
        assert (await running).kind == "timed_out"


async def test_the_loop_is_never_blocked() -> None:
    """While children start, work and are killed, the event loop keeps turning."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(watch())
        async with Workers(processes=1, timeout_s=0.3, initializer=READY) as workers:
            await failure(workers, loop_for_ever, None)
            await workers.run(double, 1)
        watcher.cancel()
    assert longest < 0.25


async def test_children_are_nice_and_leave_stopping_to_the_parent() -> None:
    """They run at lower priority and ignore the signals that reach the whole process group."""
    async with Workers(processes=1) as workers:
        assert await workers.run(niceness_and_signals, None) == (min(19, os.nice(0) + 5), True, True)


async def test_children_know_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in our environment do not reach a process that reads files from strangers."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with Workers(processes=1) as workers:
        assert "sk-secret" not in (await workers.run(environment, None)).values()


async def test_the_initializer_runs_once_in_each_child() -> None:
    """It has run before the first input."""
    async with Workers(processes=1, initializer=READY) as workers:
        assert (await workers.run(environment, None))["WAS_SET_UP"] == "yes"


async def test_children_that_cannot_start_stop_the_run() -> None:
    """A broken installation is no input's fault: `Fatal`, with the reason."""
    async with Workers(processes=1, initializer=f"{__name__}:break_set_up") as workers:
        with pytest.raises(Fatal, match="no module named pymupdf"):
            await workers.run(double, 1)


async def test_closing_ends_every_child() -> None:
    """Nothing is left behind, and a closed pool refuses work."""
    async with Workers(processes=2) as workers:
        children = await asyncio.gather(*(workers.run(process_id, None) for _ in range(6)))
    for child in set(children):
        assert gone(child)
    with pytest.raises(RuntimeError, match="closed"):
        await workers.run(double, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to kill orphans")
def test_children_die_with_their_parent() -> None:
    """A parent killed with SIGKILL leaves no process behind, not even one in an endless loop."""
    program = f"""
import asyncio, sys
sys.path[:] = {sys.path!r}
from engine.workers import Workers
from {__name__} import loop_for_ever, process_id

async def main():
    async with Workers(processes=1) as workers:
        print(await workers.run(process_id, None), flush=True)
        await workers.run(loop_for_ever, None)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert gone(child)


@pytest.mark.parametrize("settings", [{"processes": 0}, {"processes": 1, "timeout_s": 0}])
def test_settings_are_checked(settings: dict[str, int]) -> None:
    """A pool that could do nothing is refused, with what to set."""
    with pytest.raises(ValueError, match="set it"):
        Workers(**settings)


def gone(process: int) -> bool:
    """Whether that process ends within ten seconds."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([descriptor], [], [], 10)
        return bool(readable)
    finally:
        os.close(descriptor)


async def test_children_that_are_begun_ahead_do_the_first_work() -> None:
    """`begin` starts as many children as wanted and allowed, which the first inputs get; calling it again starts none."""
    async with Workers(processes=2) as workers:
        workers.begin(children=5)
        workers.begin(children=5)
        begun = await asyncio.gather(*(workers.run(process_id, None) for _ in range(2)))
        workers.begin(children=5)
        assert await workers.run(process_id, None) in begun
        assert len(workers._children) == len(set(begun)) == 2


async def test_children_that_are_begun_for_nothing_end() -> None:
    """Closing ends children that nobody asked, whether they are ready or not, and their failure troubles nobody."""
    for initializer in ("", "no_such_module:warm_up"):
        workers = Workers(processes=2, initializer=initializer)
        async with workers:
            workers.begin(children=2)
            await asyncio.wait(workers._begun)
        assert all(child.has_ended for child in workers._children)
    async with Workers(processes=1) as workers:
        workers.begin(children=1)
    assert not workers._children


async def test_a_failure_of_a_child_that_is_begun_is_raised_where_it_is_needed() -> None:
    """An initializer that cannot run is the error of the first input, as without `begin`."""
    async with Workers(processes=1, initializer="no_such_module:warm_up") as workers:
        workers.begin(children=1)
        with pytest.raises(Fatal, match="worker processes do not start"):
            await workers.run(double, 2)
