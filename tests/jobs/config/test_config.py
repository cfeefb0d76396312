from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput
from jobs.config import Config, Model, api_key
from jobs.run.configfile import assign, dump, load, validate

POSITIVE = st.floats(1e-3, 1e9)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MODELS = st.builds(
    Model,
    model=TEXT.filter(bool),
    base_url=st.sampled_from(["https://api.openai.com/v1", "http://[::1]:80/v1", "http://host/a@b", "odd"]),
    api_key_env=st.sampled_from(["", "OPENAI_API_KEY", "_k1"]),
    requests_per_minute=st.none() | POSITIVE,
    max_concurrency=st.none() | st.integers(1, 9999),
    temperature=st.just("default") | st.floats(0, 2),
    max_tokens=st.integers(1, 100_000),
    input_usd_per_million=st.none() | st.floats(0, 100),
)


def tables() -> st.SearchStrategy[dict[str, Any]]:
    models = st.fixed_dictionaries({}, optional=dict.fromkeys(("generator", "base", "judge", "embedding"), MODELS))
    return st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(-(2**60), 2**60),
            "models": models.map(lambda roles: {role: model.model_dump() for role, model in roles.items()}),
            "ask": st.fixed_dictionaries({}, optional={"max_questions": st.integers(1, 10**9)}),
            "split": st.fixed_dictionaries({"train": st.floats(0, 1), "by": st.sampled_from(["auto", "paper"])}),
            "export": st.fixed_dictionaries({"system_prompt": TEXT}),
            "budget": st.fixed_dictionaries({}, optional={"usd": POSITIVE}),
            "prices": st.dictionaries(TEXT, st.fixed_dictionaries({"input_usd_per_million": st.floats(0, 100)})),
        },
    )


@given(tables())
def test_dump_and_load(table: dict[str, Any]) -> None:
    """Whatever is configured, what is written is read back as the same configuration."""
    config = validate(table)
    assert validate(tomllib.loads(dump(config).decode())) == config


def test_every_key_has_a_default() -> None:
    """An empty table is a configuration, with the embedded models in every role."""
    config = validate({})
    assert config == Config()
    assert all(model.local for model in config.models.sections().values())


