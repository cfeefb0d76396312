"""Why a paper gives no chunks: the closed list of kinds, each with the reason that the user reads."""

from __future__ import annotations

from typing import Literal, get_args

from engine.errors import Permanent

__all__ = ["REASONS", "Kind", "failed"]

Kind = Literal[
    "changed",
    "crashed",
    "damaged",
    "duplicate",
    "empty_file",
    "encrypted",
    "no_pages",
    "no_text",
    "not_pdf",
    "out_of_memory",
    "timed_out",
    "too_large",
    "unreadable",
    "unsupported",
    "wrong_format",
]

REASONS: dict[Kind, str] = {
    "changed": "the file's bytes are no longer those that were listed",
    "crashed": "reading the file crashed its worker process",
    "damaged": "the file is damaged: no text could be recovered",
    "duplicate": "another paper with the same text came first",
    "empty_file": "the file is empty",
    "encrypted": "the file needs a password",
    "no_pages": "the file is a PDF without pages",
    "no_text": "it holds no text to speak of, as a scan",
    "not_pdf": "the file is not a PDF",
    "out_of_memory": "reading the file needs more memory than is allowed",
    "timed_out": "reading the file takes longer than is allowed",
    "too_large": "the file is larger than is allowed",
    "unreadable": "the file cannot be opened",
    "unsupported": "no parser reads this kind of file",
    "wrong_format": "the file is not of the kind that its name says",
}
"""The closed list: every paper ends as chunks or as a failure of one of these kinds."""
assert set(REASONS) == set(get_args(Kind))


def failed(kind: Kind, detail: str = "") -> Permanent:
    """A failure from the closed list; `detail` is added to its reason."""
    return Permanent(REASONS[kind] + (f" ({detail})" if detail else ""), kind=kind)
