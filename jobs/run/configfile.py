"""The configuration as TOML: in from a file and from flags, out into ``run.toml``; a mistake is one line with the mend."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from engine.errors import BadInput
from jobs.config import Config, Model, Models

__all__ = ["assign", "dump", "load", "validate"]


def load(path: Path) -> dict[str, Any]:
    """The TOML table in `path`; raises `BadInput` when it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the configuration {path}: {getattr(error, 'strerror', None) or error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"the configuration {path} is not TOML: {error}") from error


def assign(table: dict[str, Any], settings: Iterable[str]) -> None:
    """Apply ``KEY=VALUE`` settings to `table`; a value that is not TOML is taken as text."""
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


def validate(table: Mapping[str, Any]) -> Config:
    """Check `table`; raises `BadInput` with one line that names the key and what it may be."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise BadInput("; ".join(_explain(fault) for fault in error.errors()[:3])) from None


def dump(config: Config) -> bytes:
    """As TOML. It holds no key: configuration knows only the names of the variables that do."""
    return tomli_w.dumps(config.model_dump(exclude_none=True)).encode()


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


def _explain(fault: Mapping[str, Any]) -> str:
    *sections, name = [str(part) for part in fault["loc"]] or [""]
    key = _dotted(*sections, name)
    if fault["type"] != "extra_forbidden":
        return f"configuration: {key}: {fault['msg']}"
    known = _keys(Config, sections)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {_dotted(*sections, near[0])}?" if near else f"known keys: {', '.join(known)}"
    return f"configuration: there is no key {key}; {hint}"


def _dotted(*parts: str) -> str:
    return ".".join(part if part.replace("-", "_").isidentifier() or not part else f'"{part}"' for part in parts)


def _keys(model: type[BaseModel], sections: Iterable[str]) -> list[str]:
    for section in sections:
        field = model.model_fields.get(section)  # none for a name in [prices]
        for kind in (field.annotation, *get_args(field.annotation)) if field else ():
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return [*model.model_fields, *(Model.model_fields if model is Models else ())]
