"""The text of a new configuration: what an endpoint needs, and below it the keys that most runs change, commented out.

The comments are the descriptions of the keys, so they say what docs/configuration.md says. The text holds the name of
the variable of an API key, never a key.
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import BadInput
from jobs.cli.known_endpoints import KNOWN
from jobs.config import Config
from jobs.config.models import Model
from jobs.config.section import Section
from jobs.run import configfile

__all__ = ["Wanted", "starter"]

_WIDTH = 100
_SUGGESTED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("ask", {"questions_per_chunk": 2, "max_questions": 100}),
    ("answer", {"quotes": True}),
    ("curate", {"critic": True}),
    ("augment", {"top_k": 2, "distractors": 2}),
    ("split", {"train": 0.7}),
    ("finetune", {"backend": "openai"}),
    ("evaluate", {"sample": 50, "metrics": ["token_f1"], "without_retrieval": True}),
    ("budget", {"usd": 5.0}),
)
"""The keys of each section that are shown, with values that differ from the default where that says more."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration is written for; "" leaves the choice to the table of endpoints, or a name to fill in."""

    endpoint: str
    base_url: str = ""
    model: str = ""
    embedding_model: str = ""


def starter(wanted: Wanted) -> str:
    """The TOML text. Raises `BadInput` where it would not be a configuration, as for an address that holds a password."""
    text = "\n".join([_head(wanted), *_models(wanted), *_suggestions(), *_prices(wanted)])
    try:
        configfile.validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"an answer cannot stand in a TOML file: {error}") from error
    return text


def _head(wanted: Wanted) -> str:
    return (
        f"# The configuration of a run with {KNOWN[wanted.endpoint].title}.\n"
        "# Lines that begin with ## explain. Lines that begin with # are switched off: remove the # to use one.\n"
        "# docs/configuration.md has all keys.\n"
    )


def _models(wanted: Wanted) -> list[str]:
    known = KNOWN[wanted.endpoint]
    base_url = wanted.base_url or known.base_url
    if not base_url:
        return [
            "[models]",
            _about('All models run on this machine, under llama.cpp. This needs the extra "embedded".'),
            f'model = "{wanted.model or "local"}"\n',
        ]
    lines = ["[models]", _about("What holds for every role: generator, base, judge and embedding.")]
    if base_url != base_url.lower() and not wanted.base_url:
        lines.append(_about("Put your own names in place of the words in capitals."))
    lines.append(f"base_url = {_value(base_url)}")
    if known.key_env:
        lines.append(_about("The environment variable that holds the key. The key itself belongs in no file."))
    lines += [f"api_key_env = {_value(known.key_env)}"]
    lines += [f"{key} = {_value(value)}" for key, value in known.further.items()]
    lines.append(f"model = {_value(wanted.model or 'your-model')}")
    if known.hint:
        lines.append(f"# {known.hint}")
    limits = {"max_concurrency": 32, "requests_per_minute": 500, "tokens_per_minute": 200000}
    lines += _optional(Model, limits | ({"batch": True} if known.batches else {}))
    return [*lines, "", *_other_roles(), *_embedding(wanted)]


def _other_roles() -> list[str]:
    return [
        "# [models.judge]",
        _about("A role can have a model of its own. Any key of [models] can stand here."),
        '# model = "another-model"',
        "",
    ]


def _embedding(wanted: Wanted) -> list[str]:
    known, lines = KNOWN[wanted.endpoint], ["[models.embedding]"]
    if wanted.embedding_model or known.embeds:
        if "DEPLOYMENT" in known.base_url:
            address = known.base_url.replace("DEPLOYMENT", "EMBEDDING_DEPLOYMENT")
            lines += [_about("An embedding model has a deployment of its own."), f"base_url = {_value(address)}"]
        return [*lines, f"model = {_value(wanted.embedding_model or 'your-embedding-model')}", ""]
    return [
        *lines,
        _about('"local" is MiniLM on this machine. It needs the extra "embedded".'),
        'model = "local"',
        _about("Or the address of a server of embeddings."),
        '# base_url = "http://localhost:8081/v1"',
        "",
    ]


def _suggestions() -> list[str]:
    lines = []
    for name, keys in _SUGGESTED:
        section = Config.model_fields[name].annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        lines += [f"# [{name}]", *_optional(section, keys), ""]
    return lines


def _prices(wanted: Wanted) -> list[str]:
    model = wanted.model or "your-model"
    return [
        f"# [prices.{_value(model)}]",
        _about("A budget in dollars needs the price of every model."),
        "# input_usd_per_million = 0.5",
        "# output_usd_per_million = 2.0",
        "",
    ]


def _optional(section: type[Section], keys: Mapping[str, Any]) -> list[str]:
    """Each key, switched off, below its description."""
    lines = []
    for key, value in keys.items():
        lines += [_about(section.model_fields[key].description or ""), f"# {key} = {_value(value)}"]
    return lines


def _about(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="## ", subsequent_indent="## ", break_on_hyphens=False)


def _value(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
