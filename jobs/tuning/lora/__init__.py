"""Fine-tuning on this machine: LoRA over the weights that the base model runs on, in a child process.

`jobs.tuning.lora.tune` is the parent's side and needs no extra; only the child imports torch.
"""

from __future__ import annotations

__all__ = ()
