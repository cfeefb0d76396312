"""Write the trained adapter as a GGUF file, or the whole model with the adapter merged into it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.models.gguf import convert, convert_folder
from jobs.tuning.lora.protocol import Finished

if TYPE_CHECKING:
    from jobs.tuning.lora.base import Base

__all__ = ["ADAPTER", "MERGED", "export"]

ADAPTER = "adapter.gguf"
MERGED = "model.gguf"


def export(model: Any, base: Base, folder: Path, steps: int) -> Finished:
    """Write the adapter into `folder`, in peft's format and as a GGUF file.

    If the converter does not support adapters of this model, the whole model is written with the adapter merged into
    it. Raises `Fatal` with the converter's last output when that fails too.
    """
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        source = Path(scratch)
        base.model.config.save_pretrained(source)
        base.tokenizer.save_pretrained(source)
        options = ["--base", str(source), "--outtype", "f16"]
        if convert("convert_lora_to_gguf.py", folder / "adapter", folder / ADAPTER, options) is None:
            return Finished(steps=steps, adapter=ADAPTER)
        model.merge_and_unload().save_pretrained(source)
        convert_folder(source, folder / MERGED)
        return Finished(steps=steps, model=MERGED)
