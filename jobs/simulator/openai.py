"""OpenAI's chat and embeddings routes as the simulated endpoint speaks them: a request in, the bytes of a body out.

Source of the formats: OpenAI's API reference. ``created`` is a constant, so the same prompt gives the same bytes.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from jobs.simulator.answers import count_tokens, cut, embed, say
from jobs.simulator.settings import Simulation, draw

__all__ = ["CREATED", "Asked", "Refused", "Written", "read", "write"]

CREATED = 1_767_225_600  # 2026-01-01


class Refused(Exception):
    """A response that is an error, in OpenAI's shape; ``headers`` are whole lines."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = msgspec.json.encode({"error": {"message": message, "type": type, "param": param, "code": code}})


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text of the message; parts of other types are ignored."""
        if isinstance(self.content, list):
            return "\n".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""


class ChatRequest(msgspec.Struct, frozen=True):
    model: str
    messages: list[Message]
    n: int = 1
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True):
    model: str
    input: str | list[str | int | list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A valid request. ``key`` is the hash of all that determines its answer, ``prompt`` its text.

    ``charged_tokens`` is its charge at the limit: the prompt's tokens and the maximum of the answer.
    ``cached_tokens`` are those of the prompt in the prefix cache, None without a cache.
    """

    route: Literal["chat", "embeddings"]
    model: str
    key: str
    prompt: str
    prompt_tokens: int
    charged_tokens: int
    cached_tokens: int | None = None
    request: ChatRequest | EmbeddingRequest


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A response's body, or the events of a stream, and the number of generated tokens."""

    body: bytes = b""
    events: tuple[bytes, ...] = ()
    completion_tokens: int = 0


