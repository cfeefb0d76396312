"""What is wrong with a configuration, in one line a reader can act on: where it stands, the key, the value, what it may be."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs.config import Config, Model, Models

__all__ = ["dotted", "explain"]

_SHOWN = 60
"""Characters of a value that are quoted."""
_MOST = 3
"""Faults that one message names."""


def explain(faults: Sequence[Mapping[str, Any]], place: str, flags: Mapping[str, str]) -> str:
    """One line for the errors of pydantic. `place` names the file; `flags` gives the flag that set a key, by the key."""
    lines = dict.fromkeys(_line(fault, place, flags) for fault in faults)  # each branch of a union reports by itself
    return "; ".join(list(lines)[:_MOST])


def dotted(*parts: str) -> str:
    """The parts of a key, joined as TOML writes them."""
    return ".".join(part if part.replace("-", "_").isidentifier() or not part else f'"{part}"' for part in parts)


def _line(fault: Mapping[str, Any], place: str, flags: Mapping[str, str]) -> str:
    parts = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return f"{_where(dotted(*parts), place, flags)}there is no key {dotted(*parts)}; {_hint(parts)}"
    known, field = _field(parts)
    key = dotted(*known)
    where = _where(key, place, flags)
    if fault["type"] == "value_error":  # ours: it says all, and never quotes what may be a secret
        said = str(fault["msg"]).removeprefix("Value error, ")
        return f"{where}{said}" if said.startswith(f"{key}.") or not key else f"{where}{key}: {said}"
    allowed = f"it must be {_allowed(field)}" if field else "it must be a section, with keys of its own"
    return f"{where}{key} = {_quoted(fault.get('input'))}: {allowed}"


def _where(key: str, place: str, flags: Mapping[str, str]) -> str:
    return f"--set {flags[key]}: " if key in flags else f"{place}: "


def _quoted(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _field(parts: Sequence[str]) -> tuple[list[str], FieldInfo | None]:
    """The longest beginning of `parts` that is a key, and its field; None where it is a section."""
    model: type[BaseModel] | None = Config
    known: list[str] = []
    field: FieldInfo | None = None
    for part in parts:
        if model is None:  # what follows names a branch of a union, or a place in a list
            break
        found = model.model_fields.get(part)
        known.append(part)
        if found is not None:
            field, model = found, _section(found)
        if model is not None:
            field = None
    return known, field


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, by itself or by name."""
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _hint(parts: Sequence[str]) -> str:
    *sections, name = parts
    model: type[BaseModel] = Config
    for section in sections:
        found = model.model_fields.get(section)  # none for a name in [prices]
        model = (found and _section(found)) or model
    known = [*model.model_fields, *(Model.model_fields if model is Models else ())]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {dotted(*sections, near[0])}?" if near else f"known keys: {', '.join(known)}"


def _allowed(field: FieldInfo) -> str:
    """What a field takes, in words."""
    return " or ".join(dict.fromkeys(_kinds(field.annotation, field.metadata)))


def _kinds(annotation: Any, metadata: Iterable[Any]) -> Iterator[str]:
    origin: Any = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        literal_last = sorted(arguments, key=_is_literal)
        for kind in literal_last:
            yield from _kinds(kind, metadata)
    elif _is_literal(annotation):
        yield " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    elif annotation is bool:
        yield "true or false"
    elif annotation is int:
        yield f"a whole number{_bounds(metadata)}"
    elif annotation is float:
        yield f"a number{_bounds(metadata)}"
    elif annotation is str:
        least = next((each.min_length for each in metadata if isinstance(each, annotated_types.MinLen)), 0)
        yield "a text that is not empty" if least else "a text"
    elif origin in (tuple, list):
        yield "a list of texts" if str in arguments else "a list"
    elif annotation not in (None, types.NoneType):
        yield "a table of keys and values"


def _is_literal(kind: Any) -> bool:
    origin: Any = typing.get_origin(kind)
    return origin is Literal


def _bounds(metadata: Iterable[Any]) -> str:
    """As ", above 0" or ", at least 1 and at most 5"."""
    low, high = "", ""
    for bound in metadata:
        match bound:
            case annotated_types.Gt(gt=value):
                low = f"above {value}"
            case annotated_types.Ge(ge=value):
                low = f"at least {value}"
            case annotated_types.Lt(lt=value):
                high = f"below {value}"
            case annotated_types.Le(le=value):
                high = f"at most {value}"
    bounds = " and ".join(filter(None, (low, high)))
    return f", {bounds}" if bounds else ""
