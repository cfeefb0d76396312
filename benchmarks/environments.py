"""The throw-away environments of the rivals: made by uv from pinned versions when first needed, kept beside this file.

Each has a list of pins in rivals/, frozen from one installation; another list makes another environment.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

__all__ = ["python_of", "tiktoken_tables"]

_HERE = Path(__file__).resolve().parent
_UV = _HERE.parent / ".uv" / "bin" / "uv"


def python_of(environment: str) -> Path:
    """The interpreter of the environment ``openai``, ``llama``, ``curator`` or ``uvloop``, which is made if need be (a minute)."""
    pins = _HERE / "rivals" / f"{environment}.txt"
    folder = _HERE / ".rivals" / f"{environment}-{sha256(pins.read_bytes()).hexdigest()[:8]}"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        uv = str(_UV) if _UV.exists() else "uv"
        print(f"making the environment of {environment} in {folder}", file=sys.stderr)
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "-r", pins]
        subprocess.run([*command, "--link-mode", "copy"], check=True)  # NLTK refuses to read hard links
        ready.touch()
    return python


def tiktoken_tables() -> Path:
    """Where the tokenizer's tables lie in LlamaIndex's package: clients that want them need no network."""
    import llama_index.core

    return Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
