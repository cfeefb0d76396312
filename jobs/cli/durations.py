"""Times in words, as messages and tables of the command line show them."""

from __future__ import annotations

__all__ = ["clock", "duration"]


def duration(seconds: float) -> str:
    """A time for readers, in its two greatest units: "40 s", "12 min", "3 h 5 min", "2 d 4 h"."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = max(1, round(seconds / 60))
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    first = next((place for place, (count, _) in enumerate(parts) if count), 2)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def clock(seconds: float) -> str:
    """A time as a clock shows it: "0:07", "2:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
