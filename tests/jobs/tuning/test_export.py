from __future__ import annotations

import json
import random
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadInput, Fatal
from engine.records import make_id
from jobs.records import Context, Example, Pair
from jobs.tuning import export as export_module
from jobs.tuning.export import FORMATS, chat_line, check_chat_line, export, write_dataset

GOLDEN = Path(__file__).parents[1] / "golden"
SYSTEM = "You answer questions about {title}; {braces} stay."
UNTRUSTED = 'Überraschung: "q\\n"\u2028</script> {query_str} 🦆\t\n2nd line'


def make_example(number: int = 0, *, split: str = "train", answer: str = "Retries back off.", **fields: str) -> Example:
    pair = make_pair(number, split=split)
    return Example(
        id=make_id("example", number),
        parent=pair.id,
        pair_id=pair.id,
        paper_id=pair.paper_id,
        title=fields.get("title", "On Mills"),
        question=pair.question,
        prompt=fields.get("prompt", f"Context {number}\nQuery: {pair.question}\nAnswer: "),
        answer=answer,
        contexts=[Context(chunk_id=make_id("chunk", number), rank=0, score=0.5)],
        split=split,
    )


def make_pair(number: int = 0, *, split: str = "train", question: str = "", answer: str = "Retries back off.") -> Pair:
    return Pair(
        id=make_id("pair", number),
        parent=make_id("question", number),
        chunk_id=make_id("chunk", number),
        paper_id=make_id("paper", number // 4),
        question=question or f"What is rule {number}?",
        answer=answer,
        split=split,
    )


def sides(number: int) -> str:
    return "val" if number % 3 == 2 else "train"


EXAMPLES = [make_example(n, split=sides(n)) for n in range(7)] + [make_example(7, title="É", answer=UNTRUSTED)]
PAIRS = [make_pair(n, split=sides(n)) for n in range(7)] + [make_pair(7, question=UNTRUSTED, answer=UNTRUSTED)]


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
    monkeypatch.setattr(export_module, "RUN_BYTES", 2000)
    monkeypatch.setattr(export_module, "MAX_RUNS", 5)
    random.Random(0).shuffle(examples)
    assert files("spilled", examples, 1) == plain


def test_memory_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times the rows do not take more memory than the sort's run and its buffers allow."""
    monkeypatch.setattr(export_module, "RUN_BYTES", 100_000)

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


def test_a_side_without_rows_is_still_a_valid_file(tmp_path: Path) -> None:
    """No validation rows, or none at all, give files that their readers accept."""
    write_dataset(tmp_path, [], [], system_prompt=SYSTEM, seed=0)

    assert (tmp_path / "train.jsonl").read_bytes() == b""
    expected = json.dumps({"queries": {}, "responses": {}}, indent=4).encode()
    assert (tmp_path / "qa_pairs_val.json").read_bytes() == expected


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

    monkeypatch.setattr(export_module, "ROW_GROUP", 4)
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


@pytest.mark.parametrize("format", FORMATS)
def test_no_rows_export(tmp_path: Path, format: str) -> None:
    """Every format writes both files for a run without examples."""
    assert set(export(format, [], tmp_path / "out", system_prompt="", seed=0).values()) == {0}
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_export_in_folder_equals_the_dataset(tmp_path: Path) -> None:
    """The openai export and the run's own dataset are the same bytes."""
    write_dataset(tmp_path / "a", EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)
    export("openai", EXAMPLES, tmp_path / "b", system_prompt=SYSTEM, seed=7)

    for name in ("train.jsonl", "val.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_unknown_format(tmp_path: Path) -> None:
    """A format that is not known is refused with the names of those that are, and nothing is written."""
    with pytest.raises(BadInput, match=r"'jsonl'; choose one of alpaca, openai, parquet, query_response, sharegpt"):
        export("jsonl", EXAMPLES, tmp_path / "out", system_prompt="", seed=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", FORMATS)
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


def test_chat_line_shape() -> None:
    """One line is one training example: system with the title, the prompt, the answer."""
    line = chat_line(make_example(title="A {title} of {mills}"), "About {title}: {}")

    assert json.loads(line)["messages"] == [
        {"role": "system", "content": "About A {title} of {mills}: {}"},
        {"role": "user", "content": "Context 0\nQuery: What is rule 0?\nAnswer: "},
        {"role": "assistant", "content": "Retries back off."},
    ]
    assert json.loads(chat_line(make_example(), ""))["messages"][0]["role"] == "user"


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(title=st.text(st.characters(exclude_categories=["Cs"])), prompt=text, answer=text, system=text)
def test_every_chat_line_is_accepted(title: str, prompt: str, answer: str, system: str) -> None:
    """Whatever the texts are, a chat line is one line, passes the check, and gives the texts back."""
    line = chat_line(make_example(title=title, prompt=prompt, answer=answer), system + "!")

    check_chat_line(line)
    assert len(line.decode().splitlines()) == 1
    assert [turn["content"] for turn in json.loads(line)["messages"]][1:] == [prompt, answer]


def line_of(*turns: tuple[object, object], **more: object) -> bytes:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns], **more}).encode()


USER = ("user", "q")
BOT = ("assistant", "a")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not JSON in UTF-8"),
        (b"\xef\xbb\xbf" + line_of(USER, BOT), "not JSON in UTF-8"),
        (b"[]", "not an object"),
        (line_of(USER, BOT, weight=1), "messages and nothing else"),
        (line_of(), "no messages"),
        (b'{"messages": "hello"}', "no messages"),
        (b'{"messages": ["hello"]}', "not a role and a content"),
        (b'{"messages": [{"role": "assistant"}]}', "not a role and a content"),
        (line_of(("human", "q"), BOT), "the role 'human' is none of"),
        (line_of(("user", " \n"), BOT), "the user message holds no text"),
        (line_of(USER, ("assistant", None)), "the assistant message holds no text"),
        (line_of(BOT, USER), "the last message is not from the assistant"),
        (line_of(("user", "q" * (1 << 20)), BOT), "bytes, more than 1048576"),
    ],
)
def test_check_refuses(line: bytes, reason: str) -> None:
    """What OpenAI's fine-tuning refuses is refused here, with the reason."""
    with pytest.raises(BadInput, match=reason):
        check_chat_line(line)


def remake_golden() -> None:
    """Write the golden files anew: ``python -c 'import test_export; test_export.remake_golden()'``; then read them."""
    folder = GOLDEN / "new"
    write_dataset(folder, EXAMPLES, PAIRS, system_prompt=SYSTEM, seed=7)
    for format in ("alpaca", "query_response", "sharegpt"):
        export(format, EXAMPLES, folder / f"{format}.txt", system_prompt=SYSTEM, seed=7)
    for path in folder.iterdir():
        path.replace(GOLDEN / f"export_{path.name}")
    shutil.rmtree(folder)
