"""What a worker is built of: the first that it is sent."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Setup"]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The run in `folder`, with its configuration as JSON. `embedded` is what the embedded model is called.

    `parsers` are the arguments of the `Workers` that read papers, 0 processes being one for each core. The run `begins` where
    it has no rows yet, so that papers come first. `reviewed` says whether people have decided about pairs of it. `share` is
    one worker's part of a job's slots.
    """

    folder: str
    config: str
    embedded: str
    parsers: dict[str, Any]
    begins: bool
    reviewed: bool
    share: float

    def encoded(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decoded(cls, data: bytes) -> Setup:
        return msgspec.msgpack.decode(data, type=cls)
