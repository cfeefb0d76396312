"""The books of a process that is killed: what it asked, got and committed, in a file that outlives it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Journal", "Ledger"]


class Journal:
    """Written by the process itself: one line, by one system call, for each event of a request."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def asked(self, key: str) -> None:
        self._write("asked", key)

    def answered(self, key: str) -> None:
        self._write("answered", key)

    def committed(self, key: str) -> None:
        self._write("committed", key)

    def _write(self, event: str, key: str) -> None:
        os.write(self._descriptor, f"{event} {key}\n".encode())


@dataclass
class Ledger:
    """What the journals of all lives of one run say, added up by the one who kills."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    committed: set[str] = field(default_factory=set)
    in_flight_at_kills: int = 0
    most_in_flight: int = 0

    def add_life(self, journal: Iterable[str]) -> None:
        in_flight: set[str] = set()
        for line in journal:
            event, key = line.split(" ", 1)
            if event == "asked":
                assert key not in self.committed, "what was committed is asked again"
                self.asked[key] += 1
                in_flight.add(key)
                self.most_in_flight = max(self.most_in_flight, len(in_flight))
            elif event == "answered":
                self.answered[key] += 1
            else:
                in_flight.remove(key)
                self.committed.add(key)
        self.in_flight_at_kills += len(in_flight)

    def check(self) -> None:
        """What is asked and paid more than once was in flight at a kill."""
        assert sum(self.asked.values()) - len(self.asked) <= self.in_flight_at_kills
        assert self.paid_twice <= self.in_flight_at_kills
        assert self.committed <= self.asked.keys()

    @property
    def paid_twice(self) -> int:
        return sum(self.answered.values()) - len(self.answered)
