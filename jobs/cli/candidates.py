"""Candidates from the command line: what ``gristmill evaluate --model NAME=SPEC`` means, as sections of run.toml.

A SPEC is a model at the base's address (``MODEL``), at another address (``MODEL@BASE_URL``), the embedded one
(``local``) or a file that llama.cpp reads (``local:FILE.gguf``). All other settings are those of the base, so that only
the model differs. A key is sent only to the addresses for which the configuration names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from jobs.config import Config, Model
from jobs.run.configfile import validate

__all__ = ["SPECS", "add_candidates", "drop_candidates"]

SPECS = "NAME=MODEL, NAME=MODEL@BASE_URL, NAME=local or NAME=local:FILE.gguf"

_LIKE_THE_BASE = {"temperature", "max_tokens", "timeout_s"}


def add_candidates(table: dict[str, Any], models: Iterable[str], *, answered: Collection[str] = ()) -> None:
    """Add each of `models` (NAME=SPEC) to the configuration `table`; one that is there already stays as it is.

    Raises `BadInput` for an invalid SPEC, and for another model under the name of one that has `answered`.
    """
    config = validate(table)
    candidates = table.setdefault("models", {}).setdefault("candidates", {})
    for text in models:
        name, equals, spec = text.partition("=")
        if not (name and equals and spec):
            raise BadInput(f"--model takes {SPECS}")
        wanted, there = _section(name, spec, config), config.models.candidates.get(name)
        if there is None or not _same(there, wanted):
            if there is not None and name in answered:
                raise BadInput(f"--model {name}: in this run that is {there.model}; choose another name")
            candidates[name] = wanted


def drop_candidates(table: dict[str, Any], names: Iterable[str]) -> None:
    """Remove each of `names` from the configuration `table`. Raises `BadInput` for a name that is no candidate."""
    candidates = table.get("models", {}).get("candidates", {})
    for name in names:
        if name not in candidates:
            known = ", ".join(candidates) or "none"
            raise BadInput(f"--drop-model {name}: there is no such candidate; the candidates are: {known}")
        del candidates[name]


def _section(name: str, spec: str, config: Config) -> dict[str, Any]:
    base = config.models.base
    like = base.model_dump(include=_LIKE_THE_BASE)
    model, at, url = spec.partition("@http")
    if at:
        return {**like, "model": model, "base_url": f"http{url}", "api_key_env": _key_for(f"http{url}", config)}
    if spec == "local":
        return {**like, "model": spec}
    if spec.startswith("local:"):
        file = Path(spec.removeprefix("local:")).absolute()
        if not file.is_file():
            raise BadInput(f"--model {name}: there is no model file {file}")
        return {**like, "model": f"local:{file}"}
    if base.local:
        raise BadInput(f"--model {name}: [models.base] runs here and has no address; write {name}={spec}@BASE_URL")
    return {**like, "model": spec, "base_url": base.base_url, "api_key_env": base.api_key_env}


def _key_for(url: str, config: Config) -> str:
    """The variable of the key that the configuration sends to this host already; "" if it sends none there."""
    known = [*(model for model in config.models.sections().values() if not model.local), Model()]
    return next((model.api_key_env for model in known if _host(model.base_url) == _host(url)), "")


def _host(url: str) -> list[str]:
    return url.split("/")[:3]


def _same(there: Model, wanted: dict[str, Any]) -> bool:
    return there.model == wanted["model"] and (there.local or there.base_url == wanted["base_url"])
