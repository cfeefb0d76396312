"""The codec of one model: a request becomes the JSON that its server takes, and what comes back a reply or an error.

It knows nothing of how the JSON travels: a request may go by itself or as a row of a batch, and is written and read by
the same code. What a refusal teaches holds for both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import Fatal, Permanent, Transient
from engine.failed_replies import REPLY_CHARACTERS
from engine.requests import Reply, Request, ServerLimits
from jobs.models.connection import Connection
from jobs.models.openai.bodies import Bodies
from jobs.models.openai.dialect import dialect_of
from jobs.models.openai.listing import Listing
from jobs.models.openai.refusals import Refusals
from jobs.models.openai.replies import read_reply
from jobs.models.openai.vectors import BadVectors, Lengths
from jobs.models.openai.words import read_words
from jobs.models.providers import Target
from jobs.models.usage import price_of, usage_of
from jobs.run.outside_text import without_secrets

__all__ = ["TEACHING", "Codec", "codec_of"]

TEACHING = (400, 413, 415, 422, 500, 501)
"""Statuses of a refusal that may name a parameter: a template that fails is a server error to some."""


def codec_of(target: Target, way: Connection) -> Codec:
    """The codec of `target`: the one that its requests online and its batches share."""
    found = target.learned.get("codec")
    if not isinstance(found, Codec):
        found = target.learned["codec"] = Codec(target, way)
    return found


class Codec:
    """Writes the requests of `target`, whose server is at the end of `way`, and reads what it says.

    ``answers`` counts the good replies: a model that has answered before has neither a wrong key nor a wrong name.
    """

    def __init__(self, target: Target, way: Connection) -> None:
        self._target = target
        self._way = way
        self.dialect = dialect_of(target.model, way.host)
        self._bodies = Bodies(target.name, target.model, self.dialect, stream=target.stream)
        self._refusals = Refusals(
            role=target.role, name=target.name, key=target.api_key, key_variable=target.model.api_key_env, way=way
        )
        self._price = price_of(target.model)
        self._lengths = Lengths()
        self._lessons: set[str] = set()
        self.answers = 0

    def body(self, request: Request) -> dict[str, Any]:
        """The JSON of `request` before it is encoded, in the dialect as it is now."""
        return self._bodies.body(request)

    def learn(self, request: Request, data: bytes, version: int | None = None) -> bool:
        """Whether the next request is another than this one, which was sent in `version` of the dialect and refused.

        Of a row of a batch the version is not known: what one row has taught, others of that batch say too.
        """
        if version is not None and self.dialect.version != version:
            return True  # others have been taught meanwhile
        words = read_words(data, key=self._target.api_key)
        lesson = re.sub(r"\d+", "0", f"{words.parameter} {words.message}")
        if version is None and lesson in self._lessons:
            return True
        line = self.dialect.learn(words, request)
        if line:
            self._lessons.add(lesson)
            self._target.tell(f"models.{self._target.role}: {self._way.shown} refused a request; {line}")
        return line is not None

    def refused(
        self, status: int, headers: Mapping[str, str], data: bytes, limits: ServerLimits | None = None
    ) -> Transient | Permanent | Fatal:
        """Our error for a response of `status`."""
        return self._refusals.error(status, headers, data, limits, answered=self.answers > 0)

    def kept(self, data: bytes) -> str:
        """What is kept of the body of an answer that was of no use: its beginning, without the key."""
        return without_secrets(data[: 4 * REPLY_CHARACTERS].decode("utf-8", "replace"), self._target.api_key)

    def hint(self, listing: Listing) -> Fatal | None:
        """What the server's list of models says of a 404 at first."""
        return self._refusals.hint(listing)

    def reply(self, request: Request, body: Any, limits: ServerLimits | None = None, *, batch: bool = False) -> Reply:
        """The reply to `request` in the decoded JSON `body`, priced as a row of a `batch` where it is one.

        Raises what `read_reply` raises, and our error where the body tells one in the place of an answer.
        """
        usage = usage_of(body, self._target.model, batch=batch, price=self._price)
        if (refused := self._refusals.within(body, usage, answered=self.answers > 0)) is not None:
            raise refused
        reply = read_reply(body, request, usage, cut_off=self._target.cut_off)
        if reply.vectors:
            try:  # all vectors of one run have the same length: the store takes no others
                self._lengths.check(len(reply.vectors[0]))
            except BadVectors as error:
                raise Transient(str(error), kind="bad_vector", usage=usage) from error
        self.answers += 1
        return msgspec.structs.replace(reply, server_limits=limits) if limits is not None else reply
