"""Quirks of servers that want other parameters, and say so in a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobs.simulator.quirks.quirk import Exchange, Quirk, Refusal, Refuse

__all__ = ["WISHES"]


def _where(condition: Callable[[Exchange], bool], status: int, body: Any) -> Refuse:
    return lambda exchange: Refusal(status=status, body=body) if condition(exchange) else None


def _holds(name: str) -> Callable[[Exchange], bool]:
    return lambda exchange: name in exchange.body


def _openai(message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _has_system(exchange: Exchange) -> bool:
    return any(message.get("role") == "system" for message in exchange.body.get("messages", []))


def _format(*kinds: str) -> Callable[[Exchange], bool]:
    return lambda exchange: (exchange.body.get("response_format") or {}).get("type") in kinds


def _more_texts(most: int) -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.route == "embeddings" and len(exchange.body.get("input", [])) > most


WISHES: dict[str, Quirk] = {
    "max-completion-tokens": Quirk(
        "OpenAI, Azure",
        "BerriAI/litellm#13432",
        "max_tokens is refused, max_completion_tokens is wanted",
        refuses=_where(
            _holds("max_tokens"),
            400,
            _openai(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                param="max_tokens",
                code="unsupported_parameter",
            ),
        ),
    ),
    "no-max-tokens": Quirk(
        "strict gateways",
        "",
        "any bound on the length of an answer is refused",
        refuses=_where(
            lambda exchange: bool({"max_tokens", "max_completion_tokens"} & exchange.body.keys()),
            422,
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
                    for name in ("max_tokens", "max_completion_tokens")
                ]
            },
        ),
    ),
    "no-temperature": Quirk(
        "OpenAI's reasoning models, Azure",
        "QwenLM/qwen-code#921",
        "a temperature other than 1 is refused",
        refuses=_where(
            lambda exchange: exchange.body.get("temperature", 1) != 1,
            400,
            _openai(
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is "
                "supported.",
                param="temperature",
                code="unsupported_value",
            ),
        ),
    ),
    "no-system-role": Quirk(
        "Gemma on vLLM",
        "huggingface/chat-ui#1386",
        "the system role is refused",
        refuses=_where(
            _has_system,
            400,
            {
                "object": "error",
                "message": "System role not supported",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ),
    "no-system-role-500": Quirk(
        "Gemma on SGLang",
        "sgl-project/sglang#892",
        "the system role ends in status 500",
        refuses=_where(
            _has_system, 500, {"error": {"code": 500, "message": "System role not supported", "type": "server_error"}}
        ),
    ),
    "roles-alternate": Quirk(
        "Mistral on vLLM",
        "microsoft/autogen#1037",
        "a template wants user and assistant to alternate, without a system role",
        refuses=_where(
            _has_system,
            400,
            {
                "object": "error",
                "message": "Conversation roles must alternate user/assistant/user/assistant/...",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
    ),
    "system-value": Quirk(
        "OpenAI's o1",
        "tailcallhq/forgecode#1177",
        "the value of a message's role is refused",
        refuses=_where(
            _has_system,
            400,
            _openai(
                "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
                param="messages[0].role",
                code="unsupported_value",
            ),
        ),
    ),
    "no-json-schema": Quirk(
        "DeepSeek",
        "khoj-ai/khoj#1336",
        "response_format json_schema is refused, json_object is taken",
        refuses=_where(_format("json_schema"), 400, _openai("This response_format type is unavailable now")),
    ),
    "no-response-format": Quirk(
        "older vLLM, TGI",
        "BerriAI/litellm#7580",
        "any response_format is refused",
        refuses=_where(
            _format("json_schema", "json_object"),
            422,
            {"detail": "Failed to deserialize the JSON body into the target type: response_format: unknown field"},
        ),
    ),
    "no-encoding-format": Quirk(
        "Jina",
        "1Panel-dev/MaxKB#2639",
        "encoding_format is refused",
        refuses=_where(_holds("encoding_format"), 400, {"detail": "extra fields not permitted: ['encoding_format']"}),
    ),
    "few-logprobs": Quirk(
        "vLLM, Fireworks",
        "vllm-project/vllm#5299",
        "more than 5 log-probabilities are refused",
        refuses=_where(
            lambda exchange: exchange.body.get("top_logprobs", 0) > 5,
            400,
            _openai("top_logprobs must be less than or equal to 5", param="top_logprobs"),
        ),
    ),
    "no-stream-options": Quirk(
        "Mistral",
        "openai/openai-agents-python#442",
        "stream_options are refused",
        refuses=_where(
            _holds("stream_options"),
            422,
            {
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "extra_forbidden",
                            "loc": ["body", "stream_options", "include_usage"],
                            "msg": "Extra inputs are not permitted",
                        }
                    ]
                },
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
    ),
    "small-batch": Quirk(
        "TEI, SiliconFlow",
        "apecloud/ApeRAG#716",
        "more than 2 texts in one request are refused",
        refuses=_where(
            _more_texts(2),
            413,
            {"code": 20042, "message": "input batch size 136 > maximum allowed batch size 2", "data": None},
        ),
    ),
    "small-batch-400": Quirk(
        "DashScope",
        "memodb-io/memobase#142",
        "more than 3 texts in one request are an invalid parameter",
        refuses=_where(
            _more_texts(3),
            400,
            _openai(
                "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be larger "
                "than 3.: input.contents",
                code="InvalidParameter",
            ),
        ),
    ),
    "api-version": Quirk(
        "Azure",
        "MicrosoftDocs/azure-docs#114602",
        "without ?api-version= in the address nothing is found",
        refuses=_where(
            lambda exchange: "api-version" not in exchange.query,
            404,
            {"error": {"code": "404", "message": "Resource not found"}},
        ),
    ),
    "api-key-header": Quirk(
        "Azure",
        "clusterzx/paperless-ai#246",
        "the key is wanted in the header api-key",
        refuses=_where(
            lambda exchange: "api-key" not in exchange.headers,
            401,
            {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}},
        ),
    ),
}
