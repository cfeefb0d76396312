"""From examples to a tuned model: training files, jobs at a provider, and LoRA on this machine.

In: `examples` and kept pairs. Out: `dataset/`, `models.json` and `tuning/`. May import `curation` and what that may.
"""

from __future__ import annotations
