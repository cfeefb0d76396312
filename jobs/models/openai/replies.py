"""Replies: the JSON of a good response as a `Reply`. Nothing half, foreign or empty gets through here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import Permanent, Transient
from engine.requests import Alternative, Reply, Request, Usage
from jobs.models.openai.vectors import BadVectors, read_vectors
from jobs.models.reply_text import Said, said

__all__ = ["read_reply"]

_DONE = {
    *(
        "",
        "stop",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "end",
        "complete",
        "completed",
        "finished",
        "normal",
    ),
    *("natural", "done", "success", "end_of_text", "end_of_turn", "stop_token"),
}
"""How the families of servers say that an answer came to its own end; case and Gemini's prefix do not count."""

_CUT = {
    *(
        "length",
        "max_tokens",
        "model_length",
        "max_length",
        "max_output_tokens",
        "max_completion_tokens",
        "token_limit",
    ),
    *("context_length", "context_window_exceeded", "model_context_window_exceeded", "context_length_exceeded"),
    *("max_tokens_reached", "incomplete", "truncated"),
}
_WITHHELD = {
    *("content_filter", "content_filtered", "content-filter", "filtered", "safety", "recitation", "blocklist", "spii"),
    *("prohibited_content", "sensitive", "guardrail_intervened", "guardrail", "refusal", "error_toxic", "moderation"),
    *("image_safety", "language", "flagged", "blocked"),
}


def read_reply(body: Any, request: Request, usage: Usage, *, cut_off: bool = False) -> Reply:
    """The answer in `body`. With `cut_off` one that ends at its greatest length is as good as any.

    Raises `Transient` for an answer that is empty, ended in an unknown way or has another shape, and `Permanent` for
    one that was cut off, withheld or refused.
    """
    try:
        if request.texts:
            return Reply(vectors=read_vectors(body, len(request.texts)), usage=usage)
        choice = body["choices"][0]
        return Reply(text=_text(choice, request, usage, cut_off), alternatives=_alternatives(choice), usage=usage)
    except BadVectors as error:
        raise Transient(str(error), kind="bad_vector", usage=usage) from error
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise Transient("the answer has not the shape of OpenAI's", kind="wrong_shape", usage=usage) from error


def _text(choice: Mapping[str, Any], request: Request, usage: Usage, cut_off: bool) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise TypeError("a choice has a message")
    refusal = message.get("refusal")
    content, refused = _content(message.get("content"))
    answer = said(content, is_json=request.schema is not None)
    cut = _check_end(choice, request, usage, answer, bool(content.strip()), cut_off)
    if isinstance(refusal, str) and refusal.strip() and not answer.text:
        refused = refusal
    if refused and not answer.text:
        raise Permanent(f"the model refuses to answer: {said(refused).text[:200]}", kind="refusal", usage=usage)
    if answer.text or cut:
        return answer.text
    raise Transient(_why_empty(message, answer), kind="empty_answer", usage=usage)


def _check_end(
    choice: Mapping[str, Any], request: Request, usage: Usage, answer: Said, spoke: bool, cut_off: bool
) -> bool:
    """Whether the answer was cut off and that is as good as any; raises where its end says that it is not good.

    One token is asked for its probability, so it may be cut.
    """
    stated = choice.get("finish_reason")
    reason = str("" if stated is None else stated).casefold().removeprefix("finish_reason_").strip()
    if reason in _DONE and not answer.thinks:
        return False
    if reason in _CUT or (reason in _DONE and answer.thinks):
        if cut_off or request.max_output_tokens == 1:
            return True
        if answer.thinks or not spoke:
            words = "the model was still thinking at max_tokens; raise it, or have the model think less, and use retry"
        else:
            words = "the answer was cut off at max_tokens; raise it and use retry"
        raise Permanent(words, kind="truncated", usage=usage)
    if reason in _WITHHELD:
        raise Permanent(
            f"the endpoint withheld the answer ({reason.replace('_', ' ')})", kind="content_filter", usage=usage
        )
    raise Transient(
        f"the answer did not come to its end (finish_reason {reason[:60]!r})", kind="bad_finish", usage=usage
    )


def _content(content: Any) -> tuple[str, str]:
    """The text of a message, and its refusal: of a list of parts, those that are text; thoughts are left out."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if isinstance(content, dict):
        content = [content]
    texts, refusals = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type", "text") in ("text", "output_text"):
            text = part["text"]
            texts.append(text["value"] if isinstance(text, dict) else text)
        elif part.get("type") == "refusal":
            refusals.append(str(part.get("refusal") or ""))
    return "".join(texts), " ".join(refusals)


def _why_empty(message: Mapping[str, Any], answer: Said) -> str:
    thought = message.get("reasoning_content") or message.get("reasoning") or message.get("thinking")
    if answer.thinks or thought:
        return "the answer is empty: the model only thought (its reasoning is no answer)"
    return "the answer is empty"


def _alternatives(choice: Mapping[str, Any]) -> Sequence[Alternative]:
    """Those of the first token; none where the server tells none, or in another form."""
    if choice.get("logprobs") is None:  # as in most: an exception would cost more than all else that is read
        return ()
    try:
        tokens = choice["logprobs"]["content"][0]["top_logprobs"]
        return [Alternative(token=str(each["token"]), logprob=float(each["logprob"])) for each in tokens]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return ()
