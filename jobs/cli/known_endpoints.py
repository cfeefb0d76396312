"""The endpoints for which `gristmill init` writes a configuration: one line each, as docs/endpoints.md describes them.

A server that is not in the table is configured as ``other``: any address that speaks the OpenAI API.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["KNOWN", "KnownEndpoint"]


class KnownEndpoint(NamedTuple):
    """What to write for one kind of endpoint. An empty `base_url` means the models that run on this machine.

    A word in capitals in `base_url` stands for what the user has to fill in. `key_env` is the variable of the key, ""
    for none. `further` are more keys of [models], `hint` a commented line below them. `embeds` says whether the same
    address usually serves an embedding model; where not, the embedded one is used; `batches` whether it has OpenAI's Batch
    API.
    """

    title: str
    base_url: str
    key_env: str = ""
    further: Mapping[str, Any] = MappingProxyType({})
    hint: str = ""
    embeds: bool = True
    batches: bool = False


_LESS_THOUGHT = (
    "extra_body = { chat_template_kwargs = { enable_thinking = false } }  # no thoughts, where the model has them"
)

KNOWN: Mapping[str, KnownEndpoint] = MappingProxyType(
    {
        "openai": KnownEndpoint("OpenAI", "https://api.openai.com/v1", "OPENAI_API_KEY", batches=True),
        "azure": KnownEndpoint(
            "Azure OpenAI",
            "https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT",
            "AZURE_OPENAI_API_KEY",
            {"extra_query": {"api-version": "2024-10-21"}, "key_header": "api-key", "key_scheme": ""},
            batches=True,
        ),
        "openrouter": KnownEndpoint(
            "OpenRouter",
            "https://openrouter.ai/api/v1",
            "OPENROUTER_API_KEY",
            hint='extra_body = { provider = { sort = "price" } }  # the cheapest provider first',
        ),
        "groq": KnownEndpoint(
            "Groq",
            "https://api.groq.com/openai/v1",
            "GROQ_API_KEY",
            hint='extra_body = { service_tier = "flex" }  # higher limits, and waits when there is no room',
            embeds=False,
            batches=True,
        ),
        "together": KnownEndpoint("Together AI", "https://api.together.xyz/v1", "TOGETHER_API_KEY", batches=True),
        "deepseek": KnownEndpoint("DeepSeek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", embeds=False),
        "mistral": KnownEndpoint("Mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        "gemini": KnownEndpoint("Gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
        "dashscope": KnownEndpoint(
            "DashScope", "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"
        ),
        "vllm": KnownEndpoint("vLLM", "http://localhost:8000/v1", hint=_LESS_THOUGHT, embeds=False),
        "sglang": KnownEndpoint("SGLang", "http://localhost:30000/v1", hint=_LESS_THOUGHT, embeds=False),
        "llama.cpp": KnownEndpoint("llama.cpp's server", "http://localhost:8080/v1", embeds=False),
        "ollama": KnownEndpoint("Ollama", "http://localhost:11434/v1"),
        "lmstudio": KnownEndpoint("LM Studio", "http://localhost:1234/v1"),
        "litellm": KnownEndpoint(
            "a LiteLLM proxy",
            "http://localhost:4000/v1",
            "LITELLM_API_KEY",
            hint='extra_headers = { X-Team = "papers" }  # what your gateway asks for',
            batches=True,
        ),
        "embedded": KnownEndpoint("models that run on this machine, without a key", ""),
        "other": KnownEndpoint("another server that speaks the OpenAI API", "http://HOST:8000/v1", "API_KEY"),
    }
)
"""By the name that `--endpoint` takes."""
