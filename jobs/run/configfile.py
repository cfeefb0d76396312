"""The configuration as TOML: in from a file and from flags, out into ``run.toml``; a mistake is one line that says what to change."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from engine.errors import BadInput
from jobs.config import Config
from jobs.run.config_faults import dotted, explain

__all__ = ["Table", "assign", "dump", "load", "validate"]


class Table(dict[str, Any]):
    """A TOML table that knows where it came from: a file, and the ``KEY=VALUE`` that has set a key."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        super().__init__(values)
        self.path = path
        self.flags: dict[str, str] = {}


def load(path: Path) -> Table:
    """The TOML table in `path`, with or without a byte order mark; raises `BadInput` when it cannot be read."""
    try:
        return Table(tomllib.loads(path.read_text("utf-8-sig")), path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the configuration {path}: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"the configuration {path} is not TOML: {error}") from error


def assign(table: dict[str, Any], settings: Iterable[str]) -> None:
    """Apply ``KEY=VALUE`` settings to `table`; a value that is not TOML is text. Raises `BadInput` for other settings."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        *sections, name = _parts(key) if equals else [""]
        if not name:
            raise BadInput(f"--set {setting!r} is not KEY=VALUE, as in --set ask.questions_per_chunk=3")
        place = table
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise BadInput(f"--set {setting!r}: {section} is a value, not a section")
        place[name] = _value(text.strip())
        if isinstance(table, Table):
            table.flags[dotted(*sections, name)] = setting


def validate(table: Mapping[str, Any]) -> Config:
    """Check `table`; raises `BadInput` with one line: where it stands, the key, the value, and what it may be."""
    try:
        return Config.model_validate(dict(table))
    except ValidationError as error:
        place, flags = (str(table.path), table.flags) if isinstance(table, Table) else ("configuration", {})
        raise BadInput(explain(error.errors(), place, flags)) from None


def dump(config: Config) -> bytes:
    """The configuration as TOML. It holds no API key, only the names of the variables that hold them."""
    values = config.model_dump(exclude_none=True)
    readable = tomli_w.dumps(values, multiline_strings=True)
    return (readable if tomllib.loads(readable) == tomllib.loads(plain := tomli_w.dumps(values)) else plain).encode()


def _parts(key: str) -> list[str]:
    """The parts of a dotted TOML key, in which one may be quoted: prices."gpt-4.1".input_usd_per_million."""
    try:
        place: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return [""]
    parts = []
    while isinstance(place, dict):
        ((part, place),) = place.items()
        parts.append(part)
    return parts


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
