"""A disk that is full, or read-only, under every step of a whole run: a tmpfs of its own, where mounting is permitted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_pipeline import snapshot

from jobs.cli.main import main

pytestmark = pytest.mark.processes


class SmallDisk:
    """A file system of `size_k` KiB at `path`."""

    def __init__(self, path: Path, size_k: int) -> None:
        self.path = path
        self.size_k = size_k
        self._mount(f"size={size_k}k")

    def grow(self, more_k: int) -> None:
        self.size_k += more_k
        self._mount(f"remount,size={self.size_k}k")

    def set_read_only(self) -> None:
        self._mount("remount,ro")

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    try:
        mounted = SmallDisk(path, 48)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a tmpfs can be mounted by root only")
    yield mounted
    subprocess.run(["umount", "--lazy", path], check=True)


def rows(run: Path) -> dict[str, str]:
    """The checksums of all that was made but for the seals: these tell what was paid, and an answer may be lost."""
    return {name: checksum for name, checksum in snapshot(run).items() if not name.endswith(".done.json")}


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which a command ended."""
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("gristmill: ")] == lines[-1:], lines
    assert not [line for line in lines if "Traceback" in line or "Error:" in line]
    return lines[-1]


def test_a_disk_that_is_full_again_and_again(
    example_papers: Path,
    tmp_path: Path,
    disk: SmallDisk,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wherever the disk is full, one line names the place; with more room the run goes on, to the undisturbed rows."""
    run = ["run", str(example_papers), "--config", str(configured(simulate())), "--set", "parse.chunk_size=1024"]
    undisturbed, out = tmp_path / "undisturbed", disk.path / "run"
    assert main([*run, "--out", str(undisturbed)]) == 0
    capsys.readouterr()
    full = 0
    while main([*run, "--out", str(out)]) != 0:
        said = complaint(capsys)
        assert str(out) in said
        assert "the disk is full" in said
        full += 1
        disk.grow(128)
    assert full > 3
    assert rows(out) == rows(undisturbed)


def test_a_disk_that_is_read_only(
    example_papers: Path,
    disk: SmallDisk,
    simulate: Callable[..., str],
    configured: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What would write ends in one line that names the place; what only looks still works."""
    config, out = str(configured(simulate())), disk.path / "run"
    disk.grow(10_000)
    assert main(["run", str(example_papers), "--out", str(out), "--config", config]) == 0
    disk.set_read_only()
    capsys.readouterr()
    for command in (
        ["run", str(example_papers), "--out", str(out), "--config", config],
        ["run", str(example_papers), "--out", str(disk.path / "new"), "--config", config],
        ["retry", str(out)],
        ["report", str(out)],
        ["export", str(out), "--format", "openai", "--to", str(disk.path / "export")],
    ):
        assert main(command) == 1
        said = complaint(capsys)
        assert f"cannot write {disk.path}" in said
        assert "no permission to write there" in said
    assert main(["verify", str(out)]) == main(["status", str(out)]) == 0
