"""What grows with the size of a run, and how much: each size in a process of its own, the largest against the smallest."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from tables import Row

__all__ = ["Watch", "disk_bytes", "growth_row", "in_a_process", "memory_row", "size_asked_for", "sizes_up_to"]

TARGET_GROWTH = 1.2
_SIZES = (100_000, 300_000, 1_000_000, 3_000_000)


def sizes_up_to(largest: int) -> list[int]:
    return [size for size in _SIZES if size <= largest] or [largest]


def in_a_process(program: str, size: int, *, flag: bool) -> bytes:
    """What `program` prints for one size, which it learns from `size_asked_for`.

    BLAS has one thread there: others, while they wait for it, count as busy.
    """
    command = [sys.executable, program, "--one", str(size), str(int(flag))]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout


def size_asked_for() -> tuple[int, bool] | None:
    """The size and the flag of `in_a_process`; None in the process that compares."""
    return (int(sys.argv[2]), sys.argv[3] == "1") if sys.argv[1:2] == ["--one"] else None


def growth_row(measure: str, few: float, many: float) -> Row:
    ratio = many / few
    return Row(
        measure=measure,
        value=f"{many:.3g}",
        floor=f"{few:.3g}",
        ratio=f"{ratio:.2f}",
        target=f"growth ≤ {TARGET_GROWTH:g}",
        met=ratio <= TARGET_GROWTH,
    )


def memory_row(measure: str, few_mb: float, many_mb: float, *, most_mb: float) -> Row:
    return Row(
        measure=measure,
        value=f"{many_mb:.0f}",
        floor=f"{few_mb:.0f}",
        ratio=f"{many_mb / few_mb:.2f}",
        target=f"< {most_mb:,.0f}",
        met=many_mb < most_mb,
    )


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Watch(threading.Thread):
    """The peak of this process's memory that is not a mapped file, looked at every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.02):
            status = Path("/proc/self/status").read_text()
            kib = int(status.partition("RssAnon:")[2].split()[0])
            self.peak_mb = max(self.peak_mb, kib / 1024)
