"""Replies: the JSON of a good response as a `Reply`. Here alone is told what a model said, whatever asked for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import Permanent, Transient
from engine.requests import Alternative, Reply, Request, Usage

__all__ = ["read_reply"]


def read_reply(body: Any, request: Request, usage: Usage, *, cut_off: bool = False) -> Reply:
    """The answer in `body`. With `cut_off` one that ends at its greatest length is as good as any, if it has text.

    Raises `Transient` for an answer that is empty or of another shape, `Permanent` for one that is cut off or withheld.
    """
    try:
        if request.texts:
            return Reply(vectors=_vectors(body, request, usage), usage=usage)
        choice = body["choices"][0]
        return Reply(text=_text(choice, request, usage, cut_off), alternatives=_alternatives(choice), usage=usage)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise _misshapen(usage) from error


def _text(choice: Mapping[str, Any], request: Request, usage: Usage, cut_off: bool) -> str:
    match choice.get("finish_reason"):
        case "length" if request.max_output_tokens != 1 and not cut_off:  # one token is asked for its probability
            raise Permanent(
                "the answer was cut off at max_tokens; raise it and use retry", kind="truncated", usage=usage
            )
        case "content_filter":
            raise Permanent("the endpoint withheld the answer (content filter)", kind="content_filter", usage=usage)
    content = choice["message"].get("content")
    if isinstance(content, str) and (content.strip() or (cut_off and choice.get("finish_reason") == "length")):
        return content
    raise Transient("the answer is empty", kind="empty_answer", usage=usage)


def _alternatives(choice: Mapping[str, Any]) -> Sequence[Alternative]:
    """Those of the first token; none where the server tells none, or in another form."""
    try:
        tokens = choice["logprobs"]["content"][0]["top_logprobs"]
        return [Alternative(token=str(each["token"]), logprob=float(each["logprob"])) for each in tokens]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return ()


def _vectors(body: Mapping[str, Any], request: Request, usage: Usage) -> Sequence[Sequence[float]]:
    """In the order of the texts; servers that number none send them in order."""
    sent, got = len(request.texts), len(body["data"])
    if sent != got:
        raise Transient(f"{got} vectors came back for {sent} texts", kind="wrong_shape", usage=usage)
    for item in body["data"]:
        item["embedding"][0]
    return [item["embedding"] for item in sorted(body["data"], key=lambda item: item.get("index", 0))]


def _misshapen(usage: Usage) -> Transient:
    return Transient("the answer has not the shape of OpenAI's", kind="wrong_shape", usage=usage)
