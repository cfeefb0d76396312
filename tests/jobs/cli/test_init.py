"""`gristmill init`: the configuration that it writes, and when it writes none."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

from engine.errors import BadInput
from jobs.cli.init import asked_for
from jobs.cli.known_endpoints import KNOWN
from jobs.cli.main import main
from jobs.cli.starter import Wanted, starter
from jobs.config import Config
from jobs.run import configfile


def written(path: Path) -> Config:
    return configfile.validate(configfile.load(path))


def switched_on(text: str) -> str:
    """The text with every line in use that a # switches off."""
    return re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", KNOWN)
def test_every_endpoint_loads(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written for a known endpoint is a configuration with its address and the variable of its key."""
    path = tmp_path / "my.toml"
    assert main(["init", str(path), "--endpoint", name, "--model", "chat", "--embedding-model", "vectors"]) == 0
    known, models = KNOWN[name], written(path).models
    assert models.generator == models.base == models.judge
    assert models.generator.model == "chat"
    if known.base_url:
        assert (models.generator.base_url, models.generator.api_key_env) == (known.base_url, known.key_env)
        assert models.embedding.model == "vectors"
        assert all(getattr(models.generator, key) == value for key, value in known.further.items())
    assert f"--config {path}" in capsys.readouterr().out


@pytest.mark.parametrize("name", KNOWN)
def test_every_line_is_valid(name: str) -> None:
    """Each line that is switched off is valid too once it is switched on."""
    text = starter(Wanted(endpoint=name))
    assert len(tomllib.loads(switched_on(text))) > len(tomllib.loads(text)) + 6
    config = configfile.validate(tomllib.loads(switched_on(text)))
    assert config.budget.usd
    assert config.model("generator").priced
    assert not [line for line in text.splitlines() if len(line) > 120]


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if known.base_url.startswith("https://")])
def test_the_page_of_endpoints_has_it(name: str) -> None:
    """docs/endpoints.md says the same address and variable as the table does."""
    known, page = KNOWN[name], (ROOT / "docs" / "endpoints.md").read_text("utf-8")
    assert f'base_url = "{known.base_url}"' in page
    assert f'api_key_env = "{known.key_env}"' in page


def test_an_embedding_model_is_one_that_is_there() -> None:
    """Where the endpoint usually serves no embeddings, the embedded model stands in."""
    for name, known in KNOWN.items():
        models = configfile.validate(tomllib.loads(starter(Wanted(endpoint=name)))).models
        assert models.embedding.local == (not known.embeds or not known.base_url)


def test_a_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that exists stays as it is, and the command fails in one line."""
    path = tmp_path / "my.toml"
    path.write_text("mine", "utf-8")
    assert main(["init", str(path), "--endpoint", "openai"]) == 1
    assert path.read_text("utf-8") == "mine"
    assert "is not overwritten" in capsys.readouterr().err


def test_no_key_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the key in the variable nor a password in an address gets into a file or a message."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    path = tmp_path / "my.toml"
    assert main(["init", str(path), "--endpoint", "openai"]) == 0
    assert "secret" not in path.read_text("utf-8") + "".join(capsys.readouterr())
    other = tmp_path / "other.toml"
    assert main(["init", str(other), "--endpoint", "other", "--base-url", "https://me:secret@host/v1"]) == 1
    assert not other.exists()
    assert "secret" not in "".join(capsys.readouterr())


def test_without_a_terminal_it_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can answer, one line says which flag answers."""
    assert main(["init"]) == 1
    assert "--endpoint" in capsys.readouterr().err
    assert main(["init", "--model", "chat"]) == 1
    assert "go with --endpoint" in capsys.readouterr().err


def test_any_answer_is_text() -> None:
    """Quotes, backslashes and control characters of an answer come back as they were."""
    strange = 'a"b\\c\n\x7f\t[x] = é'
    config = configfile.validate(tomllib.loads(starter(Wanted(endpoint="openai", model=strange))))
    assert config.models.generator.model == strange


def wanted_by(*lines: str) -> tuple[Wanted, list[str]]:
    """What is asked for with these answers, and the questions."""
    asked: list[str] = []
    left = iter(lines)

    def ask(question: str) -> str:
        asked.append(question)
        return next(left)

    wanted = asked_for(ask)
    assert not list(left), "an answer was not asked for"
    return wanted, asked


def test_the_questions() -> None:
    """Only what the endpoint needs is asked for, and an empty answer takes the default."""
    assert wanted_by("")[0] == Wanted(endpoint="embedded")
    assert wanted_by("openai", "chat", "vectors")[0] == Wanted(
        endpoint="openai", model="chat", embedding_model="vectors"
    )
    wanted, asked = wanted_by("vllm", "http://gpu:8000/v1", "chat", "local")
    assert wanted == Wanted(endpoint="vllm", base_url="http://gpu:8000/v1", model="chat")
    assert all(name in asked[0] for name in KNOWN)
    assert wanted_by("opanai", "groq", "", "")[0] == Wanted(endpoint="groq")
    assert wanted_by("azure", "", "", "")[1][1] == f"Its address? [{KNOWN['azure'].base_url}] "


def test_a_name_that_is_never_right() -> None:
    """After three names that are not in the list one line names those that are."""
    with pytest.raises(BadInput, match="one of openai, azure"):
        wanted_by("a", "b", "c")


def test_batches_are_shown_where_the_provider_has_them() -> None:
    """The key of batches stands in the file of an endpoint that has OpenAI's Batch API, and in no other."""
    shown = {name for name in KNOWN if "\n# batch = true\n" in starter(Wanted(endpoint=name))}
    assert shown == {"openai", "azure", "groq", "together", "litellm"}
