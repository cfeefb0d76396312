"""How one server wants its requests: what is configured, and what its refusals teach.

A refusal that names a parameter is answered by asking once the other way. What was learned holds for the run, for every
request to that model, and is said once. Nothing of it changes what an answer means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engine.requests import Request
from jobs.config import Model
from jobs.models.openai.words import MODERATED, Words

__all__ = ["Dialect", "Form", "Length", "dialect_of"]

Length = Literal["max_tokens", "max_completion_tokens", "none"]
Form = Literal["json_schema", "json_object", "none"]


@dataclass(slots=True, kw_only=True)
class Dialect:
    """What the requests of one model look like. ``most_texts`` and ``alternatives`` are None while no bound is known."""

    length: Length
    temperature: bool
    form: Form
    system: bool
    encoding: Literal["float", "base64", "none"]
    most_texts: int | None
    alternatives: int | None = None
    stream_options: bool = True
    version: int = 0
    _refused_lengths: frozenset[str] = frozenset()

    def learn(self, words: Words, request: Request) -> str | None:
        """Change what the refusal of `request` names.

        Returns the line that says what is done from now on, None where nothing known is named. ``version`` counts what
        was learned. Words that are quoted from the prompt, and those about its length or content, teach nothing.
        """
        if words.has("context length", "context_length", "context window", *MODERATED):
            return None  # such a refusal may name a parameter too, but it is the prompt that is not taken
        words = words.without(text for text in (*request.texts, *(each["content"] for each in request.messages)))
        if request.texts:
            line = self._learn_encoding(words) or self._learn_batch(words, len(request.texts))
        else:
            line = self._learn_parameter(words, request)
        self.version += line is not None
        return line

    def _learn_parameter(self, words: Words, request: Request) -> str | None:
        has_system = any(message["role"] == "system" for message in request.messages)
        for lesson, sent in (
            (self._learn_length, True),
            (self._learn_temperature, True),
            (self._learn_form, request.schema is not None),
            (self._learn_system, has_system),
            (self._learn_alternatives, request.alternatives > 0),
            (self._learn_stream, True),
        ):
            if sent and (line := lesson(words)):
                return line
        return None

    def _learn_length(self, words: Words) -> str | None:
        if self.length == "none" or not _names(words, self.length):
            return None
        if not (_refuses(words) or words.has("max_completion_tokens", "use 'max_tokens'")):
            return None
        self._refused_lengths |= {self.length}
        others: tuple[Length, ...] = ("max_completion_tokens", "max_tokens")
        self.length = next((name for name in others if name not in self._refused_lengths), "none")
        if self.length == "none":
            return 'it takes no bound on the length of an answer: none is sent (max_tokens_field = "none")'
        return f'it bounds an answer by {self.length} (max_tokens_field = "{self.length}")'

    def _learn_temperature(self, words: Words) -> str | None:
        if not self.temperature or not _names(words, "temperature"):
            return None
        if not (_refuses(words) or words.has("only", "must be", "invalid", "cannot")):
            return None
        self.temperature = False
        return "it takes no temperature of ours: it is left out, and the server's own holds"

    def _learn_form(self, words: Words) -> str | None:
        named = _names(
            words, "response_format", "json_schema", "guided_json", "structured output", "json mode", "grammar"
        )
        if self.form == "none" or not (named or words.has("json_object", "structured_outputs", "response format")):
            return None
        self.form = "json_object" if self.form == "json_schema" else "none"
        asked = (
            "any JSON object, and told its form in words" if self.form == "json_object" else "told the form in words"
        )
        return f'it takes no {"JSON schema" if self.form == "json_object" else "response_format"}: it is {asked} (response_format = "{self.form}")'

    def _learn_system(self, words: Words) -> str | None:
        named = _names(
            words, "system role", "system message", "system prompt", "'system'", '"system"', "role system"
        ) or (words.has("system") and words.has("role", "instruction"))
        if not self.system or not (named or words.has("roles must alternate", "must alternate between user")):
            return None
        self.system = False
        return "it takes no system role: the system prompt stands before the user's words (system_role = false)"

    def _learn_alternatives(self, words: Words) -> str | None:
        if not _names(words, "top_logprobs"):
            return None
        bounds = [int(number) for number in re.findall(r"\b\d{1,2}\b", words.message) if 0 < int(number) < 20]
        most = max(bounds, default=5)
        if self.alternatives is not None and most >= self.alternatives:
            return None
        self.alternatives = most
        return f"it tells at most {most} alternatives of a token"

    def _learn_encoding(self, words: Words) -> str | None:
        if self.encoding == "none" or not _names(words, "encoding_format"):
            return None
        self.encoding = "none"
        return 'it takes no encoding_format: it is left out (encoding_format = "none")'

    def _learn_batch(self, words: Words, texts: int) -> str | None:
        """A bound on the texts of one request, which servers tell among other numbers."""
        if texts < 2 or not words.has("batch", "inputs", "input array", "array", "too many", "at most"):
            return None
        bounds = [int(number) for number in re.findall(r"\b\d{1,5}\b", words.message)]
        self.most_texts = max((number for number in bounds if 0 < number < texts), default=texts // 2)
        return f"it embeds at most {self.most_texts} texts in one request (batch_size = {self.most_texts})"

    def _learn_stream(self, words: Words) -> str | None:
        if not self.stream_options or not _names(words, "stream_options"):
            return None
        self.stream_options = False
        return "it takes no stream_options: they are left out"


def dialect_of(model: Model, host: str | None) -> Dialect:
    """What is configured for `model`, and what is known of OpenAI's own host and Azure's."""
    newer = host is not None and (host == "api.openai.com" or host.endswith(".openai.azure.com"))
    length: Length = "max_completion_tokens" if newer else "max_tokens"
    return Dialect(
        length=length if model.max_tokens_field == "auto" else model.max_tokens_field,
        temperature=model.temperature != "default",
        form="json_schema" if model.response_format == "auto" else model.response_format,
        system=model.system_role,
        encoding=model.encoding_format,
        most_texts=None,
    )


def _names(words: Words, *parameters: str) -> bool:
    return words.parameter.casefold().split(".")[0].split("[")[0] in parameters or words.has(*parameters)


def _refuses(words: Words) -> bool:
    """Whether the server has something against the parameter itself, not against its value."""
    return words.has(
        *(
            "unsupported",
            "not supported",
            "unrecognized",
            "unknown",
            "not permitted",
            "extra inputs",
            "extra_forbidden",
        ),
        *("does not support", "not allowed", "unexpected", "unrecognised", "deprecated", "no longer", "not a valid"),
        *("invalid parameter", "isn't supported", "forbidden"),
    )
