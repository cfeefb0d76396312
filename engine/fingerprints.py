"""The identity of a dataset's rows, in its ``job.json``: the job and its fingerprint, and what was raised since then."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import BadInput, Fatal

__all__ = ["Made", "compared", "identity_of", "read_json", "same"]


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a dataset were made with: the job's fingerprint, and the values of before each raise of it."""

    fingerprint: dict[str, Any] = {}
    raised: list[dict[str, Any]] = []


def read_json(path: Path, job: str = "") -> dict[str, Any] | None:
    """What is in the file at `path`, None where there is none; `job` is the one to repeat when it is damaged.

    Raises `Fatal` for a damaged file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        redo = f", or repeat its job with --redo {job}" if job else ""
        raise Fatal(f"{path} is damaged ({error}); restore it from a copy{redo}") from error


def identity_of(job: str, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``job.json``, as JSON will return it: without tuples, and with strings as keys."""
    written = msgspec.json.encode({"job": job, "fingerprint": dict(fingerprint)})
    return msgspec.json.decode(written, type=dict[str, Any])


def same(theirs: Mapping[str, Any] | None, mine: Mapping[str, Any]) -> bool:
    """Whether the content of a ``job.json`` has the job and the fingerprint of `mine`."""
    return theirs is not None and all(theirs.get(key) == value for key, value in mine.items())


def compared(
    job: str, old: Mapping[str, Any], new: Mapping[str, Any], versions: Collection[str], raisable: Collection[str]
) -> str:
    """What forbids to add rows of fingerprint `new` to those of `old`; "" if nothing does.

    Keys of `raisable` may have grown. Keys of `versions` may differ as long as no rows are added. Raises `BadInput` for
    any other difference.
    """
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    lowered = {key for key in changed.intersection(raisable) if not _is_raise(old, new, key)}
    if lowered and lowered == changed:
        raise BadInput(
            f"{job} has made more than that: {'; '.join(_changes(old, new))}. What was paid for is not dropped: "
            f"{_remedy(job, 'restore')}"
        )
    if lowered or changed.difference(versions, raisable):
        raise BadInput(
            f"{job} was made with other settings: {'; '.join(_changes(old, new))}. {_remedy(job, 'Restore')}"
        )
    if changed and changed.isdisjoint(versions):
        return ""
    return (
        f"{job} has more to do, and its rows are of an earlier release ({'; '.join(_changes(old, new))}): "
        f"repeat this job and those after it with --redo {job}, or use another --out"
    )


def _is_raise(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    return key in old and key in new and (new[key] is None or (old[key] is not None and new[key] > old[key]))


def _remedy(job: str, restore: str) -> str:
    return f"{restore} the old settings, repeat this job and those after it with --redo {job}, or use another --out"


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        "{} was {}, is {}".format(key, *_where_they_differ(repr(old.get(key)), repr(new.get(key))))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def _where_they_differ(one: str, other: str) -> tuple[str, str]:
    """The beginnings of both, or the text around the first difference if that comes later."""
    letters = enumerate(zip(one, other, strict=False))
    same = next((place for place, (a, b) in letters if a != b), min(len(one), len(other)))
    start = 0 if same < 40 else same - 20
    mark = "…" if start else ""
    return mark + one[start : start + 60], mark + other[start : start + 60]
