"""An OpenAI-compatible endpoint that is simulated: seeded answers, latencies, limits and faults, and counters.

settings   Simulation, Fault: how it behaves, and the fate of each attempt
answers    what it says to a prompt
openai     chat and embeddings: a request in, the bytes of a body out
tuning     files, fine-tuning jobs, models
limits     requests and tokens a minute
slots      requests answered at a time
counters   Counters, to assert on
endpoint   Endpoint: admits, decides on faults, counts, times the answer
server     HTTP/1.1, the command line
"""

from __future__ import annotations

from engine.simulator.counters import Counters
from engine.simulator.endpoint import Endpoint, FaultScript, Play, Received, Seen
from engine.simulator.server import Running, main, running, serve
from engine.simulator.settings import Fault, Simulation, arguments, from_arguments

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
]
