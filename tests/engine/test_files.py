from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fake_disk import Disk, contents, full_from, kill_at, live

from engine.errors import BadInput, Fatal
from engine.files import lock, make_folder, naming_the_disk, write_atomic

HOLD = """
import sys
from pathlib import Path
from engine.errors import BadInput
from engine.files import lock
try:
    with lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
except BadInput as error:
    print(error, flush=True)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed anywhere, with what was not synced lost, a file holds its old bytes or its new ones, never a mixture."""
    old, new = b"old" * 1000, b"new" * 3000
    seen = set()
    for number in range(20):
        for seed in range(10):
            folder = tmp_path / f"{number} {seed}"
            folder.mkdir()
            path = folder / "file"
            path.write_bytes(old)

            async def body(path: Path = path) -> None:
                write_atomic(path, new)

            disk = Disk(folder, kill_at(number))
            killed = live(disk, body)
            disk.crash(Random(seed))
            seen.add(path.read_bytes())
            if not killed:
                assert path.read_bytes() == new
        if not killed:
            break
    assert seen == {old, new}
    assert number == 5, "create, write, fsync, rename, fsync of the folder"


def test_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """When there is no space the old file stays as it was."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    disk = Disk(tmp_path, full_from(1))
    with disk.mounted(), pytest.raises(Fatal, match="disk is full"), naming_the_disk(path):
        write_atomic(path, b"new" * 100)
    assert path.read_bytes() == b"old"


def test_folder_survives(tmp_path: Path) -> None:
    """A folder that was made is still there after a power cut, with the files in it."""
    disk = Disk(tmp_path)
    with disk.mounted():
        make_folder(tmp_path / "dataset")
        make_folder(tmp_path / "dataset")
        write_atomic(tmp_path / "dataset" / "file", b"data")
    for seed in range(20):
        disk.crash(Random(seed))
        assert contents(tmp_path) == {"dataset/file": b"data"}
    assert disk.operations.count("mkdir") == 1


@pytest.mark.processes
def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second process gets one line that names the first; a kill of the first leaves no lock behind."""
    path = tmp_path / "run.lock"
    with hold(path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with hold(path) as second:
            said = second.communicate()[0]
        assert said.count("\n") == 1
        assert f"another process ({first.pid}) is working in {tmp_path}" in said
        with pytest.raises(BadInput, match=str(first.pid)), lock(path):
            pass
        first.kill()
    with lock(path):
        pass
    with lock(path):
        pass


@pytest.mark.processes
def test_lock_is_held_inside(tmp_path: Path) -> None:
    """The lock holds until the block is left, also by an error, and errors pass through it as they are."""
    path = tmp_path / "run.lock"

    def work() -> None:
        with lock(path), hold(path) as other:
            assert "another process" in other.communicate()[0]
            raise OSError("as it is")

    with pytest.raises(OSError, match="as it is"):
        work()
    with hold(path) as other:
        assert other.communicate()[0] == "held\n"


@pytest.mark.parametrize("place", ["missing/run.lock", "."])
def test_lock_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    """A lock that cannot be made is one line, not a traceback."""
    with pytest.raises(Fatal, match="cannot write"), lock(tmp_path / place):
        pass


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "make the folder writable"),
        (errno.EROFS, "make the folder writable"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "fix this"),
    ],
)
def test_what_to_do(number: int, advice: str, tmp_path: Path) -> None:
    """What an operating system says becomes one line that names the path and what to do."""
    with pytest.raises(Fatal, match=advice) as error, naming_the_disk(tmp_path):
        raise OSError(number, "no")
    assert str(error.value).startswith(f"cannot write {tmp_path}: ")
    assert "\n" not in str(error.value)
    assert isinstance(error.value.__cause__, OSError)


def test_our_own_errors_pass(tmp_path: Path) -> None:
    """Errors that say already what to do are not wrapped again."""
    with pytest.raises(Fatal, match=r"^mine$"), naming_the_disk(tmp_path):
        raise Fatal("mine")
