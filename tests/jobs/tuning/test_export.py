from __future__ import annotations

import json
import random
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_rows import EXAMPLES, PAIRS, SYSTEM, UNTRUSTED, make_example, make_pair, sides

from engine.errors import BadInput, Fatal
from engine.records import make_id
from jobs.records import Example, Pair
from jobs.tuning import shuffled
from jobs.tuning.export import export, write_dataset
from jobs.tuning.exporters import EXPORTERS
from jobs.tuning.formats import parquet as parquet_format

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["train.jsonl", "val.jsonl", "qa_pairs_train.json", "qa_pairs_val.json"])
def test_dataset_golden(tmp_path: Path, name: str) -> None:
    """The four files of a dataset are, to the byte, the ones kept under golden/."""
    counts = write_dataset(tmp_path, EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)

    assert counts == {"train.jsonl": 6, "val.jsonl": 2, "qa_pairs_train.json": 6, "qa_pairs_val.json": 2}
    assert (tmp_path / name).read_bytes() == (GOLDEN / f"export_{name}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(counts)


@pytest.mark.parametrize("format", ["alpaca", "query_response", "sharegpt"])
def test_export_golden(tmp_path: Path, format: str) -> None:
    """Each text format is, to the byte, the one kept under golden/; a file holds the training side only."""
    counts = export(format, EXAMPLES, tmp_path / "out.txt", system_prompt=SYSTEM, seed=7)

    assert counts == {"out.txt": 6}
    assert (tmp_path / "out.txt").read_bytes() == (GOLDEN / f"export_{format}.txt").read_bytes()


def test_order_depends_on_rows_and_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another order of input and another number of runs on disk change no byte; another seed does."""
    examples = [make_example(n, split=sides(n)) for n in range(300)]

    def files(folder: str, rows: list[Example], seed: int) -> list[bytes]:
        write_dataset(tmp_path / folder, rows, PAIRS, system_prompt="", seed=seed)
        return [path.read_bytes() for path in sorted((tmp_path / folder).iterdir())]

    plain = files("plain", examples, 1)
    assert files("seeded", examples, 2) != plain
    monkeypatch.setattr(shuffled, "BATCH_BYTES", 2000)
    monkeypatch.setattr(shuffled, "MAX_FILES", 5)
    random.Random(0).shuffle(examples)
    assert files("spilled", examples, 1) == plain


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows do not take more memory than the sort's run and its buffers allow."""
    monkeypatch.setattr(shuffled, "BATCH_BYTES", 100_000)

    def peak(count: int) -> int:
        def examples() -> Iterator[Example]:
            return (make_example(n, split=sides(n), answer="word " * 200) for n in range(count))

        def pairs() -> Iterator[Pair]:
            return (make_pair(n, split=sides(n), answer="word " * 200) for n in range(count))

        tracemalloc.start()
        write_dataset(tmp_path, examples(), pairs(), system_prompt="", seed=0)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(100)  # what is loaded once
    assert peak(4000) < peak(400) + 600_000  # 36 runs more, each with a read buffer; the rows are 5 MB


def test_query_response_is_what_llama_index_writes(tmp_path: Path) -> None:
    """LlamaIndex reads our QueryResponseDataset, and saving it again gives the same bytes."""
    write_dataset(tmp_path, EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)
    from llama_index.core.evaluation import QueryResponseDataset

    with pytest.warns(DeprecationWarning, match="LabelledRagDataset"):
        dataset = QueryResponseDataset.from_json(str(tmp_path / "qa_pairs_train.json"))

    assert sorted(dataset.qr_pairs) == sorted((p.question, p.answer) for p in PAIRS if p.split == "train")
    dataset.save_json(str(tmp_path / "again.json"))
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "qa_pairs_train.json").read_bytes()


def test_a_side_without_rows_has_no_file(tmp_path: Path) -> None:
    """A side without rows has no file, and one that an earlier writing left there goes."""
    write_dataset(tmp_path, EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=0)
    counts = write_dataset(
        tmp_path, [make_example(1)], [make_pair(1), make_pair(2, split="val")], system_prompt=SYSTEM, seed=0
    )

    assert counts == {"train.jsonl": 1, "val.jsonl": 0, "qa_pairs_train.json": 1, "qa_pairs_val.json": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "qa_pairs_train.json",
        "qa_pairs_val.json",
        "train.jsonl",
    ]


