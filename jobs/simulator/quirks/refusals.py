"""Quirks of servers that refuse requests: for one record, for a moment, or always."""

from __future__ import annotations

from typing import Any

from jobs.simulator.quirks.quirk import Exchange, Quirk, Refusal, Refuse

__all__ = ["REFUSALS"]

_PAGE = "<!doctype html><html><head><title>Access denied | Cloudflare</title></head><body>Ray ID</body></html>"


def _always(status: int, body: Any, **headers: str) -> Refuse:
    return lambda _: Refusal(status=status, body=body, headers=headers)


def _once(status: int, body: Any) -> Refuse:
    """Only the first attempt with each prompt."""
    return lambda exchange: Refusal(status=status, body=body) if exchange.attempt == 0 else None


def _later(status: int, body: Any) -> Refuse:
    """Only the second and third request of each route."""
    return lambda exchange: Refusal(status=status, body=body) if exchange.number in (1, 2) else None


def _chat(status: int, body: Any) -> Refuse:
    return lambda exchange: Refusal(status=status, body=body) if exchange.route == "chat" else None


def _error(message: str, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, **more}}


def _in_answer(exchange: Exchange) -> Refusal | None:
    body = _error("Provider returned error", 502, metadata={"raw": "upstream is busy", "provider_name": "X"})
    return Refusal(status=200, body=body) if exchange.attempt == 0 else None


REFUSALS: dict[str, Quirk] = {
    "moderation-403": Quirk(
        "OpenRouter",
        "Portkey-AI/gateway#1459",
        "every chat prompt is refused by moderation, with status 403",
        refuses=_chat(
            403,
            _error(
                "The model requires moderation on this provider. Your input was flagged.",
                403,
                metadata={"reasons": ["violence"], "flagged_input": "field"},
            ),
        ),
    ),
    "moderation-400": Quirk(
        "Azure",
        "",
        "every chat prompt is refused by the content filter, with status 400",
        refuses=_chat(
            400,
            _error(
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "content_filter",
                innererror={"code": "ResponsibleAIPolicyViolation"},
            ),
        ),
    ),
    "too-long": Quirk(
        "vLLM",
        "vllm-project/vllm#20409",
        "every chat prompt is too long, said beside the name max_tokens",
        refuses=_chat(
            400,
            {
                "object": "error",
                "message": "'max_tokens' or 'max_completion_tokens' is too large: 1024. This model's maximum context "
                "length is 512 tokens and your request has 400 input tokens",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ),
    "error-in-200": Quirk(
        "OpenRouter",
        "spring-projects/spring-ai#6908",
        "the first answer to each prompt is an error with status 200",
        refuses=_in_answer,
    ),
    "error-in-200-final": Quirk(
        "OpenRouter",
        "OpenRouterTeam/openrouter-examples#14",
        "every chat answer has status 200, and is an error about the length of the prompt",
        refuses=_chat(200, _error("This endpoint's maximum context length is 512 tokens.", 400)),
    ),
    "unauthorized-once": Quirk(
        "gateways",
        "esengine/DeepSeek-Reasonix#4106",
        "a key that worked is refused twice",
        refuses=_later(401, _error("Unauthorized", "401")),
    ),
    "firewall-once": Quirk(
        "Cloudflare",
        "JohnnyZ93/oai-compatible-copilot#287",
        "a firewall's page comes twice, after good answers",
        refuses=_later(403, _PAGE),
    ),
    "firewall": Quirk(
        "Cloudflare",
        "JohnnyZ93/oai-compatible-copilot#287",
        "a firewall's page comes always",
        refuses=_always(403, _PAGE),
    ),
    "country": Quirk(
        "OpenAI",
        "songquanpeng/one-api#1692",
        "the country is not served",
        refuses=_always(
            403,
            _error(
                "Country, region, or territory not supported",
                "unsupported_country_region_territory",
                type="request_forbidden",
            ),
        ),
    ),
    "status-424": Quirk(
        "Vertex, Foundry",
        "anthropics/anthropic-sdk-python#1130",
        "a dependency failed: status 424",
        refuses=_once(424, {"detail": "Failed Dependency"}),
    ),
    "status-498": Quirk(
        "Groq", "", "the flex tier has no room: status 498", refuses=_once(498, _error("capacity exceeded"))
    ),
    "status-499": Quirk(
        "nginx",
        "can1357/oh-my-pi#11841",
        "a proxy hung up: status 499",
        refuses=_once(499, "<html><title>499</title></html>"),
    ),
    "status-408": Quirk(
        "Ollama, proxies",
        "jeanibarz/knowledge-base-mcp-server#549",
        "a proxy timed out: status 408",
        refuses=_once(408, {"message": "Request Timeout"}),
    ),
    "quota-day": Quirk(
        "Gemini",
        "ogkalu2/comic-translate#403",
        "the day's quota is used up, which only the details say",
        refuses=_always(
            429,
            _error(
                "You exceeded your current quota, please check your plan and billing details. Please retry in 58.8s.",
                429,
                status="RESOURCE_EXHAUSTED",
                details=[
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
                    }
                ],
            ),
        ),
    ),
    "quota-minute": Quirk(
        "Gemini",
        "google-gemini/gemini-cli#8437",
        "the first request with each prompt is over a minute's limit, in words of a used-up quota",
        refuses=_once(
            429,
            _error(
                "You exceeded your current quota, please check your plan and billing details.",
                429,
                status="RESOURCE_EXHAUSTED",
                details=[
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}],
                    }
                ],
            ),
        ),
    ),
    "balance": Quirk(
        "DeepSeek",
        "continuedev/continue#9942",
        "the balance is used up",
        refuses=_always(402, _error("Insufficient Balance", "invalid_request_error", type="unknown_error")),
    ),
    "small-limit-header": Quirk(
        "gateways",
        "simstudioai/sim#6011",
        "a rate-limit header says 10 tokens a minute",
        headers={"x-ratelimit-limit-tokens": "10", "x-ratelimit-remaining-tokens": "0"},
    ),
}
