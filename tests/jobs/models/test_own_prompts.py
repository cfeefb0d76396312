"""A user's own prompts: where they are read from, what they must hold, and what a run keeps of them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from jobs.config import Config
from jobs.models.prompts import filled, places
from jobs.models.prompts.replaced import PLACES, with_own_prompts
from jobs.run import configfile

REMOTE = {role: {"model": "m"} for role in ("generator", "base", "judge", "embedding")}
GOOD = {
    "ask": "Write {count} questions about this:\n{text}",
    "answer": "{question}\n\n{text}",
    "critic": 'Rate {question} / {answer} by {text} as {"grounded": 1}.',
    "judge": "Is {response} as good as {reference} for {question}?",
}


def resolved(table: dict[str, Any], before: Config | None = None) -> Config:
    table = {"models": REMOTE, **table}
    return with_own_prompts(configfile.validate(table).resolved(papers=30, before=before), table, before)


def texts(**prompts: str) -> dict[str, Any]:
    return {"prompts": {"texts": prompts}}


def test_every_prompt_has_its_places() -> None:
    """The keys of [prompts] are those that have places, and each says which it needs."""
    assert set(PLACES) == set(Config().prompts.model_fields_set | {*type(Config().prompts).model_fields} - {"texts"})
    for name, known in PLACES.items():
        said = type(Config().prompts).model_fields[name].description or ""
        assert all(f"{{{word}}}" in said for word in known.needed)


def test_filling_in() -> None:
    """A name in braces is filled in once; JSON, doubled braces and braces in what is filled in stay."""
    template = 'Say {text} as {"a": {"b": 1}} or {{text}}, not {other}.'
    assert filled(template, text="{other}") == 'Say {other} as {"a": {"b": 1}} or {text}, not {other}.'
    assert [word for _, word in places(template)] == ["text", "other"]


def test_good_prompts_are_kept_as_they_are() -> None:
    """Each prompt may be given as a text, and its hash is what its job is known by."""
    config = resolved(texts(**GOOD))
    assert {name: config.prompts.text(name) for name in GOOD} == GOOD
    marks = [config.prompts.mark(name)["prompt"] for name in GOOD]
    assert len(set(marks)) == 4
    assert all(mark.startswith("sha256 ") for mark in marks)
    assert Config().prompts.mark("ask") == {}


def test_files_lie_beside_the_configuration(tmp_path: Path) -> None:
    """A name is looked for beside the file that says it, whatever the working folder; a byte order mark is no text."""
    (tmp_path / "ask.txt").write_bytes(b"\xef\xbb\xbf" + GOOD["ask"].replace("\n", "\r\n").encode() + b"\n")
    (tmp_path / "mill.toml").write_text('[prompts]\nask = "ask.txt"\n', "utf-8")
    table = configfile.load(tmp_path / "mill.toml")
    config = with_own_prompts(configfile.validate({**table, "models": REMOTE}).resolved(papers=30), table, None)
    assert config.prompts.text("ask") == GOOD["ask"]


def test_a_flag_names_a_file_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every path on a command line."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "ask.txt").write_text(GOOD["ask"], "utf-8")
    (tmp_path / "mill.toml").write_text("seed = 1\n", "utf-8")
    monkeypatch.chdir(tmp_path / "here")
    table = configfile.load(tmp_path / "mill.toml")
    configfile.assign(table, ["prompts.ask=ask.txt"])
    config = with_own_prompts(configfile.validate({**table, "models": REMOTE}).resolved(papers=30), table, None)
    assert config.prompts.text("ask") == GOOD["ask"]


def test_a_run_keeps_the_text(tmp_path: Path) -> None:
    """run.toml holds it, line by line; a run goes on with it, and where the file is gone, too."""
    (tmp_path / "ask.txt").write_text(GOOD["ask"], "utf-8")
    given = {"prompts": {"ask": str(tmp_path / "ask.txt")}}
    config = resolved(given)
    (tmp_path / "ask.txt").unlink()
    kept = configfile.dump(config).decode()
    assert '"""' in kept
    assert GOOD["ask"] in kept
    again = configfile.validate(tomllib.loads(kept))
    assert again == config
    assert resolved(tomllib.loads(kept), before=config) == config
    assert resolved(given, before=config) == config
    with pytest.raises(BadInput, match=r"prompts.ask: cannot read .*ask.txt: No such file"):
        resolved({"prompts": {"ask": str(tmp_path / "other" / "ask.txt")}}, before=config)


