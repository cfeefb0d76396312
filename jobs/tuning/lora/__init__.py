"""Fine-tuning on this machine: LoRA over the weights that the base model runs on, in a child process.

`jobs.tuning.lora.tune` is the parent's side and needs nothing that is not installed anyway; torch is imported in the child.
"""

from __future__ import annotations

__all__ = ()