def test_datasets_loads_the_chat_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """datasets.load_dataset("json") sees one row a line, with role and content as written."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    write_dataset(tmp_path / "dataset", EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)
    files = {side: str(tmp_path / "dataset" / f"{side}.jsonl") for side in ("train", "val")}

    loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))

    assert {side: rows.num_rows for side, rows in loaded.items()} == {"train": 6, "val": 2}
    answers = {row["messages"][-1]["content"] for row in loaded["train"]}
    assert answers == {"Retries back off.", UNTRUSTED}


def test_parquet_reads_in_pyarrow_and_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet holds the record's fields with their types, and the messages, in the order of the other formats."""
    from pyarrow import parquet

    monkeypatch.setattr(parquet_format, "ROW_GROUP", 4)
    counts = export("parquet", EXAMPLES, tmp_path / "out", system_prompt=SYSTEM, seed=7)
    export("openai", EXAMPLES, tmp_path / "out", system_prompt=SYSTEM, seed=7)

    assert counts == {"train.parquet": 6, "val.parquet": 2}
    table = parquet.read_table(tmp_path / "out" / "train.parquet")
    assert parquet.ParquetFile(tmp_path / "out" / "train.parquet").num_row_groups == 2
    chat = [json.loads(line)["messages"] for line in (tmp_path / "out" / "train.jsonl").read_bytes().splitlines()]
    assert table.column("messages").to_pylist() == chat
    row = next(row for row in table.to_pylist() if row["answer"] == UNTRUSTED)
    assert row["contexts"] == [{"chunk_id": make_id("chunk", 7), "rank": 0, "score": 0.5, "role": "retrieved"}]
    pandas = pytest.importorskip("pandas")
    assert list(pandas.read_parquet(tmp_path / "out" / "val.parquet")["split"]) == ["val", "val"]


@pytest.mark.parametrize("format", sorted(EXPORTERS))
def test_no_rows_export(tmp_path: Path, format: str) -> None:
    """No format writes a data file for a run without examples."""
    counts = export(format, [], tmp_path / "out", system_prompt="", seed=0)
    assert set(counts.values()) == {0}
    assert not any(name in counts for name in (path.name for path in (tmp_path / "out").iterdir()))


def test_export_in_folder_equals_the_dataset(tmp_path: Path) -> None:
    """The openai export and the run's own dataset are the same bytes."""
    write_dataset(tmp_path / "a", EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)
    export("openai", EXAMPLES, tmp_path / "b", system_prompt=SYSTEM, seed=7)

    for name in ("train.jsonl", "val.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unknown_format(tmp_path: Path) -> None:
    """A format that is not known is refused with the names of those that are, and nothing is written."""
    with pytest.raises(BadInput, match=r"'jsonl'; choose one of alpaca, axolotl, .*, trl_prompt_completion$"):
        export("jsonl", EXAMPLES, tmp_path / "out", system_prompt="", seed=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", sorted(EXPORTERS))
def test_an_error_half_way_leaves_the_files_of_before(tmp_path: Path, format: str) -> None:
    """When the rows end in an error, the old files stand, whole, and no temporary one is left."""

    def failing() -> Iterator[Example]:
        yield from EXAMPLES
        raise Fatal("a shard is corrupt")

    export(format, EXAMPLES[:3], tmp_path, system_prompt="", seed=0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Fatal, match="a shard is corrupt"):
        export(format, failing(), tmp_path, system_prompt="", seed=0)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_split_of_neither_side(tmp_path: Path) -> None:
    """A row that belongs to no side stops the writing instead of landing in one of them."""
    with pytest.raises(Fatal, match="'both', neither train nor val"):
        write_dataset(tmp_path, [make_example(1, split="both")], [], system_prompt="", seed=0)
    assert list(tmp_path.iterdir()) == []


def test_path_that_is_a_file(tmp_path: Path) -> None:
    """A folder that cannot be made is one line that names it."""
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(Fatal, match=r"cannot write .*taken"):
        export("openai", EXAMPLES, tmp_path / "taken" / "out", system_prompt="", seed=0)


def remake_golden() -> None:
    """Write the golden files anew: ``python -c 'import test_export; test_export.remake_golden()'``; then read them."""
    folder = GOLDEN / "new"
    write_dataset(folder, EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)
    for format in ("alpaca", "query_response", "sharegpt"):
        export(format, EXAMPLES, folder / f"{format}.txt", system_prompt=SYSTEM, seed=7)
    for path in folder.iterdir():
        path.replace(GOLDEN / f"export_{path.name}")
    shutil.rmtree(folder)