def test_texts_that_toml_would_change_are_kept_as_they_are() -> None:
    """A carriage return or a row of quotation marks in any text of the configuration comes back as it was."""
    for text in ("{text}\r\n{count}", '{text} """" {count}\n\\', "{text}\n{count}\x0b"):
        config = resolved({**texts(ask=text), "export": {"system_prompt": "a\r\nb"}})
        assert configfile.validate(tomllib.loads(configfile.dump(config).decode())) == config


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("ask", "Ask about this:\n{text}", "{count} is missing; the prompt ask must hold {text} and {count}"),
        ("ask", "Ask.", "{text} and {count} is missing"),
        ("answer", "{question}", "{text} is missing"),
        (
            "critic",
            "{text} {question}",
            "{answer} is missing; the prompt critic must hold {text}, {question} and {answer}",
        ),
        ("judge", "{question} {response}", "{reference} is missing"),
        (
            "ask",
            "{text}\n\n{count} {chunk}",
            "line 3: nothing fills in {chunk}; the prompt ask may hold {text}, {count},",
        ),
        (
            "ask",
            "{text} {count} {types}",
            "nothing fills in {types}; the prompt ask may hold {text}, {count}, {title} and",
        ),
        ("judge", "{question}\n{context_str}", "line 2: nothing fills in {context_str}"),
    ],
)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_prompt_without_its_places_is_refused(name: str, text: str, said: str, by_file: bool, tmp_path: Path) -> None:
    """One line: which prompt, in which line, what is missing or what nothing fills in, and what may stand there."""
    (tmp_path / "my.txt").write_text(text, "utf-8")
    given: dict[str, Any] = {"prompts": {name: str(tmp_path / "my.txt")}} if by_file else texts(**{name: text})
    with pytest.raises(BadInput) as refused:
        resolved(given)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "my.txt") if by_file else f"prompts.texts.{name}")
    assert "\n" not in str(refused.value)


def test_files_that_are_no_prompts(tmp_path: Path) -> None:
    """A missing, a foreign and an empty file are named, with their key."""
    (tmp_path / "empty.txt").write_text(" \n", "utf-8")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for name, said in (
        ("none.txt", "No such file"),
        ("empty.txt", "is empty"),
        ("latin.txt", "not UTF-8"),
        ("", "director"),
    ):
        with pytest.raises(BadInput, match=said) as refused:
            resolved({"prompts": {"judge": str(tmp_path / name)}})
        assert str(refused.value).startswith("prompts.judge: ")


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({"ask": " "}, "prompts.texts.ask is empty"),
        ({"asks": "x"}, "prompts.texts.asks: there is no such prompt; known: ask"),
    ],
)
def test_texts_that_are_none(prompts: dict[str, str], said: str) -> None:
    """An empty text and an unknown name are faults of the configuration."""
    with pytest.raises(BadInput, match=said):
        resolved(texts(**prompts))


def test_a_prompt_that_would_never_be_sent_is_refused() -> None:
    """Where answers are written with their questions, and where an answer must quote and is not told so."""
    with pytest.raises(BadInput, match='"grounded" writes each answer with its question'):
        resolved({"ask": {"recipe": "grounded"}, **texts(answer=GOOD["answer"])})
    with pytest.raises(BadInput, match="<quote> is missing"):
        resolved({"answer": {"quotes": True}, **texts(answer=GOOD["answer"])})
    with pytest.raises(
        BadInput, match=r"\{types\} is missing; the prompt ask must hold \{text\}, \{count\} and \{types\}"
    ):
        resolved({"ask": {"types": {"why": 1.0}}, **texts(ask=GOOD["ask"])})
    quoting = "{text} Quote between <quote> and </quote>, then answer {question}"
    assert resolved({"answer": {"quotes": True}, **texts(answer=quoting)}).prompts.text("answer") == quoting
