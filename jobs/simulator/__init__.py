"""A simulated OpenAI-compatible endpoint: seeded answers, latencies, limits and faults, and counters.

settings   Simulation, Fault: how it behaves, and the fate of each attempt
answers    the answer to a prompt
openai     chat and embeddings: a request in, the bytes of a body out
tuning     fine-tuning jobs, models
files      files, uploaded or written by a batch
batches    batches and what becomes of their rows
limits     requests and tokens a minute
slots      requests answered at a time
counters   Counters, to assert on
endpoint   Endpoint: admits, decides on faults, counts, times the answer
server     HTTP/1.1, the command line
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jobs.simulator.counters import Counters
from jobs.simulator.endpoint import Endpoint, FaultScript, Play, Received, Seen
from jobs.simulator.server import Running, main, running, serve
from jobs.simulator.settings import Fault, Simulation, arguments, from_arguments

__all__ = [
    "Counters",
    "Endpoint",
    "Fault",
    "FaultScript",
    "Play",
    "Received",
    "Running",
    "Seen",
    "Simulation",
    "arguments",
    "from_arguments",
    "main",
    "running",
    "serve",
    "simulated_endpoint",
]


@asynccontextmanager
async def simulated_endpoint(
    simulation: Simulation | None = None, *, fault: FaultScript | None = None, **knobs: Any
) -> AsyncIterator[Running]:
    """The simulated endpoint on a free loopback port, in this event loop and by its clock.

    `knobs` are fields of `Simulation`, for ``simulated_endpoint(seed=1, fault_500=0.05)``; `fault` is asked before the
    seeded faults: ``lambda seen: Fault(kind="status", status=503) if seen.attempt == 0 else None``.
    """
    if simulation is not None and knobs:
        raise TypeError("give a Simulation or its fields, not both")
    async with running(simulation or Simulation(**knobs), fault=fault) as server:
        yield server
