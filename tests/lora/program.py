"""Tune, as a process that a test may kill: BASE RUN; each step is a line on stdout."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from engine.events import Event
from engine.signals import Stop, stop_on_signals
from engine.signals import Stopped as RunStopped
from jobs.tuning.events import TrainingStep
from jobs.tuning.lora.tune import tune
from tests.lora.conftest import settings


async def main(base: Path, folder: Path) -> int:
    stop = Stop()

    def show(event: Event) -> None:
        if isinstance(event, TrainingStep):
            print(event.step, flush=True)

    with stop_on_signals(stop):
        try:
            await tune(
                folder=folder,
                base=base,
                base_name="tiny",
                settings=settings(),
                checkpoint_every=3,
                validate_every=4,
                stop=stop,
                hook=show,
            )
        except RunStopped:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]))))
