"""Times in words, as messages and tables of the command line show them."""

from __future__ import annotations

import math

__all__ = ["clock", "duration"]


def duration(seconds: float) -> str:
    """A time for readers, in its two greatest units, rounded up to minutes: "12 min", "3 h 5 min", "2 d 4 h"."""
    minutes = math.ceil(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    first = next((place for place, (count, _) in enumerate(parts) if count), 2)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 min"


def clock(seconds: float) -> str:
    """A time as a clock shows it: "0:07", "2:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
