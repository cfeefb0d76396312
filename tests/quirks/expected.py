"""What each quirk must come to, in every job: the rows of a plain server, unless it is said otherwise here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ASKED_OTHERWISE", "EXPECTED", "Expected"]

_CHAT = ("ask", "answer", "critic", "respond", "judge", "agreement")
_WHOLE = _CHAT[:-1]
"""Jobs that need a whole answer; agreement needs one token, which may be cut."""

ASKED_OTHERWISE = "asked otherwise"
"""A good row whose prompt had another form, so the simulated model writes other words."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """``rows`` by job: the kind of a failure, or `ASKED_OTHERWISE`; all other jobs have the rows of a plain server.

    ``tried`` are the kinds of failed attempts, ``learned`` words of each line that is shown about what was learned, in
    order, ``fatal`` words of the line that ends the run.
    """

    rows: Mapping[str, str] = field(default_factory=dict)
    tried: frozenset[str] = frozenset()
    learned: tuple[str, ...] = ()
    fatal: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def _all(jobs: tuple[str, ...], kind: str, *tried: str) -> Expected:
    return Expected(rows=dict.fromkeys(jobs, kind), tried=frozenset(tried))


def _tried(kind: str) -> Expected:
    return Expected(tried=frozenset({kind}))


def _learned(*words: str, **rows: str) -> Expected:
    return Expected(rows=rows, learned=words)


def _ends(words: str) -> Expected:
    return Expected(rows=dict.fromkeys((*_CHAT, "embed"), "fatal"), fatal=words)


_SAME = Expected()
_NO_SYSTEM = _learned("system_role = false", respond=ASKED_OTHERWISE)

EXPECTED: dict[str, Expected] = {
    "think": _SAME,
    "think-swallowed": _SAME,
    "think-empty": _SAME,
    "think-unclosed": _all(_WHOLE, "truncated"),
    "think-cut": _all(_WHOLE, "truncated"),
    "think-brackets": _SAME,
    "reasoning-content": _SAME,
    "reasoning-only": _tried("empty_answer"),
    "harmony": _SAME,
    "harmony-bare": _SAME,
    "tail-im-end": _SAME,
    "tail-eot": _SAME,
    "tail-eos": _SAME,
    "tail-line": _SAME,
    "next-turn": _SAME,
    "content-parts": _SAME,
    "json-fence": _SAME,
    "hidden-characters": _SAME,
    "finish-eos": _SAME,
    "finish-upper": _SAME,
    "finish-error": _tried("bad_finish"),
    "finish-resource": _tried("bad_finish"),
    "finish-model-length": _all(_WHOLE, "truncated"),
    "finish-max-tokens": _all(_WHOLE, "truncated"),
    "finish-recitation": _all(_CHAT, "content_filter"),
    "refusal": _all(_CHAT, "refusal"),
    "usage-null": _SAME,
    "usage-absurd": _SAME,
    "no-choices": _tried("wrong_shape"),
    "vector-base64": _SAME,
    "vector-nested": _SAME,
    "vector-dict": _SAME,
    "vector-bare": _SAME,
    "vectors-under-embeddings": _SAME,
    "index-omitted": _SAME,
    "index-text": _SAME,
    "index-null": _SAME,
    "index-repeated": _SAME,
    "vector-null": _tried("bad_vector"),
    "vector-zero": _tried("bad_vector"),
    "vector-text": _tried("bad_vector"),
    "vector-huge": _tried("bad_vector"),
    "vectors-missing": _tried("bad_vector"),
    "vector-null-always": _all(("embed",), "bad_vector", "bad_vector"),
    "max-completion-tokens": _learned('max_tokens_field = "max_completion_tokens"'),
    "no-max-tokens": _learned('max_tokens_field = "max_completion_tokens"', 'max_tokens_field = "none"'),
    "no-temperature": _learned("temperature"),
    "no-system-role": _NO_SYSTEM,
    "no-system-role-500": _NO_SYSTEM,
    "roles-alternate": _NO_SYSTEM,
    "system-value": _NO_SYSTEM,
    "no-json-schema": _learned('response_format = "json_object"', critic=ASKED_OTHERWISE),
    "no-response-format": _learned(
        'response_format = "json_object"', 'response_format = "none"', critic=ASKED_OTHERWISE
    ),
    "no-encoding-format": Expected(
        learned=('encoding_format = "none"',),
        settings={"encoding_format": "float"},
    ),
    "few-logprobs": _learned("at most 5 alternatives"),
    "no-stream-options": _SAME,
    "small-batch": _learned("batch_size = 2"),
    "small-batch-400": _learned("batch_size = 3"),
    "api-version": _ends("has nothing at this address (404: Resource not found)"),
    "api-key-header": _ends("refuses the key"),
    "moderation-403": _all(_CHAT, "content_filter"),
    "moderation-400": _all(_CHAT, "content_filter"),
    "too-long": _all(_CHAT, "context_too_long"),
    "error-in-200": _tried("server_error"),
    "error-in-200-final": _all(_CHAT, "context_too_long"),
    "unauthorized-once": _tried("key_refused"),
    "firewall-once": _tried("forbidden"),
    "firewall": _ends("Access denied | Cloudflare"),
    "country": _ends("does not serve this place"),
    "status-424": _tried("server_error"),
    "status-498": _tried("overloaded"),
    "status-499": _tried("server_error"),
    "status-408": _tried("server_error"),
    "quota-day": _ends("the day's limit"),
    "quota-minute": _tried("rate_limited"),
    "balance": _ends("Insufficient Balance"),
    "small-limit-header": _SAME,
}
