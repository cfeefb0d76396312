"""The process that trains: `main` runs in it, started by `jobs.tuning.lora.tune`.

It ends when its parent ends, for any reason: its input is a pipe that the parent holds open, and on Linux the kernel
kills it too. The parent handles the signals of the terminal.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.errors import BadInput, GristmillError
from engine.processes import usable_cores
from jobs.tuning.lora.protocol import STOP, Failed, News, Stopped, Training

__all__ = ["main"]


def main() -> None:
    """Read the task from stdin, do it, report on stdout."""
    line = sys.stdin.buffer.readline()
    if not line:
        return
    tell = _teller()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    try:
        tell(_worked(msgspec.json.decode(line, type=Training), tell, stop.is_set))
    except GristmillError as error:
        tell(Failed(reason=str(error), bad_input=isinstance(error, BadInput)))
    sys.stderr.flush()
    os._exit(0)  # at once: the clean-up of native libraries is not needed


def _worked(training: Training, tell: Callable[[News], None], stopping: Callable[[], bool]) -> News:
    import torch

    from jobs.tuning.lora.gguf import export
    from jobs.tuning.lora.trainer import train

    torch.set_num_threads(usable_cores())
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        trained = train(training, tell, stopping)
        if trained is None:
            return Stopped()
        return export(trained.model, trained.base, Path(training.folder), trained.step)
    except torch.OutOfMemoryError:
        return Failed(reason="the GPU's memory is too small: lower finetune.max_length or finetune.batch_size")


def _teller() -> Callable[[News], None]:
    """Keep the real stdout for reports; what libraries print goes to stderr."""
    news = os.dup(1)
    os.dup2(2, 1)

    def tell(item: News) -> None:
        os.write(news, msgspec.json.encode(item) + b"\n")

    return tell


def _listen(stop: threading.Event) -> None:
    while line := sys.stdin.buffer.readline():
        if line == STOP:
            stop.set()
    os._exit(1)  # the parent is gone
