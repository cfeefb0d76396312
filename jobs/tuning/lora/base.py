"""The base model, as transformers loads it: from the GGUF file that the runtime serves, or from a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.errors import BadInput
from jobs.tuning.lora.protocol import Precision

__all__ = ["Base", "load_base", "precision_here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A causal language model on the device where it is trained, and its tokenizer with its chat template."""

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype


def load_base(path: Path, precision: Precision) -> Base:
    """Load `path`; the weights of a GGUF file are dequantized. Raises `BadInput` for what transformers cannot load."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = precision_here(precision, device)
    folder, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **options)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{path.name} cannot be tuned here: transformers does not load it ({reason})") from error
    _complete(model)
    return Base(model=model.to(device), tokenizer=tokenizer, device=device, dtype=dtype)


def precision_here(precision: Precision, device: torch.device) -> torch.dtype:
    """ "auto" is bfloat16 on hardware that computes in it, else float32."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def _cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _complete(model: Any) -> None:
    """Remove the mark of quantization and set the type of the model: weights from a GGUF file are dequantized by now,
    and without this the model can be neither saved nor converted."""
    model.config.architectures = [type(model).__name__]
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
