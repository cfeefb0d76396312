"""The common parts of pages: one environment for their templates, and text from outside made safe to show.

A page is one self-contained file. All its text is escaped, and it has no script and allows none.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.report.data import label
from jobs.report.plots import place
from jobs.report.wording import chance, figure, reading, signed, won_lost
from jobs.run.outside_text import visible

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["duration", "environment", "passage", "rendered"]

_TEMPLATES = Path(__file__).with_name("templates")


def rendered(name: str, **values: Any) -> bytes:
    """The bytes of the page that the template `name` makes of `values`."""
    return environment(_TEMPLATES).get_template(name).render(values).encode("utf-8", "replace")


@cache
def environment(folder: Path) -> Environment:
    """The environment of the templates in `folder`, with the filters that make text safe to show."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "passage": passage,
        "label": label,
        "figure": figure,
        "signed": signed,
        "chance": chance,
        "reading": reading,
        "won_lost": won_lost,
        "duration": duration,
        "tick": lambda value: f"{value:g}".replace("-", "−"),
    }
    environment.globals["place"] = place
    return environment


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def passage(text: str, longest: int = 2000) -> str:
    """Text of several lines, as `visible`; empty lines are left out."""
    lines = [visible(line, longest) for line in text.splitlines()]
    shown = "\n".join(line for line in lines if line)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"
