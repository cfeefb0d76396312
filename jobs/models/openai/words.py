"""The server's words: what an error says, in whatever shape a server, a gateway or a proxy writes it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from jobs.run.normal_text import readable
from jobs.run.outside_text import without_secrets

__all__ = ["MODERATED", "Words", "read_words", "words_of"]

MODERATED = (
    *("moderation", "flagged", "content_filter", "content filter", "content_policy", "content management policy"),
    *("safety system", "safety setting", "prohibited_content", "data_inspection", "inappropriate content", "guardrail"),
    *("responsibleaipolicy", "sensitive content", "harmful content", "violates our usage polic", "blocked by our"),
)
"""Signs, in small letters, that a refusal is about the content of a request."""

_LONGEST = 300
_QUOTE = 20
"""Characters in a row that a message and a prompt share only where one quotes the other."""
_decoder = msgspec.json.Decoder()


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What an error says: a message for readers, and the codes and types by which programs know it, in small letters.

    ``status`` is the HTTP status that the body itself tells, None where it tells none; ``parameter`` names what of the
    request is refused, "" where it does not say. ``page`` says that it was a web page, as of a proxy or a firewall.
    """

    message: str = ""
    codes: tuple[str, ...] = ()
    status: int | None = None
    parameter: str = ""
    page: bool = False

    def has(self, *signs: str) -> bool:
        """Whether a code or the message holds one of `signs`, given in small letters."""
        text = f"{' '.join(self.codes)} {self.message.casefold()}"
        return any(sign in text for sign in signs)

    def without(self, texts: Iterable[str]) -> Words:
        """These words without what they quote of `texts`."""
        sent, message = " ".join(" ".join(texts).split()), self.message
        quoted = {
            place
            for start in range(len(message) - _QUOTE + 1)
            if message[start : start + _QUOTE] in sent
            for place in range(start, start + _QUOTE)
        }
        kept = "".join(" " if place in quoted else letter for place, letter in enumerate(message))
        return msgspec.structs.replace(self, message=kept)


def read_words(data: bytes, *, key: str = "") -> Words:
    """What the body `data` of an error says; `key` is cut out of it."""
    try:
        return words_of(_decoder.decode(data), key=key)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = data[:20_000].decode("utf-8", "replace")
    if re.search(r"<(?:!doctype|html|head|body)\b", text[:2000], re.IGNORECASE):
        title = re.search(r"<(title|h1)\b[^>]*>(.*?)</\1", text, re.IGNORECASE | re.DOTALL)
        plain = html.unescape(re.sub(r"<[^>]+>", " ", title[2])) if title else "a web page"
        return Words(message=_one_line(plain, key), page=True)
    return Words(message=_one_line(text, key))


def words_of(body: Any, *, key: str = "") -> Words:
    """What the decoded JSON `body` says of an error."""
    if isinstance(body, list) and body:
        body = body[0]  # Gemini
    if not isinstance(body, Mapping):
        return Words(message=_one_line(str(body), key) if isinstance(body, str) else "")
    error = body.get("error")
    inner = error if isinstance(error, Mapping) else body
    metadata = inner.get("metadata") if isinstance(inner.get("metadata"), Mapping) else {}
    codes = [inner.get(name) for name in ("code", "type", "status", "reason")] + [body.get("code"), body.get("type")]
    if isinstance(error, str):
        codes.append(error)  # Ollama and others: the error itself is its word
    nested = inner.get("innererror") or inner.get("inner_error")
    if isinstance(nested, Mapping):
        codes.append(nested.get("code"))
    codes += _violations(inner.get("details"))
    return Words(
        message=_one_line(" ".join(dict.fromkeys(_sentences(body, inner, error, metadata))), key),
        codes=tuple(str(code).casefold() for code in codes if code not in (None, "") and not isinstance(code, bool)),
        status=next(
            (status for status in map(_status, (inner.get("code"), inner.get("status"), body.get("status"))) if status),
            None,
        ),
        parameter=str(inner.get("param") or ""),
    )


def _violations(details: Any) -> list[Any]:
    """The quotas that Google names in the details of a refusal, as "GenerateRequestsPerDayPerProject"."""
    parts = [part for part in details if isinstance(part, Mapping)] if isinstance(details, list) else []
    listed = [part["violations"] for part in parts if isinstance(part.get("violations"), list)]
    return [each.get("quotaId") for violations in listed for each in violations if isinstance(each, Mapping)]


def _sentences(body: Mapping[str, Any], inner: Mapping[str, Any], error: Any, metadata: Any) -> Iterator[str]:
    """Flat message, FastAPI's detail, problem+json, OpenRouter's raw words of the provider behind it."""
    found = next((inner[name] for name in ("message", "detail", "msg", "error_message") if inner.get(name)), None)
    if found is None:
        found = next((body[name] for name in ("message", "detail", "msg", "title") if body.get(name)), None)
    if found is None and isinstance(error, str):
        found = error
    if found is None and isinstance(body.get("errors"), list):
        found = body["errors"]
    if isinstance(found, list):
        yield from (_fault(item) for item in found[:3])
    elif isinstance(found, Mapping):
        yield _fault(found)
    elif found is not None:
        yield str(found)
    if isinstance(body.get("detail"), str) and found == body.get("title"):
        yield body["detail"]
    if isinstance(metadata, Mapping) and isinstance(metadata.get("raw"), str):
        yield metadata["raw"]


def _fault(item: Any) -> str:
    """One entry of a list of faults: FastAPI's has a place and a message."""
    if not isinstance(item, Mapping):
        return str(item)
    if isinstance(item.get("detail"), list):  # Mistral: FastAPI's list, one level deeper
        return "; ".join(_fault(each) for each in item["detail"][:3])
    place = (
        ".".join(str(part) for part in item.get("loc", ()) if part != "body")
        if isinstance(item.get("loc"), list)
        else ""
    )
    message = str(item.get("msg") or item.get("message") or item.get("detail") or "")
    return f"{place}: {message}" if place else message


def _status(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600 else None


def _one_line(message: str, key: str) -> str:
    # A server may quote what it was sent; a key among it must not reach our logs.
    text = re.sub(r"\s+", " ", readable(message)).strip()
    text = without_secrets(text, key)
    return text[: _LONGEST - 1] + "…" if len(text) > _LONGEST else text
