"""A parser of one's own: subtitles (.srt) of recorded talks, of which each gap of half a minute begins a new section.

Where this file can be imported, ``parse.parser = "parser:read"`` chooses it, and the papers are the files of `SUFFIXES`.
To have it as ``parse.parser = "srt"``, and under "auto" beside all other kinds, put it into ``jobs/parsing/formats/`` as
``srt.py`` and add one line to `jobs.parsing.parsers.PARSERS`:
``"srt": Entry(read="jobs.parsing.formats.srt:read", suffixes=(".srt",))``.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import failed
from jobs.parsing.formats.blocks import Builder, assemble
from jobs.parsing.formats.decoding import decode
from jobs.parsing.parsers import Options

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".srt",)
PAUSE_S = 30
_CUE = re.compile(r"(\d+):(\d\d):(\d\d),\d+ --> (\d+):(\d\d):(\d\d),\d+[^\n]*\n(.+?)(?:\n\s*\n|\Z)", re.DOTALL)


def read(data: bytes, path: str, options: Options) -> Extracted:
    """`failed` takes a kind of a closed list; whatever else is raised here is counted as "crashed"."""
    builder, ended = Builder(), 0
    for cue in _CUE.finditer(decode(data).replace("\r\n", "\n")):
        h, m, s, end_h, end_m, end_s = map(int, cue.groups()[:6])
        if (begins := 3600 * h + 60 * m + s) >= ended + PAUSE_S:
            builder.end()  # the words so far are a paragraph
            builder.add(f"{h}:{m:02}:{s:02}")
            builder.end(level=1)
        builder.add(f"{cue[7]} ")
        ended = max(ended, 3600 * end_h + 60 * end_m + end_s, begins)
    builder.end()
    if not builder.blocks:
        raise failed("wrong_format", "it holds no subtitles")
    return assemble(builder.blocks, options, title=PurePath(path).stem)
