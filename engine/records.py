"""Records: frozen values with an id, one JSON object on one line.

A record's id is a hash of its source, so the same input gives the same id on every machine and after every restart.
`parent` is the id of the record that it was made from, so every row leads back to a paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import TypeVar

import msgspec

from engine.errors import Fatal, Permanent

__all__ = ["Record", "decode", "decode_lines", "encode", "make_id"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of every row. Subclass it with the fields of one kind of record."""

    id: str
    parent: str


R = TypeVar("R", bound=msgspec.Struct)


def make_id(*parts: str | int) -> str:
    """Hash `parts` to 32 hexadecimal digits (BLAKE2b, 128 bits).

    Each part is preceded by its length, so ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    encoded = [str(part).encode("utf-8", "surrogatepass") for part in parts]
    return blake2b(b"".join(b"%d:%b" % (len(data), data) for data in encoded), digest_size=16).hexdigest()


_encoder = msgspec.json.Encoder()


def encode(record: msgspec.Struct) -> bytes:
    """One line of UTF-8 JSON, with its line feed; the fields stand in the order of the class.

    Raises `Permanent` (kind "not_text") when a string holds half of a surrogate pair, which UTF-8 cannot encode.
    """
    try:
        return _encoder.encode(record) + b"\n"
    except UnicodeEncodeError as error:
        raise Permanent(f"a text cannot be written as UTF-8: {error.reason}", kind="not_text") from error


def decode(line: bytes, kind: type[R]) -> R:
    """Decode one line as `kind`; raises `Fatal` when the line is no such record."""
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"not a {kind.__name__} record: {error}") from error


def decode_lines(data: bytes, kind: type[R]) -> Iterator[R]:
    """Decode complete lines, one by one; raises `Fatal` for the first line that is no such record."""
    decoder = msgspec.json.Decoder(kind)
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Fatal(f"line {number} is not a {kind.__name__} record: {error}") from error