def test_values_are_frozen() -> None:
    """A configuration cannot be changed once it is made."""
    with pytest.raises(ValueError, match="frozen"):
        Config().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"sead": 1}, "there is no key sead; did you mean seed?"),
        ({"asks": {}}, "there is no key asks; did you mean ask?"),
        ({"ask": {"max_question": 3}}, "there is no key ask.max_question; did you mean ask.max_questions?"),
        ({"models": {"judg": {}}}, "there is no key models.judg; did you mean models.judge?"),
        ({"models": {"judge": {"modle": "x"}}}, "did you mean models.judge.model?"),
        ({"models": {"candidate": {}}}, "there is no key models.candidate; did you mean models.candidates?"),
        ({"models": {"candidates": {"rival": {"modle": "x"}}}}, "did you mean models.candidates.rival.model?"),
        ({"split": {"zzz": 1}}, "there is no key split.zzz; known keys: train, by"),
        ({"": 1}, "there is no key "),
        ({"price": {}}, "there is no key price; did you mean prices?"),
        (
            {"prices": {"gpt-4.1": {"input_usd_per_milion": 1}}},
            '"gpt-4.1".input_usd_per_milion; did you mean prices."gpt-4.1".input_usd_per_million?',
        ),
        ({"prices": {"budget": {"usd": 1}}}, "there is no key prices.budget.usd; known keys: input_usd_per_million"),
    ],
)
def test_unknown_keys(table: dict[str, Any], said: str) -> None:
    """An unknown key is bad input that names the nearest known one, or all of its section."""
    with pytest.raises(BadInput) as caught:
        validate(table)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"seed": "many"}, "seed"),
        ({"parse": {"chunk_size": 0}}, "parse.chunk_size"),
        ({"parse": {"chunk_size": 1.5}}, "parse.chunk_size"),
        ({"parse": {"chunk_size": 100, "chunk_overlap": 100}}, "parse.chunk_overlap must be smaller"),
        ({"parse": 7}, "parse"),
        ({"ask": {"recipe": "llama"}}, "ask.recipe"),
        ({"ask": {"max_questions": 0}}, "ask.max_questions"),
        ({"augment": {"separate_context": "perhaps"}}, "augment.separate_context"),
        ({"augment": {"scope": "shelf"}}, "augment.scope"),
        ({"split": {"train": 1.1}}, "split.train"),
        ({"budget": {"usd": -1}}, "budget.usd"),
        ({"models": {"judge": {"model": ""}}}, "models.judge.model"),
        ({"models": {"judge": {"temperature": "warm"}}}, "models.judge.temperature"),
        ({"models": {"judge": {"requests_per_minute": float("nan")}}}, "models.judge.requests_per_minute"),
        ({"models": {"judge": {"batch_window": "24 hours"}}}, "models.judge.batch_window"),
        ({"models": {"judge": {"batch_window": "0h"}}}, "models.judge.batch_window"),
        ({"models": {"judge": {"batch_rounds": 0}}}, "models.judge.batch_rounds"),
        ({"models": "gpt"}, "models"),
        ({"models": {"candidates": {"a b": {}}}}, "'a b' cannot name a candidate: take up to 40 letters"),
        ({"models": {"candidates": {"../up": {}}}}, "'../up' cannot name a candidate"),
        ({"models": {"candidates": {"x" * 41: {}}}}, "cannot name a candidate"),
        ({"models": {"candidates": {"Tuned": {}}}}, "a candidate cannot be called 'Tuned'"),
        ({"models": {"candidates": {"judge": {}}}}, "a candidate cannot be called 'judge'"),
        ({"models": {"candidates": {"rival": {"max_tokens": 0}}}}, "models.candidates.rival.max_tokens"),
        ({"prices": {"gpt-4.1": {"input_usd_per_million": -1}}}, 'prices."gpt-4.1".input_usd_per_million'),
        ({"prices": {"gpt-4.1": 2}}, 'prices."gpt-4.1"'),
    ],
)
def test_values_of_the_wrong_kind(table: dict[str, Any], key: str) -> None:
    """A value that cannot be is bad input in one line that names its key."""
    with pytest.raises(BadInput) as caught:
        validate(table)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://me:hunter2@host/v1", "https://hunter2@host", "https://host/v1?key=hunter2"])
def test_an_address_with_credentials(url: str) -> None:
    """An address holds no secret: it would be written to run.toml. The message does not repeat it."""
    with pytest.raises(BadInput, match=r"models\.judge\.base_url: .*api_key_env") as caught:
        validate({"models": {"judge": {"model": "m", "base_url": url}}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"extra_headers": {"Authorization": "Bearer hunter2"}},
        {"extra_headers": {"X-Auth-Token": "hunter2"}},
        {"extra_headers": {"Ocp-Apim-Subscription-Key": "hunter2"}},
        {"extra_headers": {"Cookie": "session=hunter2"}},
        {"extra_query": {"key": "hunter2"}},
        {"extra_query": {"access_token": "hunter2"}},
    ],
)
def test_headers_and_queries_with_keys(settings: dict[str, Any]) -> None:
    """No further header or parameter holds a key: it would be written to run.toml. The message does not repeat it."""
    with pytest.raises(BadInput, match=r"models\.judge\.extra_.*api_key_env") as caught:
        validate({"models": {"judge": settings}})
    assert "hunter2" not in str(caught.value)


def test_headers_and_queries_without_keys() -> None:
    """What names a version, a team or a project is sent as it stands."""
    settings = {"extra_headers": {"X-Team": "papers", "HTTP-Referer": "x"}, "extra_query": {"api-version": "1"}}
    model = validate({"models": {"judge": settings}}).models.judge
    assert (model.extra_headers, model.extra_query) == (settings["extra_headers"], settings["extra_query"])


# --set


def test_settings() -> None:
    """Settings reach into sections; a value is TOML, and text where it is none."""
    table: dict[str, Any] = {"ask": {"questions_per_chunk": 2}, "seed": 1}
    assign(
        table,
        [
            "ask.questions_per_chunk=3",
            "models.judge.model=gpt-x",
            'models.judge.temperature = "default"',
            "augment.separate_context=true",
            "export.system_prompt=You are = to {title}.",
            "split.train=0.5",
            'prices."gpt-4.1".input_usd_per_million=2',
        ],
    )
    assert table == {
        "ask": {"questions_per_chunk": 3},
        "seed": 1,
        "models": {"judge": {"model": "gpt-x", "temperature": "default"}},
        "augment": {"separate_context": True},
        "export": {"system_prompt": "You are = to {title}."},
        "split": {"train": 0.5},
        "prices": {"gpt-4.1": {"input_usd_per_million": 2}},
    }