def read(simulation: Simulation, route: str, body: bytes) -> Asked:
    """Read the JSON body of a request; raises `Refused` with status 400."""
    try:
        if route == "chat":
            return _asked_chat(simulation, _chat_decoder.decode(body))
        return _asked_embeddings(_embedding_decoder.decode(body))
    except msgspec.ValidationError as error:
        raise Refused(400, f"Invalid request: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, "We could not parse the JSON body of your request.") from error


_chat_decoder = msgspec.json.Decoder(ChatRequest)
_embedding_decoder = msgspec.json.Decoder(EmbeddingRequest)


def _asked_chat(simulation: Simulation, request: ChatRequest) -> Asked:
    if not request.messages:
        raise Refused(400, "[] is too short - 'messages'", param="messages")
    if not 1 <= request.n <= 128:
        raise Refused(400, f"n is {request.n}: it must be from 1 to 128", param="n")
    if request.top_logprobs and not request.logprobs:
        raise Refused(400, "logprobs must be true where top_logprobs is set", param="top_logprobs")
    texts = [message.text for message in request.messages]
    key = blake2b(request.model.encode("utf-8", "surrogatepass"), digest_size=8)
    for message, text in zip(request.messages, texts, strict=True):
        key.update(f"\0{message.role}\0{text}".encode("utf-8", "surrogatepass"))
    if request.response_format:
        key.update(msgspec.json.encode(request.response_format, order="deterministic"))
    prompt = texts[0] if len(texts) == 1 else "\n".join(texts)
    prompt_tokens = count_tokens(prompt) + 4 * len(texts)
    return Asked(
        route="chat",
        model=request.model,
        key=key.hexdigest(),
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        charged_tokens=prompt_tokens + request.n * (_max_tokens(request) or simulation.reserved_output_tokens),
        request=request,
    )


def _max_tokens(request: ChatRequest) -> int | None:
    return request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens


def _asked_embeddings(request: EmbeddingRequest) -> Asked:
    texts = _texts(request)
    if not texts or not all(texts) or len(texts) > 2048:
        raise Refused(400, "'$.input' is invalid: give 1 to 2048 texts, none of them empty.", param="input")
    if request.dimensions is not None and request.dimensions < 1:
        raise Refused(400, f"dimensions is {request.dimensions}: it must be at least 1", param="dimensions")
    prompt = "\0".join(texts)
    tokens = sum(map(count_tokens, texts))
    return Asked(
        route="embeddings",
        model=request.model,
        key=blake2b(f"{request.model}\0\0{prompt}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest(),
        prompt=prompt,
        prompt_tokens=tokens,
        charged_tokens=tokens,
        request=request,
    )


def _texts(request: EmbeddingRequest) -> list[str]:
    """The texts to embed; tokens, alone or in lists, count as words."""
    given = request.input
    if isinstance(given, str):
        return [given]
    if any(isinstance(item, int) for item in given):
        return [" ".join(map(str, given))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in given if not isinstance(item, int)]


def write(simulation: Simulation, asked: Asked, fault: str = "") -> Written:
    """Answer a request. ``fault`` names what is wrong with the content, as the ``fault_*`` shares of `Simulation` do."""
    if isinstance(asked.request, ChatRequest):
        return _chat(simulation, asked, asked.request, fault)
    return _embeddings(simulation, asked, asked.request, fault)


_OTHER_MODEL = "simulated-other-model"
_BESIDE_THE_POINT = "I cannot see what this has to do with the weather, but it will stay dry until the evening"


def _chat(simulation: Simulation, asked: Asked, request: ChatRequest, fault: str) -> Written:
    choices = [_choice(simulation, asked, request, fault, i) for i in range(request.n)]
    completion_tokens = sum(count_tokens(choice["message"]["content"] or "") for choice in choices)
    body: dict[str, Any] = {
        "id": f"chatcmpl-{asked.key}",
        "object": "chat.completion",
        "created": CREATED,
        "model": _OTHER_MODEL if fault == "model" else asked.model,
        "choices": choices,
        "usage": _usage(asked, completion_tokens),
    }
    if request.stream:
        return Written(events=tuple(_events(body, request)), completion_tokens=completion_tokens)
    data = msgspec.json.encode(body)
    if fault == "duplicate_keys":
        data = data[:-1] + b',"choices":[]}'
    return Written(body=data, completion_tokens=completion_tokens)


def _usage(asked: Asked, completion_tokens: int) -> dict[str, Any]:
    prompt_tokens = asked.prompt_tokens
    total = prompt_tokens + completion_tokens
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
    if asked.cached_tokens is None:
        return usage
    return {**usage, "prompt_tokens_details": {"cached_tokens": asked.cached_tokens}}


def _choice(simulation: Simulation, asked: Asked, request: ChatRequest, fault: str, index: int) -> dict[str, Any]:
    key = f"{asked.key}#{index}" if index else asked.key
    finish_reason = "stop"
    text = say(simulation, key=key, model=asked.model, prompt=asked.prompt, schema=_schema(request, asked.prompt))
    limit = _max_tokens(request)
    if fault == "wrong":
        text = _BESIDE_THE_POINT
    elif fault == "huge":
        text = (text + " ") * math.ceil(simulation.huge_bytes / (len(text) + 1))
    elif fault == "length":
        limit = count_tokens(text) // 2
    elif fault == "filter":
        finish_reason = "content_filter"
    if limit is not None and fault != "huge" and count_tokens(text) > limit:
        text, finish_reason = cut(text, limit), "length"
    logprobs = {"content": _logprobs(simulation, key, text, request.top_logprobs or 0)} if request.logprobs else None
    content = None if fault in ("null", "filter") else text
    message = {"role": "assistant", "content": content, "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def _schema(request: ChatRequest, prompt: str) -> Any:
    """The schema of the answer, None for free text; raises `Refused` when a schema is announced and missing.

    A schema in the prompt, after the words "JSON Schema", is used too.
    """
    asked = request.response_format or {}
    if asked.get("type") != "json_schema" and "JSON Schema" in prompt:
        try:
            return msgspec.json.decode(prompt[prompt.index("{", prompt.rindex("JSON Schema")) :])
        except (ValueError, msgspec.DecodeError):
            return None
    if asked.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    if asked.get("type") != "json_schema":
        return None
    named = asked.get("json_schema")
    if not isinstance(named, dict) or not isinstance(named.get("schema"), dict):
        raise Refused(400, "Missing required parameter: 'response_format.json_schema.schema'.", param="response_format")
    return named["schema"]


def _logprobs(simulation: Simulation, key: str, text: str, top: int) -> list[dict[str, Any]]:
    """Each token with its log-probability and the most likely others; "Yes" and "No" are each other's alternative."""
    found = []
    for i, token in enumerate(re.findall(r"\s*\S+", text)):
        p = 0.5 + 0.499 * draw(simulation.seed, key, f"logprob {i}")
        other = {"Yes": "No", "No": "Yes"}.get(token, f"{token}s")
        likely = [(token, p), (other, 1 - p), *((f"{token}{rank}", (1 - p) / 100**rank) for rank in range(1, top))]
        first, *_ = ranked = [_logprob(name, chance) for name, chance in likely]
        found.append({**first, "top_logprobs": ranked[:top]})
    return found


def _logprob(token: str, p: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(p), "bytes": list(token.encode("utf-8", "surrogatepass"))}


def _events(body: dict[str, Any], request: ChatRequest) -> Iterator[bytes]:
    """The server-sent events of a streamed answer: role, a few words per event, finish reason, usage, [DONE]."""
    base = {**body, "object": "chat.completion.chunk", "usage": None}
    for choice in body["choices"]:
        common = {"index": choice["index"], "finish_reason": None}
        yield _event({**base, "choices": [{**common, "delta": {"role": "assistant", "content": ""}}]})
        for piece in re.findall(r"(?:\s*\S+){1,8}\s*", choice["message"]["content"] or ""):
            yield _event({**base, "choices": [{**common, "delta": {"content": piece}}]})
        end = {"delta": {}, "finish_reason": choice["finish_reason"], "logprobs": choice["logprobs"]}
        yield _event({**base, "choices": [{**common, **end}]})
    if (request.stream_options or {}).get("include_usage"):
        yield _event({**base, "choices": [], "usage": body["usage"]})
    yield b"data: [DONE]\n\n"


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _embeddings(simulation: Simulation, asked: Asked, request: EmbeddingRequest, fault: str) -> Written:
    data = []
    for i, text in enumerate(_texts(request)):
        vector = embed(text, request.dimensions or simulation.dimensions)
        coded = b64encode(vector.tobytes()).decode() if request.encoding_format == "base64" else vector.tolist()
        lost = fault in ("null", "filter", "length")
        data.append({"object": "embedding", "index": i, "embedding": None if lost else coded})
    if fault == "wrong":
        data.pop()
    usage = {"prompt_tokens": asked.prompt_tokens, "total_tokens": asked.prompt_tokens}
    model = _OTHER_MODEL if fault == "model" else asked.model
    body = msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})
    if fault == "duplicate_keys":
        body = body[:-1] + b',"data":[]}'
    if fault == "huge":
        body += b" " * (simulation.huge_bytes - len(body))
    return Written(body=body)
