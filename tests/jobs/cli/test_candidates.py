from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from jobs.cli.candidates import add_candidates
from jobs.config import Model
from jobs.run.configfile import validate

BASE = {"model": "small", "base_url": "https://one.example/v1", "api_key_env": "ONE_KEY", "temperature": 0.3}
REMOTE: dict[str, Any] = {
    "models": {"base": BASE, "judge": {"model": "j", "base_url": "https://two.example/v1", "api_key_env": "TWO"}}
}


def added(*models: str, table: dict[str, Any] | None = None, answered: tuple[str, ...] = ()) -> dict[str, Model]:
    """The candidates after these ``--model``."""
    found = validate(table or REMOTE).model_dump(exclude_none=True)
    add_candidates(found, models, answered=answered)
    return validate(found).models.candidates


def test_a_model_at_the_bases_address() -> None:
    """A bare name is a model where the base is, asked with its key, temperature and lengths, without its price."""
    priced = {"models": {"base": {**BASE, "input_usd_per_million": 1, "max_concurrency": 2, "max_tokens": 77}}}
    model = added("rival=big", table=priced)["rival"]
    assert (model.model, model.base_url, model.api_key_env) == ("big", "https://one.example/v1", "ONE_KEY")
    assert (model.temperature, model.max_tokens) == (0.3, 77)
    assert (model.input_usd_per_million, model.max_concurrency) == (None, None)


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("big@https://one.example/other/v1", "ONE_KEY"),
        ("big@https://two.example/v1", "TWO"),
        ("big@https://three.example/v1", ""),
        ("big@http://one.example/v1", ""),
        ("big@https://one.example.evil/v1", ""),
        ("big@https://api.openai.com/v1", "OPENAI_API_KEY"),
    ],
)
def test_a_key_goes_nowhere_else(spec: str, key: str) -> None:
    """A model elsewhere is sent the key only of a host that the configuration sends it to already."""
    model = added(f"rival={spec}")["rival"]
    assert (model.model, model.base_url, model.api_key_env) == ("big", spec.removeprefix("big@"), key)


def test_a_name_with_signs() -> None:
    """Names of models hold @, : and =; an address begins at @http."""
    assert added("a=@cf/meta/llama")["a"].model == "@cf/meta/llama"
    assert added("a=ft:gpt=x:org@https://e.example/v1")["a"].model == "ft:gpt=x:org"


def test_local_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model, and a file, which is found from anywhere later."""
    (tmp_path / "some.gguf").touch()
    monkeypatch.chdir(tmp_path)
    found = added("embedded=local", "file=local:some.gguf")
    assert found["embedded"].model == "local"
    assert found["file"].model == f"local:{tmp_path / 'some.gguf'}"
    assert found["file"].temperature == 0.3


def test_the_same_again_changes_nothing() -> None:
    """The command that is run again keeps a candidate as it is, with the settings that it was given since."""
    limited = {"model": "big", "base_url": "https://one.example/v1", "requests_per_minute": 5.0}
    table = {"models": {**REMOTE["models"], "candidates": {"rival": limited}}}
    assert added("rival=big", table=table, answered=("rival",))["rival"].requests_per_minute == 5


def test_another_model_under_a_name() -> None:
    """A name is given anew only while its model has answered nothing, as after a mistyped one."""
    table = {"models": {**REMOTE["models"], "candidates": {"rival": {"model": "bgi", "base_url": BASE["base_url"]}}}}
    assert added("rival=big", table=table)["rival"].model == "big"
    with pytest.raises(BadInput, match="in this run that is bgi; choose another name"):
        added("rival=big", table=table, answered=("rival",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("big", "--model takes NAME=MODEL, NAME=MODEL@BASE_URL"),
        ("=big", "--model takes"),
        ("rival=", "--model takes"),
        ("a b=big", "cannot name a candidate"),
        ("base=big", "a candidate cannot be called 'base'"),
        ("rival=local:nowhere.gguf", "there is no model file"),
        ("rival=@https://one.example/v1", "models.candidates.rival.model"),
        ("rival=big@https://me:secret@one.example/v1", "an address must hold no credentials"),
    ],
)
def test_what_is_no_model(text: str, said: str) -> None:
    """A mistake is one line that says how it is written, and repeats no secret."""
    with pytest.raises(BadInput) as caught:
        added(text)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_base_that_runs_here() -> None:
    """Where the base has no address, a bare name says nothing."""
    with pytest.raises(BadInput, match="write rival=big@BASE_URL"):
        added("rival=big", table={"models": {}})
