"""Refusals: an HTTP status and the server's words, as one of our errors: of this attempt, this record, or this run."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import Fatal, Permanent, Transient
from engine.requests import ServerLimits, Usage
from jobs.models.connection import Connection
from jobs.models.connection_errors import proxy_refused, wants_tls
from jobs.models.openai.headers import duration_s, retry_after_s
from jobs.models.openai.listing import Listing
from jobs.models.openai.words import MODERATED, Words, read_words, words_of

__all__ = ["Refusals"]

_AGAIN = "then run the same command again"
_TOO_LONG = (
    *("context_length", "context length", "context window", "context size", "exceed_context_size", "string_above_max"),
    *("maximum context", "too many tokens", "input is too long", "prompt is too long", "input length", "token limit"),
    *(
        "reduce the length",
        "max_model_len",
        "longer than the maximum",
        "maximum input length",
        "exceeds the maximum number",
    ),
)
_QUOTA = (
    *(
        "insufficient_quota",
        "insufficient balance",
        "insufficient_balance",
        "insufficient credit",
        "billing",
        "account balance",
        "balance is",
        "balance not",
        "balance too",
        "quota_exceeded",
    ),
    *(
        "exceeded your current quota",
        "credit limit",
        "out of credit",
        "not enough credit",
        "payment required",
        "arrears",
    ),
)
_DAY = (
    *(
        "per day",
        "per-day",
        "(rpd)",
        "(tpd)",
        "requests per day",
        "tokens per day",
        "daily limit",
        "daily quota",
        "perday",
    ),
    *("today", "monthly limit", "per month", "monthly quota", "monthly spend"),
)
_MINUTE = ("per minute", "per min", "(rpm)", "(tpm)", "perminute", "per second")
_KEY = (
    *("api key", "api_key", "apikey", "invalid_api_key", "authentication", "unauthorized", "unauthenticated", "token"),
    *("credential", "permission_denied", "access denied", "no auth", "subscription key"),
)
_PLACE = ("country", "region", "territory", "location is not supported", "not available in your")
_MODEL = ("model", "deployment", "access to", "terms", "license")
_WANTS_TLS = ("plain http request was sent to https port", "http request to an https server")
_AGAIN_IN = re.compile(r"(?:try again|retry|resets?) in ((?:\d+(?:\.\d+)?(?:ms|h|m|s|d))+)", re.IGNORECASE)
_SOON_S = 900.0
"""Seconds that a run waits for a day's limit to pass; it ends for a longer wait."""


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Reads the refusals of one model: ``role`` is its section, ``name`` what the server calls it.

    ``key`` is cut out of every message; ``key_variable`` names the environment variable that holds it.
    """

    role: str
    name: str
    key: str
    key_variable: str
    way: Connection

    def error(
        self,
        status: int,
        headers: Mapping[str, str],
        data: bytes,
        limits: ServerLimits | None = None,
        *,
        answered: bool = False,
    ) -> Transient | Permanent | Fatal:
        """What a response of `status` means. ``answered`` says that this model has answered before, so that neither the
        key, nor the address, nor the model's name can be wrong."""
        words = read_words(data, key=self.key)
        if status == 407:
            return proxy_refused(status, self.way)
        if status == 400 and self.way.url.scheme == "http" and words.has(*_WANTS_TLS):
            return wants_tls(self.way)
        return self._error(
            status, words, _Stated(retry_after_s(headers), limits, retry_after_s(headers, most=math.inf)), answered
        )

    def within(self, body: Any, usage: Usage, *, answered: bool = False) -> Transient | Permanent | Fatal | None:
        """The error that a body of status 200 tells instead of an answer; None where it tells none."""
        if not isinstance(body, dict):
            return None
        choices = body.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        refusal = body if body.get("error") else first if first.get("error") else None
        if refusal is None and not choices and not body.get("data") and (body.get("detail") or body.get("message")):
            refusal = body if "embeddings" not in body and "usage" not in body else None
        if refusal is None:
            return None
        words = words_of(refusal, key=self.key)
        return self._error(words.status or _status_of(words), words, _Stated(), answered).costing(usage)

    def hint(self, found: Listing) -> Fatal | None:
        """What the server's list of models says of a 404; None where that says nothing new."""
        name, shown = self.name, self.way.shown
        if found.below_v1:
            url = f'"{shown.rstrip("/")}/v1"'
            return Fatal(f"{shown} is not where the API is (404): set base_url = {url} in {self._section}")
        if not found.models or name in found.models:
            return None
        near = difflib.get_close_matches(name, found.models, n=3) or sorted(found.models)[:3]
        return Fatal(
            f"{shown} knows no model {name!r} (404), but {', '.join(map(repr, near))}; check model and base_url in "
            f"{self._section}"
        )

    def _error(self, status: int, words: Words, stated: _Stated, answered: bool) -> Transient | Permanent | Fatal:
        message = f"{status}: {words.message or 'no reason given'}"
        match status:
            case 401:
                return self._refused_key(status, words, stated, answered)
            case 403:
                return self._forbidden(message, words, stated, answered)
            case _ if 300 <= status < 400:
                return Fatal(
                    f"{self.way.shown} sends requests elsewhere ({status}); correct base_url in {self._section}"
                )
            case 402:
                return Fatal(f"the balance at {self.way.shown} is used up ({message}); add to it, {_AGAIN}")
            case 404 | 405 if not answered:
                return self._not_found(message, words)
            case 429:
                return self._too_many(message, words, stated)
            case 503 | 529 | 498:
                return Transient(message, kind="overloaded", retry_after_s=stated.after_s, server_limits=stated.limits)
            case 404 | 405 | 408 | 409 | 424 | 425 | 499:
                return Transient(
                    message, kind="server_error", retry_after_s=stated.after_s, server_limits=stated.limits
                )
            case _ if status >= 500:
                return self._server_error(message, words, stated)
            case _:
                return self._refused(message, words, answered)

    def _refused(self, message: str, words: Words, answered: bool) -> Permanent | Fatal:
        """A request that is not taken as it is: by its length, its content, or what it asks for."""
        if words.has(*_TOO_LONG):
            return Permanent(message, kind="context_too_long")
        if words.has(*MODERATED):
            return Permanent(message, kind="content_filter")
        if (
            words.has("model_not_found", "does not exist", "no such model", "unknown model", "invalid model")
            and not answered
        ):
            return self._not_found(message, words)
        if words.has("api_key_invalid", "api key not valid", "invalid api key", "incorrect api key") and not answered:
            return self._bad_key(message)
        return Permanent(message, kind="refused")

    def _refused_key(self, status: int, words: Words, stated: _Stated, answered: bool) -> Transient | Fatal:
        """A key that has worked is not wrong at once: a gateway that restarts says so for a moment."""
        if answered:
            said = f" ({words.message})" if words.message else ""
            return Transient(
                f"{status}: the key, which has worked, is refused{said}",
                kind="key_refused",
                retry_after_s=stated.after_s,
            )
        return self._bad_key(f"{status}: {words.message}" if words.message else str(status))

    def _bad_key(self, message: str) -> Fatal:
        variable = self.key_variable or "(none is configured)"
        return Fatal(
            f"{self.way.shown} refuses the key of {self._section} ({message}); check the environment variable {variable}"
        )

    def _forbidden(self, message: str, words: Words, stated: _Stated, answered: bool) -> Transient | Permanent | Fatal:
        if words.has(*MODERATED):
            return Permanent(message, kind="content_filter")
        if words.has(*_QUOTA):
            return Fatal(f"the quota at {self.way.shown} is used up ({message}); add to it, {_AGAIN}")
        if words.has(*_PLACE):
            return Fatal(f"{self.way.shown} does not serve this place ({message}); use another endpoint or a proxy")
        if answered:  # a firewall's page, or a gateway in trouble: it passes, or ends the run after a while
            return Transient(message, kind="forbidden", retry_after_s=stated.after_s)
        if words.page:
            return Fatal(
                f"{self.way.shown} is behind a firewall or proxy that refuses the request ({message}); check base_url in "
                f"{self._section}, or ask who runs it"
            )
        if words.has(*_MODEL) and not words.has(*_KEY):
            return Fatal(
                f"{self.way.shown} does not let this key use {self.name!r} ({message}); check model in {self._section}"
            )
        return self._bad_key(message)

    def _not_found(self, message: str, words: Words) -> Fatal:
        if words.has("model", "deployment", self.name.casefold()) or not words.message:
            return Fatal(
                f"{self.way.shown} knows no model {self.name!r} ({message}); check model and base_url in {self._section}"
            )
        return Fatal(
            f"{self.way.shown} has nothing at this address ({message}); check base_url in {self._section}: it usually ends "
            "in /v1"
        )

    def _too_many(self, message: str, words: Words, stated: _Stated) -> Transient | Fatal:
        """A minute's limit passes; what is gone for the day, or until somebody pays, does not."""
        day = words.has(*_DAY)
        if day and not (stated.resets_s is not None and stated.resets_s <= _SOON_S):
            resets_s = stated.resets_s or _seconds_in(words.message) or 0.0
            when = f" It resets in about {_duration(resets_s)}." if resets_s > _SOON_S else ""
            return Fatal(f"the day's limit at {self.way.shown} is used up ({message}).{when} Wait for it, {_AGAIN}")
        if words.has(*_QUOTA) and not day and not words.has(*_MINUTE):
            return Fatal(f"the quota at {self.way.shown} is used up ({message}); add to it, {_AGAIN}")
        return Transient(message, kind="rate_limited", retry_after_s=stated.after_s, server_limits=stated.limits)

    def _server_error(self, message: str, words: Words, stated: _Stated) -> Transient | Permanent:
        """Some gateways answer 500 for what the model behind them refuses for good."""
        if words.has("context_length_exceeded", "maximum context length", "exceed_context_size"):
            return Permanent(message, kind="context_too_long")
        return Transient(message, kind="server_error", retry_after_s=stated.after_s, server_limits=stated.limits)

    @property
    def _section(self) -> str:
        return f"[models.{self.role}]"


@dataclass(frozen=True, slots=True)
class _Stated:
    """What the headers say: how long to wait, at most an hour; the limits; how long to wait in truth."""

    after_s: float | None = None
    limits: ServerLimits | None = None
    resets_s: float | None = None


def _status_of(words: Words) -> int:
    """The status of an error that tells none, by its words."""
    if words.has("rate limit", "rate_limit", "too many requests", "ratelimit"):
        return 429
    if words.has(*_TOO_LONG, *MODERATED, "invalid_request"):
        return 400
    if words.has(*_QUOTA):
        return 402
    if words.has("invalid api key", "invalid_api_key", "unauthorized"):
        return 401
    return 503 if words.has("overloaded", "capacity", "unavailable") else 500


def _seconds_in(message: str) -> float | None:
    """The time of "Please try again in 7h12m3.5s", in seconds."""
    found = _AGAIN_IN.search(message)
    return duration_s(found[1]) if found else None


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
