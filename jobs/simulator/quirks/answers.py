"""Quirks of successful chat answers that contain more, less or something else than their text."""

from __future__ import annotations

from typing import Any

from jobs.simulator.quirks.quirk import Alter, Quirk, changed, choice_changed, first_of, text_changed

__all__ = ["ANSWERS"]

_THOUGHT = (
    "Okay, let me look at what is asked here.\n1. Is it about the mill or the stream?\n"
    "The score could be 2.0. No, wait. I answer now."
)


def _message(text: str, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text, **more}}


def _finish(reason: Any, *, half: bool = True) -> Alter:
    return first_of(
        choice_changed(lambda text: {**_message(text[: len(text) // 2] if half else text), "finish_reason": reason})
    )


def _usage(**fields: Any) -> Alter:
    return lambda body, exchange: {**body, "usage": {**(body.get("usage") or {}), **fields}}


_HARMONY = (
    f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|return|>",
)
_PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": _THOUGHT}]}]

ANSWERS: dict[str, Quirk] = {
    "think": Quirk(
        "vLLM, Ollama",
        "huggingface/trl#2919",
        "a thought in <think> tags stands before the answer",
        alters=text_changed(lambda text: f"<think>\n{_THOUGHT}\n</think>\n\n{text}"),
    ),
    "think-swallowed": Quirk(
        "llama.cpp, Perplexity",
        "ggml-org/llama.cpp#11861",
        "the template has written <think>, so only the closing tag comes back",
        alters=text_changed(lambda text: f"{_THOUGHT}\n</think>\n\n{text}"),
    ),
    "think-empty": Quirk(
        "Qwen on vLLM",
        "ollama/ollama#10496",
        "an empty thought stands before the answer",
        alters=text_changed(lambda text: f"<think>\n\n</think>\n\n{text}"),
    ),
    "think-unclosed": Quirk(
        "llama.cpp, vLLM",
        "oobabooga/textgen#7102",
        "the first answer to each prompt is a thought that never ends",
        alters=first_of(text_changed(lambda text: f"<think>\n{_THOUGHT}")),
    ),
    "think-cut": Quirk(
        "vLLM, SGLang",
        "huggingface/lighteval#869",
        "every answer is cut off while the model is still thinking",
        alters=choice_changed(lambda text: {**_message(f"<think>\n{_THOUGHT}"), "finish_reason": "length"}),
    ),
    "think-brackets": Quirk(
        "Mistral's Magistral",
        "",
        "a thought in [THINK] tags stands before the answer",
        alters=text_changed(lambda text: f"[THINK]{_THOUGHT}[/THINK]{text}"),
    ),
    "reasoning-content": Quirk(
        "DeepSeek, vLLM, SGLang",
        "vllm-project/vllm#37558",
        "the thought stands in reasoning_content, beside the answer",
        alters=choice_changed(lambda text: _message(text, reasoning_content=_THOUGHT)),
    ),
    "reasoning-only": Quirk(
        "vLLM",
        "vllm-project/vllm#48863",
        "the first answer to each prompt has reasoning_content, and content null",
        alters=first_of(
            choice_changed(lambda _: {"message": {"role": "assistant", "content": None, "reasoning_content": _THOUGHT}})
        ),
    ),
    "harmony": Quirk(
        "gpt-oss on vLLM, llama.cpp",
        "vllm-project/vllm#45736",
        "the channels of harmony stand in the content",
        alters=text_changed(lambda text: f"{_HARMONY[0]}{text}{_HARMONY[1]}"),
    ),
    "harmony-bare": Quirk(
        "gpt-oss behind gateways",
        "",
        "the channels of harmony stand in the content, without their marks",
        alters=text_changed(lambda text: f"analysis{_THOUGHT}assistantfinal{text}"),
    ),
    "tail-im-end": Quirk(
        "Qwen, ChatML templates",
        "logancyang/obsidian-copilot#2284",
        "an answer ends in <|im_end|>",
        alters=text_changed(lambda text: f"{text}<|im_end|>"),
    ),
    "tail-eot": Quirk(
        "Llama 3",
        "logancyang/obsidian-copilot#2284",
        "an answer ends in <|eot_id|>",
        alters=text_changed(lambda text: f"{text}<|eot_id|>\n"),
    ),
    "tail-eos": Quirk(
        "Mistral, Llama 2",
        "logancyang/obsidian-copilot#2284",
        "an answer ends in </s>",
        alters=text_changed(lambda text: f"{text}</s>"),
    ),
    "tail-line": Quirk(
        "ChatML templates",
        "logancyang/obsidian-copilot#2284",
        "<|im_end|> stands at the end of the first line",
        alters=text_changed(
            lambda text: "<|im_end|>\n".join(text.split("\n", 1)) if "\n" in text else f"{text}<|im_end|>"
        ),
    ),
    "next-turn": Quirk(
        "templates without a stop token",
        "logancyang/obsidian-copilot#2284",
        "the model goes on with the user's next turn",
        alters=text_changed(lambda text: f"{text}<|im_end|>\n<|im_start|>user\nAnd what else?<|im_end|>"),
    ),
    "content-parts": Quirk(
        "Mistral",
        "mistralai/client-python#252",
        "content is a list of parts: a thought, then text",
        alters=choice_changed(lambda text: _message([*_PARTS, {"type": "text", "text": text}])),  # type: ignore[arg-type]
    ),
    "json-fence": Quirk(
        "MiniMax, Ollama, LM Studio",
        "microsoft/essex-toolkit#437",
        "JSON stands in a code fence",
        alters=text_changed(lambda text: f"```json\n{text}\n```" if text.startswith("{") else text),
    ),
    "hidden-characters": Quirk(
        "small models, scraped data",
        "opensanctions/poliloom#138",
        "NUL, ESC and direction marks stand among the words",
        alters=text_changed(lambda text: text.replace(" ", " \x00\x1b\u202e\u200b", 1)),
    ),
    "finish-eos": Quirk(
        "TGI",
        "huggingface/text-generation-inference#2344",
        'an answer that is whole ends with finish_reason "eos_token"',
        alters=choice_changed(lambda text: {"finish_reason": "eos_token"}),
    ),
    "finish-upper": Quirk(
        "Gemini's own API",
        "Rexhaif/fastllm#2",
        'an answer that is whole ends with finish_reason "STOP"',
        alters=choice_changed(lambda text: {"finish_reason": "STOP"}),
    ),
    "finish-error": Quirk(
        "OpenRouter",
        "crewAIInc/crewAI#7013",
        'the first answer to each prompt is half one, with finish_reason "error"',
        alters=_finish("error"),
    ),
    "finish-resource": Quirk(
        "DeepSeek",
        "apache/flink-agents#1040",
        'the first answer to each prompt is half one, with finish_reason "insufficient_system_resource"',
        alters=_finish("insufficient_system_resource"),
    ),
    "finish-model-length": Quirk(
        "Mistral",
        "apache/flink-agents#1040",
        'every answer is half one, with finish_reason "model_length"',
        alters=choice_changed(lambda text: {**_message(text[: len(text) // 2]), "finish_reason": "model_length"}),
    ),
    "finish-max-tokens": Quirk(
        "Gemini, Anthropic",
        "Portkey-AI/gateway#1200",
        'every answer is half one, with finish_reason "MAX_TOKENS"',
        alters=choice_changed(lambda text: {**_message(text[: len(text) // 2]), "finish_reason": "MAX_TOKENS"}),
    ),
    "finish-recitation": Quirk(
        "Gemini",
        "google-gemini-php/client#82",
        'every answer is withheld, with finish_reason "RECITATION"',
        alters=choice_changed(
            lambda text: {"message": {"role": "assistant", "content": None}, "finish_reason": "RECITATION"}
        ),
    ),
    "refusal": Quirk(
        "OpenAI, Azure",
        "openai/openai-agents-python#3055",
        "every answer is a refusal beside content null",
        alters=choice_changed(
            lambda _: {"message": {"role": "assistant", "content": None, "refusal": "I cannot help."}}
        ),
    ),
    "usage-null": Quirk(
        "gateways",
        "microsoft/autogen#2292",
        "usage is null",
        alters=lambda body, _: {**body, "usage": None},
    ),
    "usage-absurd": Quirk(
        "gateways",
        "",
        "the numbers of usage are negative, text, true or too large to be",
        alters=_usage(prompt_tokens=-5, completion_tokens="many", total_tokens=True, cost=-2.0),
    ),
    "no-choices": Quirk(
        "gateways",
        "nodetool-ai/nodetool#5755",
        "the first answer to each prompt has no choices",
        alters=first_of(changed("chat", lambda body: {**body, "choices": []})),
    ),
}