@pytest.mark.parametrize("setting", ["seed", "=3", " =3", "a..b=3", '"a=3', "seed.deep=1"])
def test_settings_that_are_none(setting: str) -> None:
    """A setting without a key or an equals sign, or one below a value, is bad input."""
    with pytest.raises(BadInput, match="--set"):
        assign({"seed": 1}, [setting])


def test_batches() -> None:
    """`batch` in [models] itself holds for every role and candidate at a provider; a window is hours or days."""
    models = validate(
        {
            "models": {
                "batch": True,
                "batch_window": "7d",
                "generator": {"model": "m"},
                "judge": {"model": "m", "batch": False},
                "candidates": {"rival": {"model": "r"}, "here": {"model": "local:a.gguf"}},
            }
        }
    ).models
    asked = {section: model.batch for section, model in models.sections().items()}
    assert asked == {
        "generator": True,
        "base": False,
        "judge": False,
        "embedding": False,
        "candidates.rival": True,
        "candidates.here": False,
    }
    assert [Model(batch_window=window).window_s for window in ("24h", "7d")] == [86_400, 604_800]
    assert models.generator.window_s == 604_800
    assert models.generator.asked() == Model(model="m").asked()


def test_metrics() -> None:
    """Each metric counts once."""
    assert validate({"evaluate": {"metrics": ["rouge_l", "token_f1", "rouge_l"]}}).evaluate.metrics == (
        "rouge_l",
        "token_f1",
    )


# "auto"


def test_resolving() -> None:
    """What is "auto" follows the models and the number of papers; what is set stays."""
    remote = validate({"models": {"generator": {"model": "g"}, "judge": {"model": "j"}}})
    decided = remote.resolved(papers=20)
    assert (decided.ask.recipe, decided.evaluate.method, decided.split.by) == ("llama-index", "score", "paper")
    decided = Config().resolved(papers=19)
    assert (decided.ask.recipe, decided.evaluate.method, decided.split.by) == ("grounded", "agreement", "chunk")
    by_hand = validate({"ask": {"recipe": "llama-index"}, "split": {"by": "question"}}).resolved(papers=3)
    assert (by_hand.ask.recipe, by_hand.split.by) == ("llama-index", "question")


def test_what_was_resolved_before_is_kept() -> None:
    """In a run that goes on, "auto" stays what it was, whatever came in since; a change by hand is seen."""
    before = Config().resolved(papers=3)
    remote = validate({"models": {"generator": {"model": "g"}, "judge": {"model": "j"}}})
    after = remote.resolved(papers=500, before=before)
    assert (after.ask.recipe, after.evaluate.method, after.split.by) == ("grounded", "agreement", "chunk")
    assert validate({"split": {"by": "paper"}}).resolved(papers=3, before=before).split.by == "paper"


@given(tables(), st.integers(0, 40))
def test_resolving_twice(table: dict[str, Any], papers: int) -> None:
    """What is resolved has no "auto" left, and resolving it again changes nothing."""
    decided = validate(table).resolved(papers=papers)
    assert "auto" not in (decided.ask.recipe, decided.evaluate.method, decided.split.by)
    assert decided.resolved(papers=40 - papers) == decided


# Files and keys


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing, no text or no TOML is bad input in one line that names it."""
    (tmp_path / "latin.toml").write_bytes(b"seed = '\xe9'")
    (tmp_path / "odd.toml").write_text("seed = = 1", "utf-8")
    for name, said in (("no.toml", "No such file"), ("latin.toml", "cannot read"), ("odd.toml", "is not TOML")):
        with pytest.raises(BadInput, match=said) as caught:
            load(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput):
        load(tmp_path)


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key comes from the variable that is named, without spaces; "" asks for none."""
    monkeypatch.setenv("SOME_KEY", " secret-0123456789\n")
    model = Model(model="m", api_key_env="SOME_KEY")
    assert api_key(model, "judge") == "secret-0123456789"
    assert api_key(Model(model="m", api_key_env=""), "judge") == ""
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(BadInput, match=r'\[models\.judge\] needs a key: .* SOME_KEY, or api_key_env = ""'):
        api_key(model, "judge")


