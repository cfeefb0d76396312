from __future__ import annotations

from pathlib import Path

import pytest

from jobs.config import Config, Model
from jobs.report.collect import judge_note
from jobs.run.model_names import is_small


def judged_by(model: str, method: str) -> str:
    return judge_note(Config.model_validate({"models": {"judge": {"model": model}}, "evaluate": {"method": method}}))


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A file of eight gigabytes that takes no room."""
    with (tmp_path / "large.gguf").open("wb") as file:
        file.truncate(8 << 30)
    return f"local:{tmp_path}/large.gguf"


def test_small_models(large: str, tmp_path: Path) -> None:
    """The embedded model and a file of few bytes are small; a large file, and what is asked elsewhere, are not."""
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    assert is_small(Model(model="local"))
    assert is_small(Model(model=f"local:{tmp_path}/small.gguf"))
    assert not is_small(Model(model=large))
    assert not is_small(Model(model="gpt"))


def test_a_judge_is_called_small_where_it_is(large: str) -> None:
    """“A small local model” is said of no other judge."""
    assert "a small local model" in judged_by("local", "agreement")
    assert "a small local model" in judged_by("local", "score")
    assert "that the local judge gives" in judged_by(large, "agreement")
    assert judged_by(large, "score") == ""
    assert "that the judge gives" in judged_by("gpt", "agreement")
