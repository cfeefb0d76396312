"""The sections of models: which model plays which role, where it is, what limits it has, and what it costs."""

from __future__ import annotations

import os
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from engine.errors import BadInput
from jobs.config.section import Section

__all__ = ["Model", "Models", "Price", "api_key"]

_CACHED = "Dollars per million input tokens that the provider's cache holds. Unset: the price of input."
_WRITTEN = "Dollars per million input tokens that are written to the provider's cache. Unset: the price of input."
_REASONING = "Dollars per million tokens of thought. Unset: the price of output."
_DISCOUNT = (
    'Share of the price that is let off for an answer from a batch, or one whose service tier is "batch" or "flex". '
    "Unset: 0.5 where batch is true, else 0."
)


class Model(Section):
    """The model of one role, or one candidate."""

    model: str = Field(
        "local",
        min_length=1,
        description='Name of the model at its endpoint. "local" is the embedded model, "local:FILE.gguf" a file that '
        'llama.cpp reads, "local:FOLDER" a Hugging Face folder (this needs the extra "lora").',
    )
    provider: str = Field(
        "openai",
        description='What the endpoint speaks. "openai" is the OpenAI API, which most servers speak.',
    )
    base_url: str = Field(
        "https://api.openai.com/v1",
        description="Address of the endpoint, which speaks the OpenAI API: "
        "http://, https://, or unix:///PATH/TO/SOCKET.",
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        description='Name of the environment variable that holds the API key. "" sends no key.',
    )
    requests_per_minute: float | None = Field(
        None,
        gt=0,
        description="Most requests per minute. Unset: what the endpoint's headers say, if they say it.",
    )
    tokens_per_minute: float | None = Field(
        None,
        gt=0,
        description="Most tokens per minute, input and output together. Unset: what the endpoint's headers say, if they "
        "say it.",
    )
    max_concurrency: int | None = Field(
        None,
        gt=0,
        description="Most requests in flight at the same time. Unset: found during the run, from how the endpoint "
        "responds.",
    )
    ca_file: str = Field("", description="PEM file of further CAs that may sign the server's certificate.")
    client_cert: str = Field("", description="PEM file of the certificate to show to a server that asks for one.")
    client_key: str = Field("", description="PEM file of the certificate's key, where it is in a file of its own.")
    timeout_s: float = Field(120, gt=0, description="Seconds that one request may take before it is tried again.")
    temperature: float | Literal["default"] = Field(
        0.0, description='Sampling temperature. "default" leaves it out of the request.'
    )
    max_tokens: int = Field(1024, gt=0, description="Most tokens of one answer.")
    batch_size: int = Field(64, gt=0, description="Most texts in one embedding request.")
    batch_tokens: int | None = Field(
        None,
        gt=0,
        description="Most tokens in one embedding request, counted as three characters each. Unset: no bound.",
    )
    extra_headers: dict[str, str] = Field(
        {}, description="Further headers of every request. A key belongs into api_key_env."
    )
    extra_query: dict[str, str] = Field(
        {}, description='Further query of every address, as api-version = "2024-10-21".'
    )
    extra_body: dict[str, Any] = Field(
        {},
        description="Further keys of every request's JSON, as reasoning_effort, chat_template_kwargs, provider or "
        "service_tier. They stand above what gristmill writes itself.",
    )
    key_header: str = Field("Authorization", min_length=1, description='Header that carries the key, as "api-key".')
    key_scheme: str = Field("Bearer", description='Word before the key in its header. "" is none.')
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens", "none"] = Field(
        "auto",
        description='Name of the parameter that bounds an answer. "auto" learns it from the endpoint; "none" sends none.',
    )
    system_role: bool = Field(
        True, description="Whether the endpoint takes a system role. If not, its words stand before the user's."
    )
    response_format: Literal["auto", "json_schema", "json_object", "none"] = Field(
        "auto",
        description='How the endpoint is asked for JSON. "auto" begins with a schema and learns from a refusal; "none" '
        "asks in words alone.",
    )
    encoding_format: Literal["float", "base64", "none"] = Field(
        "none", description='How embeddings are to be sent. "none" leaves it to the endpoint; both are read.'
    )
    dimensions: int | None = Field(None, gt=0, description="Numbers of an embedding, where the endpoint can choose.")
    query_prefix: str = Field("", description='Words before a question that is embedded, as "query: " for E5.')
    passage_prefix: str = Field("", description='Words before a chunk that is embedded, as "passage: " for E5.')
    query_input_type: str = Field("", description='input_type of questions, as "search_query" for Cohere.')
    passage_input_type: str = Field("", description='input_type of chunks, as "search_document" for Cohere.')
    input_usd_per_million: float | None = Field(
        None, ge=0, description="Dollars per million input tokens. Unset: the price in [prices]."
    )
    output_usd_per_million: float | None = Field(
        None, ge=0, description="Dollars per million output tokens. Unset: the price in [prices]."
    )
    cached_input_usd_per_million: float | None = Field(None, ge=0, description=_CACHED)
    cache_write_usd_per_million: float | None = Field(None, ge=0, description=_WRITTEN)
    reasoning_usd_per_million: float | None = Field(None, ge=0, description=_REASONING)
    batch_discount: float | None = Field(None, ge=0, le=1, description=_DISCOUNT)
    batch: bool = Field(
        False,
        description="Whether requests go to the provider's Batch API: for about half the price, within batch_window. In "
        "[models] itself it holds for every role that is not local.",
    )
    batch_window: str = Field(
        "24h",
        pattern=r"^[1-9][0-9]{0,3}[hd]$",
        description='Time in which the provider is to answer a batch, as "24h" or "7d". OpenAI takes "24h" alone.',
    )
    batch_rounds: int = Field(
        2,
        gt=0,
        description="Most batches that one request may stand in, where its row fails or expires. After that it is sent "
        "by itself, at the full price.",
    )
    batch_rows: int = Field(50_000, gt=0, description="Most requests in one batch.")
    batch_bytes: int = Field(190_000_000, gt=0, description="Most bytes in the file of one batch.")
    batch_enqueued_tokens: int | None = Field(
        None,
        gt=0,
        description="Most tokens of prompts that may wait in unfinished batches at the provider. Unset: learned where a "
        "batch is refused for it.",
    )

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        query = [part.partition("=")[0] for part in url.partition("?")[2].split("&")]
        if "@" in url.partition("//")[2].partition("/")[0] or any(map(_is_secret, query)):
            raise ValueError("an address must hold no credentials: put the key into the variable of api_key_env")
        return url

    @field_validator("extra_headers")
    @classmethod
    def _hold_no_key(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            low = name.casefold()
            if low.endswith(_KEYS) or any(word in low for word in ("authorization", "cookie", "credential")):
                raise ValueError(f"{name} carries a key: name it with key_header, and its variable with api_key_env")
            if not (
                name.isascii() and value.isascii() and name.isprintable() and value.isprintable() and ":" not in name
            ):
                raise ValueError(f"{name} is no header that can be sent")
        return headers

    @field_validator("extra_query")
    @classmethod
    def _holds_no_key(cls, query: dict[str, str]) -> dict[str, str]:
        for name in filter(_is_secret, query):
            raise ValueError(f"{name} carries a key: put the key into the variable of api_key_env")
        return query

    @field_validator("api_key_env")
    @classmethod
    def _names_a_variable(cls, name: str) -> str:
        if name and not (name.isascii() and name.isidentifier()):
            raise ValueError("it is the name of an environment variable, as OPENAI_API_KEY, and not the key itself")
        return name

    def headers(self, key: str) -> dict[str, str]:
        """The further headers of every request, and the one that carries `key`, none where that is ""."""
        return self.extra_headers | ({self.key_header: f"{self.key_scheme} {key}".strip()} if key else {})

    def meaning(self) -> dict[str, Any]:
        """What of the settings above decides what an answer or a vector means, where it is not the default."""
        names = ("extra_body", "dimensions", "query_prefix", "passage_prefix", "query_input_type", "passage_input_type")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    @property
    def local(self) -> bool:
        return self.model == "local" or self.model.startswith("local:")

    def asked(self) -> Model:
        """This model without its limits and prices: what decides whether it can be asked, and what it answers."""
        plain = Model()
        return self.model_copy(update={name: getattr(plain, name) for name in _BESIDE})

    @property
    def discount(self) -> float:
        """The share of the price that is let off for an answer from a batch."""
        return (0.5 if self.batch else 0.0) if self.batch_discount is None else self.batch_discount

    @property
    def window_s(self) -> float:
        """`batch_window` in seconds."""
        return int(self.batch_window[:-1]) * {"h": 3600.0, "d": 86400.0}[self.batch_window[-1]]

    @property
    def priced(self) -> bool:
        """Whether its cost is known: its price is stated, or it runs on this machine and is free."""
        return self.local or None not in (self.input_usd_per_million, self.output_usd_per_million)


_BESIDE = (
    "requests_per_minute",
    "tokens_per_minute",
    "max_concurrency",
    "timeout_s",
    "max_tokens",
    "batch_size",
    "input_usd_per_million",
    "output_usd_per_million",
    "cached_input_usd_per_million",
    "cache_write_usd_per_million",
    "reasoning_usd_per_million",
    "batch_discount",
    "batch",
    "batch_window",
    "batch_rounds",
    "batch_rows",
    "batch_bytes",
    "batch_enqueued_tokens",
)


class Price(Section):
    """The price of every model of this name that states none itself."""

    input_usd_per_million: float | None = Field(None, ge=0, description="Dollars per million input tokens.")
    output_usd_per_million: float | None = Field(
        None, ge=0, description="Dollars per million output tokens. An embedding model needs none."
    )
    cached_input_usd_per_million: float | None = Field(None, ge=0, description=_CACHED)
    cache_write_usd_per_million: float | None = Field(None, ge=0, description=_WRITTEN)
    reasoning_usd_per_million: float | None = Field(None, ge=0, description=_REASONING)
    batch_discount: float | None = Field(None, ge=0, le=1, description=_DISCOUNT)


class Models(Section):
    """The four roles, and further models to compare.

    The keys of a role may stand in [models] itself: there they hold for every role and candidate that does not say
    otherwise. `model` does so for all but the embedding.
    """

    generator: Model = Field(Model(), description="Writes the questions and the answers.")
    base: Model = Field(Model(), description="Is fine-tuned, and compared before and after.")
    judge: Model = Field(Model(), description="Scores the answers of the models.")
    embedding: Model = Field(Model(), description="Embeds chunks and questions.")
    candidates: dict[str, Model] = Field(
        {}, description="Further models to compare. NAME is the name of the row in the table."
    )

    @model_validator(mode="before")
    @classmethod
    def _shared(cls, table: Any) -> Any:
        """The keys that stand in [models] itself, put into each section that does not have them."""
        if not isinstance(table, dict):
            return table
        shared = {key: table[key] for key in table if key in Model.model_fields}
        if not shared:
            return table
        own = {key: value for key, value in table.items() if key not in shared}
        for role in ("generator", "base", "judge", "embedding"):
            given = {key: value for key, value in shared.items() if role != "embedding" or key != "model"}
            if isinstance(own.get(role, {}), dict):
                own[role] = _completed(own.get(role, {}), given)
        if isinstance(own.get("candidates"), dict):
            own["candidates"] = {
                name: _completed(model, shared) if isinstance(model, dict) else model
                for name, model in own["candidates"].items()
            }
        return own

    @field_validator("candidates")
    @classmethod
    def _have_names(cls, candidates: dict[str, Model]) -> dict[str, Model]:
        for name in candidates:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a candidate: take up to 40 letters, digits, - and _")
            if name.lower() in _TAKEN:
                raise ValueError(f"a candidate cannot be called {name!r}: that is a role; choose another name")
        return candidates

    def sections(self) -> dict[str, Model]:
        """Every model by the name of its section: the four roles, then "candidates.NAME" for each candidate."""
        roles = {role: getattr(self, role) for role in type(self).model_fields if role != "candidates"}
        return roles | {f"candidates.{name}": model for name, model in self.candidates.items()}


_SECRET = ("key", "token", "secret", "password", "sig", "auth")
_KEYS = ("key", "token", "secret", "password")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_TAKEN = {"generator", "base", "tuned", "judge", "embedding", "candidates"}


def _completed(own: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """A section with the shared keys that it does not have itself; a local model has no batches to take part in."""
    whole = shared | own
    local = str(whole.get("model", "local")).partition(":")[0] == "local"
    return {key: value for key, value in whole.items() if key != "batch" or key in own or not local}


def _is_secret(name: str) -> bool:
    """Whether a parameter of that name in an address carries a key."""
    return any(word in name.casefold() for word in _SECRET)


def api_key(model: Model, role: str) -> str:
    """The key of `model` from its environment variable; raises `BadInput` naming the variable when it cannot be used."""
    if not model.api_key_env:
        return ""
    key = os.environ.get(model.api_key_env, "").strip()
    if not key:
        raise BadInput(
            f"[models.{role}] needs a key: set the environment variable {model.api_key_env}, "
            'or api_key_env = "" for an endpoint that needs none'
        )
    if not (key.isascii() and key.isprintable()):
        raise BadInput(
            f"the environment variable {model.api_key_env} of [models.{role}] holds what no key can: a line break, a "
            "control character or a letter that is not ASCII; set it again"
        )
    return key