@pytest.mark.parametrize("key", ["two\nlines", "tab\there", "nul\x7f", "schlüssel", "ключ", "sk-…"])
def test_keys_that_no_header_can_carry(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a line break, a control or a foreign character is refused in one line that does not repeat it."""
    monkeypatch.setenv("SOME_KEY", f"hunter2 {key}")
    with pytest.raises(BadInput, match=r"^the environment variable SOME_KEY of \[models\.judge\] [^\n]*$") as told:
        api_key(Model(model="m", api_key_env="SOME_KEY"), "judge")
    assert not [part for part in ("hunter2", key) if part in str(told.value)]


@pytest.mark.parametrize("name", ["sk-proj-hunter2", "hunter2=x", "hunter2\0", "hunter2 ", "2hunter2"])
def test_a_key_in_the_place_of_its_variable(name: str) -> None:
    """A key that was put where its variable is to be named is bad input, and is not repeated."""
    with pytest.raises(BadInput, match=r"models\.judge\.api_key_env: .* the name of an environment variable") as told:
        validate({"models": {"judge": {"model": "m", "api_key_env": name}}})
    assert "hunter2" not in str(told.value)


def test_a_dump_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written names the variable and not what it holds."""
    monkeypatch.setenv("SOME_KEY", "secret-0123456789")
    config = validate({"models": {"judge": {"model": "m", "api_key_env": "SOME_KEY"}}})
    assert api_key(config.models.judge, "judge")
    assert b"SOME_KEY" in dump(config)
    assert b"secret" not in dump(config)
    assert "secret" not in repr(config)


def test_candidates() -> None:
    """A candidate has the keys of a role, is a section beside the roles, and takes its price from [prices]."""
    table = {"models": {"candidates": {"rival": {"model": "big"}}}, "prices": {"big": {"input_usd_per_million": 2}}}
    config = validate(table)
    assert list(config.models.sections()) == ["generator", "base", "judge", "embedding", "candidates.rival"]
    assert config.model("candidates.rival").input_usd_per_million == 2
    assert validate(tomllib.loads(dump(config).decode())) == config


def test_candidates_stay() -> None:
    """What a run's candidates answered was paid for: another configuration adds to them, and changes those it names."""
    before = validate({"models": {"candidates": {"one": {"model": "m1"}, "two": {"model": "m2"}}}})
    now = validate({"models": {"candidates": {"three": {"model": "m3"}, "two": {"model": "m2", "timeout_s": 5}}}})
    candidates = now.resolved(papers=3, before=before).models.candidates
    assert {name: (model.model, model.timeout_s) for name, model in candidates.items()} == {
        "one": ("m1", 120),
        "two": ("m2", 5),
        "three": ("m3", 120),
    }


# [models] itself


def test_what_stands_in_models_holds_for_all_roles() -> None:
    """Address, key and limits are written once; a role says otherwise for itself; the embedding keeps its own model."""
    shared = {"base_url": "http://here/v1", "api_key_env": "", "max_concurrency": 7, "model": "chatty"}
    models = validate(
        {
            "models": {
                **shared,
                "judge": {"model": "strict", "max_concurrency": 2},
                "candidates": {"rival": {"model": "other"}},
            }
        }
    ).models
    assert [model.base_url for model in models.sections().values()] == ["http://here/v1"] * 5
    assert [model.model for model in models.sections().values()] == ["chatty", "chatty", "strict", "local", "other"]
    assert [model.max_concurrency for model in models.sections().values()] == [7, 7, 2, 7, 7]


def test_what_stands_in_models_is_written_out_for_each_role() -> None:
    """run.toml has every role with its own keys, so it reads the same when the shared ones change."""
    config = validate({"models": {"base_url": "http://here/v1"}})
    again = validate(tomllib.loads(dump(config).decode()))
    assert again == config


def test_a_mistyped_key_in_models_is_told() -> None:
    """With the one that was meant, of a role or of a section."""
    with pytest.raises(BadInput, match=r"there is no key models\.base_ulr; did you mean models\.base_url\?"):
        validate({"models": {"base_ulr": "http://here/v1"}})
