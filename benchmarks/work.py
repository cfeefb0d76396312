"""The work that every client does, the same to the byte: seeded prompts, what counts as an answer, what is measured."""

from __future__ import annotations

import asyncio
import gc
import importlib
import resource
import sys
import time
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec

__all__ = [
    "MODEL",
    "SAID_IN_ALL",
    "TOKENS",
    "Outcome",
    "Settings",
    "Started",
    "judged",
    "peak_rss_mb",
    "prompts",
    "quotes",
    "settings",
]

MODEL = "simulated-chat"
SAID_IN_ALL = "Say in its own words what stands here."
"""How every prompt begins, so what every answer may be made of."""
TOKENS = 150
"""Of an answer, on average."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is to do; it gets this as JSON in its only argument.

    ``in_flight`` None leaves it to the client. Without ``sync`` ours leaves out every fsync; each takes
    ``sync_s`` longer. ``attempts`` is how often the floor tries a request, 1 being once. ``loop`` is the module whose event loop runs it.
    With ``workers`` (mill_head.py) prompts are in shards of ``shard``, and one worker is killed after ``kill_s``, unless 0.
    """

    base_url: str
    folder: str
    requests: int
    in_flight: int | None = None
    seed: int = 0
    max_tokens: int = 1024
    timeout_s: float = 120.0
    attempts: int = 1
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    sync: bool = True
    sync_s: float = 0.0
    loop: str = "asyncio"
    workers: int = 0
    shard: int = 1000
    kill_s: float = 0.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a client did. ``start_cpu_s`` was spent before its clocks ran; ``sending_s`` is from the first request to the last.

    ``valid`` answers stand on disk and are what was asked, ``bad`` stand there and are not, ``lost`` do not.
    With workers ``sending_s`` ends when the first of them has nothing more to send, after ``sent_then`` of all requests.
    ``troubles`` counts the attempts that failed, by kind. ``syncs`` counts the calls of fsync and fdatasync.
    """

    wall_s: float
    cpu_s: float
    start_cpu_s: float
    peak_rss_mb: float
    sending_s: float
    valid: int
    bad: int
    lost: int
    troubles: dict[str, int]
    syncs: int = 0
    sent_then: float = 1.0


class Started:
    """Clocks that run from here on: wall, CPU of all threads, and when requests were sent."""

    def __init__(self) -> None:
        gc.collect()
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()
        self._first_s = self._last_s = 0.0
        self.troubles: dict[str, int] = {}

    def sent(self) -> None:
        self._last_s = time.perf_counter()
        self._first_s = self._first_s or self._last_s

    def trouble(self, kind: str) -> None:
        self.troubles[kind] = self.troubles.get(kind, 0) + 1

    def stopped(self) -> Outcome:
        """Read the clocks; the answers are not judged yet."""
        return Outcome(
            wall_s=time.perf_counter() - self._wall_s,
            cpu_s=time.process_time() - self._cpu_s,
            start_cpu_s=self._cpu_s,
            peak_rss_mb=peak_rss_mb(),
            sending_s=self._last_s - self._first_s,
            valid=0,
            bad=0,
            lost=0,
            troubles=self.troubles,
        )


def settings() -> Settings:
    """The settings that this process was started with."""
    return msgspec.json.decode(sys.argv[1], type=Settings)


def run(given: Settings, main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end on the event loop that was asked for."""
    with asyncio.Runner(loop_factory=importlib.import_module(given.loop).new_event_loop) as runner:
        runner.run(main)


def prompts(count: int, seed: int) -> Iterable[str]:
    """`count` prompts of 200 to 480 tokens, 340 on average; short words prevail in some and long ones in others."""
    random = Random(seed)
    for number in range(count):
        start = random.randrange(len(_WORDS) // 2)
        words = random.choices(_WORDS[start : start + len(_WORDS) // 2], k=random.randint(140, 390))
        sentences = (" ".join(words[at : at + 13]).capitalize() for at in range(0, len(words), 13))
        yield f"{SAID_IN_ALL}\n{_RULE}\nText {number}. {'. '.join(sentences)}.\n{_RULE}"


def quotes(answer: str, prompt: str) -> bool:
    """Is the answer what was asked for: said in the prompt's own words?"""
    return set(prompt.split()).issuperset(answer.split())


def plausible(answer: str, prompt: str) -> bool:
    """Do its first words look like that? What a client may ask while it works; `judged` looks at all of them."""
    return all(word in prompt for word in answer.split(None, _FIRST)[:_FIRST])


def judged(outcome: Outcome, answers: Mapping[str, str], asked: Mapping[str, str]) -> Outcome:
    """The outcome with its answers counted; both mappings are by the prompt's number."""
    valid = sum(number in answers and quotes(answers[number], prompt) for number, prompt in asked.items())
    return msgspec.structs.replace(outcome, valid=valid, bad=len(answers) - valid, lost=len(asked) - len(answers))


def peak_rss_mb() -> float:
    # On Linux `ru_maxrss` begins with the size of the process that started this one; VmHWM does not.
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line[:6] == "VmHWM:")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


_FIRST = 12
_RULE = "---------------------"  # as in LlamaIndex's prompts: what stands between two is the text, in repairs too
_WORDS = sorted(
    """a an and at by in is it no of on or so to we all any are can few for has its let may new not now one our see set
    she the two use was who also both each even from have into less more most much must only over same such than that
    then they this thus very when will with about above after again being below could every first found given large
    limit lower model never often order other paper point prior quite rather record result sample search second series
    several shorter signal similar simple single small source space stable strong system tokens toward training under
    until value variance vector version weight whether within without between however language retrieval
    although attention available baseline challenge component condition different embedding estimated evaluated
    experiment finetuning following frequently generation identical important increasing information interaction
    investigate knowledge measurement observation parameters particular performance probability procedure proportion
    relationship representation reproducible respectively significant statistical straightforward substantially
    sufficiently systematically transformation understanding unfortunately""".split(),
    key=lambda word: (len(word), word),
)
