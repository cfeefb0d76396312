from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from training_rows import EXAMPLES, SYSTEM, UNTRUSTED, make_example

import jobs.tuning.formats
from engine.errors import BadInput
from jobs.cli.main import main
from jobs.tuning.export import export
from jobs.tuning.exporters import EXPORTERS, load_exporter

ROOT = Path(__file__).parents[3]
HELPERS = {"json_lines"}
"""The modules beside the formats that are none themselves."""


def written(format: str, folder: Path) -> list[dict[str, object]]:
    export(format, EXAMPLES, folder, system_prompt=SYSTEM, seed=7)
    return [json.loads(line) for line in (folder / "train.jsonl").read_bytes().splitlines()]


def test_every_format_is_in_the_table() -> None:
    """The table names each module of the formats once, by the module's own name; none is left out."""
    modules = {path.stem for path in Path(jobs.tuning.formats.__path__[0]).glob("*.py")} - {"__init__"} - HELPERS
    assert {name: f"jobs.tuning.formats.{name}" for name in modules} == EXPORTERS


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_exporter_loads(name: str) -> None:
    """Each name of the table leads to an exporter with a suffix, and two files come out of it."""
    assert load_exporter(name).suffix.startswith(".")


@pytest.mark.processes
def test_an_exporter_is_loaded_when_it_is_chosen() -> None:
    """The table itself loads no format, and no pyarrow."""
    code = (
        "import sys, jobs.tuning.exporters as e; assert not any(m in sys.modules for m in e.EXPORTERS.values());"
        "e.load_exporter('openai'); assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trl_prompt_completion(tmp_path: Path) -> None:
    """All turns but the answer are the prompt, and the answer is the completion."""
    rows = written("trl_prompt_completion", tmp_path)

    assert all(list(row) == ["prompt", "completion"] for row in rows)
    row = next(row for row in rows if row["completion"][0]["content"] == UNTRUSTED)
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
    assert row["completion"] == [{"role": "assistant", "content": UNTRUSTED}]


@pytest.mark.parametrize("format", ["axolotl", "llama_factory", "openai", "trl_conversational"])
def test_formats_of_messages(tmp_path: Path, format: str) -> None:
    """The trainers that read messages get the very rows of the run's own training file."""
    assert written(format, tmp_path) == written("openai", tmp_path / "openai")


def test_parquet_has_no_column_that_trl_mistakes(tmp_path: Path) -> None:
    """Beside messages stands no column called prompt or completion, which TRL would take for the training text."""
    from pyarrow import parquet

    export("parquet", EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)
    table = parquet.read_table(tmp_path / "train.parquet")
    assert not {"prompt", "completion", "text", "conversations"} & set(table.column_names)
    assert table.column("retrieval_prompt").to_pylist() == [
        turns[1]["content"] for turns in table.column("messages").to_pylist()
    ]


def test_parquet_columns_have_types_without_values(tmp_path: Path) -> None:
    """A column whose values are all null or empty has the type that it has elsewhere."""
    import msgspec
    from pyarrow import parquet

    bare = msgspec.structs.replace(EXAMPLES[0], contexts=[])
    unscored = msgspec.structs.replace(
        EXAMPLES[0], contexts=[msgspec.structs.replace(EXAMPLES[0].contexts[0], score=None)]
    )
    for name, example in {"full": EXAMPLES[0], "bare": bare, "unscored": unscored}.items():
        export("parquet", [example], tmp_path / name, system_prompt="", seed=7)
    schemas = [parquet.read_schema(tmp_path / name / "train.parquet") for name in ("full", "bare", "unscored")]
    assert schemas[0] == schemas[1] == schemas[2]


def test_llama_factory_names_its_files(tmp_path: Path) -> None:
    """dataset_info.json says how each file is read; what other entries there were stays; a side without rows has none."""
    (tmp_path / "dataset_info.json").write_text('{"alpaca_en": {"file_name": "a.json"}, "gristmill_val": {}}', "utf-8")
    export("llama_factory", [make_example(1)], tmp_path, system_prompt=SYSTEM, seed=7)

    info = json.loads((tmp_path / "dataset_info.json").read_text("utf-8"))
    assert list(info) == ["alpaca_en", "gristmill_train"]
    assert info["gristmill_train"]["file_name"] == "train.jsonl"
    assert info["gristmill_train"]["columns"] == {"messages": "messages"}


def test_llama_factory_keeps_a_file_that_is_not_one(tmp_path: Path) -> None:
    """A dataset_info.json that cannot be read is refused by name, and stays."""
    (tmp_path / "dataset_info.json").write_text("[1]", "utf-8")
    with pytest.raises(BadInput, match=r"dataset_info\.json is no dataset_info"):
        export("llama_factory", EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)
    assert (tmp_path / "dataset_info.json").read_text("utf-8") == "[1]"


def test_axolotl_names_its_files(tmp_path: Path) -> None:
    """axolotl.yml names both files; one that the user has changed stays."""
    export("axolotl", EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)
    config = (tmp_path / "axolotl.yml").read_text("utf-8")
    assert f'\ndatasets:\n  - path: "{tmp_path}/train.jsonl"\n' in config
    assert f'\ntest_datasets:\n  - path: "{tmp_path}/val.jsonl"\n' in config

    (tmp_path / "axolotl.yml").write_text("mine", "utf-8")
    export("axolotl", EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)
    assert (tmp_path / "axolotl.yml").read_text("utf-8") == "mine"


def test_the_worked_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter of examples/extending is chosen by its name in the table, and writes both sides."""
    monkeypatch.syspath_prepend(ROOT / "examples" / "extending")
    monkeypatch.setitem(EXPORTERS, "tsv", "exporter")
    counts = export("tsv", EXAMPLES, tmp_path, system_prompt=SYSTEM, seed=7)

    assert counts == {"train.tsv": 6, "val.tsv": 2}
    with (tmp_path / "train.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, dialect="excel-tab"))
    assert ["What is rule 7?", UNTRUSTED] in rows
    assert len(rows) == 6


def test_help_names_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of export lists every format of the table."""
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in EXPORTERS)
