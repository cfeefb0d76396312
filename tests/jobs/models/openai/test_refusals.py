"""The scope of a refusal: this attempt, this record, or this run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict

from engine.errors import Fatal, GristmillError, Permanent, Transient
from engine.requests import Usage
from jobs.config import Model
from jobs.models.connection import connection
from jobs.models.openai.refusals import Refusals

MODEL = Model(model="m", base_url="http://127.0.0.1:1/v1", api_key_env="SOME_KEY")
REFUSALS = Refusals(
    role="judge", name="m", key="", key_variable="SOME_KEY", way=connection("judge", MODEL, environment={})
)
PAGE = "<html><head><title>Just a moment...</title></head></html>"


def error(status: int, body: Any, *, answered: bool = False, **headers: str) -> GristmillError:
    data = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return REFUSALS.error(status, named, data, answered=answered)


def said(message: str, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, **more}}


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, said("Your input was flagged.", 403, metadata={"reasons": ["violence"]}), "content_filter"),
        (400, said("Filtered.", "content_filter"), "content_filter"),
        (400, said("Bad.", 400, innererror={"code": "ResponsibleAIPolicyViolation"}), "content_filter"),
        (400, said("Input data may contain inappropriate content.", "data_inspection_failed"), "content_filter"),
        (400, said("This model's maximum context length is 4096 tokens."), "context_too_long"),
        (413, {"message": "input length exceeds the context length"}, "context_too_long"),
        (500, said("litellm.ContextWindowExceededError: maximum context length is 512"), "context_too_long"),
        (422, {"detail": "odd"}, "refused"),
    ],
)
def test_what_concerns_the_record(status: int, body: Any, kind: str, answered: bool) -> None:
    """Moderation and length are told by words, whatever the status, before the first answer and after it."""
    found = error(status, body, answered=answered)
    assert type(found) is Permanent
    assert found.kind == kind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, said("Unauthorized"), "key_refused"),
        (403, PAGE, "forbidden"),
        (403, said("Forbidden"), "forbidden"),
        (404, said("The model is loading"), "server_error"),
    ],
)
def test_what_is_doubted_after_answers(status: int, body: Any, kind: str) -> None:
    """A key, an address or a model that has worked is tried again; before the first answer it ends the run."""
    found = error(status, body, answered=True)
    assert type(found) is Transient
    assert found.kind == kind
    assert type(error(status, body)) is Fatal


@pytest.mark.parametrize("status", [408, 409, 424, 425, 498, 499, 500, 502, 503, 504, 520, 524, 529])
def test_what_passes(status: int) -> None:
    """These are tried again, with and without words."""
    for body in ({"message": "later"}, PAGE, ""):
        assert type(error(status, body)) is Transient


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (said("You exceeded your current quota", "insufficient_quota"), {}, "quota"),
        (
            said("Rate limit reached on requests per day (RPD): Limit 200"),
            {"retry_after": "7200"},
            "resets in about 2 h",
        ),
        (
            said("Quota exceeded", details=[{"violations": [{"quotaId": "RequestsPerDayPerProject"}]}]),
            {},
            "day's limit",
        ),
        (
            said("Rate limit reached on tokens per day (TPD). Please try again in 7h12m3.5s."),
            {},
            "resets in about 7 h 12 min",
        ),
        (said("Insufficient account balance"), {}, "used up"),
    ],
)
def test_a_quota_that_is_gone(body: Any, headers: dict[str, str], words: str) -> None:
    """The day's and the balance's quota end the run, in one line that says so, and when it is full again."""
    found = error(429, body, **headers)
    assert type(found) is Fatal
    assert words in str(found)


@pytest.mark.parametrize(
    "body",
    [
        said(
            "Rate limit reached on tokens per min (TPM). Add a payment method at https://example.org/account/billing."
        ),
        said("You exceeded your current quota", details=[{"violations": [{"quotaId": "RequestsPerMinutePerModel"}]}]),
        said("The load balancer has too many requests"),
        {"message": "Too many requests"},
        PAGE,
    ],
)
def test_a_minute_that_is_full(body: Any) -> None:
    """A minute's limit is waited for, also where its words name quotas and billing."""
    found = error(429, body, retry_after="3")
    assert type(found) is Transient
    assert (found.kind, found.retry_after_s) == ("rate_limited", 3)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, said("Country, region, or territory not supported"), "does not serve this place"),
        (403, PAGE, "Just a moment"),
        (403, said("Your project does not have access to model m", "model_not_found"), "does not let this key use 'm'"),
        (403, said("Invalid API key"), "SOME_KEY"),
        (401, said("Incorrect API key provided"), "Incorrect API key provided"),
        (400, said("API key not valid. Please pass a valid API key.", 400), "SOME_KEY"),
        (404, {"detail": "Not Found"}, "/v1"),
        (302, "", "elsewhere"),
        (402, said("Insufficient Balance"), "Insufficient Balance"),
    ],
)
def test_what_ends_the_run(status: int, body: Any, words: str) -> None:
    """The line names the cause by the server's own words, and a 403 about something else does not blame the key."""
    found = error(status, body)
    assert type(found) is Fatal
    assert words in str(found)


@pytest.mark.parametrize(
    ("body", "branch", "kind"),
    [
        (said("Provider returned error", 502), Transient, "server_error"),
        (said("Rate limited", 429), Transient, "rate_limited"),
        (said("maximum context length is 512"), Permanent, "context_too_long"),
        (said("flagged by moderation", 403), Permanent, "content_filter"),
        ({"error": "out of memory"}, Transient, "server_error"),
        (
            {"choices": [{"error": {"message": "upstream", "code": 503}, "message": {"content": ""}}]},
            Transient,
            "overloaded",
        ),
        ({"object": "error", "message": "odd", "code": 400}, Permanent, "refused"),
    ],
)
def test_an_error_in_a_good_answer(body: Any, branch: type[GristmillError], kind: str) -> None:
    """It keeps its message and has the class of the status that it names, else that of its words."""
    found = REFUSALS.within(body, Usage())
    assert type(found) is branch
    assert getattr(found, "kind", "") == kind


@pytest.mark.parametrize(
    "body", [{"choices": [{}]}, {"data": [1]}, {"embeddings": []}, {"error": None, "choices": []}, [], None]
)
def test_no_error_in_a_good_answer(body: Any) -> None:
    """An answer, and a body of another shape, hold none."""
    assert REFUSALS.within(body, Usage()) is None
