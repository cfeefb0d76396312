from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.datasets import Dataset
from jobs.records import Verdict
from jobs.registry import ROWS
from jobs.run.dataset_card import card, features, write_run_card


def verdict(number: int, correctness: float | None) -> Verdict:
    return Verdict(
        id=str(number),
        parent="",
        pair_id="p",
        paper_id="q",
        model="base",
        correctness=correctness,
        passing=None,
        feedback="",
        semantic_similarity=None,
        split="val",
    )


def test_a_column_of_nulls_in_the_first_shard_has_its_type(tmp_path: Path) -> None:
    """Rows load by the run's card though the first shard has only null where the next has numbers."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    verdicts = Dataset(tmp_path / "run" / "verdicts", Verdict)
    verdicts.write_sealed(0, [verdict(0, None)])
    verdicts.write_sealed(1, [verdict(1, 4.5)])
    write_run_card(tmp_path / "run")

    rows = datasets.load_dataset(str(tmp_path / "run"), "verdicts", split="train", cache_dir=str(tmp_path / "cache"))

    assert rows["correctness"][:] == [None, 4.5]


def test_a_readme_of_somebody_else_stays(tmp_path: Path) -> None:
    """The card is written again over itself, and over nothing else."""
    path = tmp_path / "README.md"
    write_run_card(tmp_path)
    first = path.read_bytes()
    write_run_card(tmp_path)
    assert path.read_bytes() == first
    path.write_text("My notes.", "utf-8")
    write_run_card(tmp_path)
    assert path.read_text("utf-8") == "My notes."


@pytest.mark.parametrize("name", ROWS)
def test_every_row_type_has_features(name: str) -> None:
    """Each dataset of the registry has a feature for each field, and the library takes them."""
    datasets = pytest.importorskip("datasets")
    found = datasets.Features._from_yaml_list(features(ROWS[name]))
    assert list(found) == [field.encode_name for field in msgspec.structs.fields(ROWS[name])]


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(st.sampled_from(["license", "tags", "configs"]), texts | st.lists(texts), min_size=1))
def test_the_header_is_yaml(header: dict[str, str | list[str]]) -> None:
    """Whatever the texts are, a reader of YAML gets them back."""
    yaml = pytest.importorskip("yaml")
    text = card(header, "\n# Title\n").decode()
    assert yaml.safe_load(text.removeprefix("---\n").partition("\n---\n")[0]) == header
