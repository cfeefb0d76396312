"""What the words of a pair show, and the planted pairs: 30 with a known defect, 30 good ones."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import pytest
from samples import chunk, embedder, pair, processed, sealed, vector

from engine.datasets import Dataset
from engine.job import ShardRows
from engine.testing import scripted
from jobs.config import Curate
from jobs.curation.curate import Curator
from jobs.curation.probe import probe
from jobs.curation.rules import fault
from jobs.records import Chunk, Curated, Pair, Probe, Vector
from jobs.retrieval.index import Retriever
from jobs.run.normal_text import words

PLANTED = [json.loads(line) for line in (Path(__file__).parent / "planted_pairs.jsonl").read_text("utf-8").splitlines()]


def trigrams(text: str) -> list[float]:
    """A vector in which texts lie close that share runs of three letters, in any script."""
    bins = [0.0] * 512
    letters = "".join(letter for letter in text.casefold() if letter.isalnum() or letter == " ")
    for size in (2, 3):
        for at in range(len(letters) - size + 1):
            bins[crc32(letters[at : at + size].encode()) % len(bins)] += 1.0
    return [value**0.5 for value in bins]


async def curated(folder: Path, settings: Curate) -> list[Curated]:
    """The planted pairs through `probe` and `curate`, each beside the chunk that it came from."""
    chunks = [
        chunk(f"chunk {number}", paper=f"paper {number}", text=row["passage"]) for number, row in enumerate(PLANTED)
    ]
    pairs = [
        Pair(
            id=f"pair {number}",
            parent=f"question {number}",
            chunk_id=f"chunk {number}",
            paper_id=f"paper {number}",
            question=row["question"],
            answer=row["answer"],
            split="train",
        )
        for number, row in enumerate(PLANTED)
    ]
    retriever = Retriever(folder / "store")
    written = [vector(row, *trigrams(row.text)) for row in chunks]
    await retriever.build(sealed(folder / "chunks", Chunk, chunks), sealed(folder / "index", Vector, written))
    call = scripted(embedder(trigrams), forever=True)
    job = probe(retriever=retriever, settings=settings, scope="corpus", fingerprint={}, slots=1)
    probes = await processed(job, ShardRows(0, {"pairs": pairs}), call)
    assert len(call.requests) == sum(row["reason"] in ("", "not_found", "near_duplicate") for row in PLANTED)
    datasets = {"probes": sealed(folder / "probes", Probe, probes), "curated": Dataset(folder / "curated", Curated)}
    datasets["curated"].folder.mkdir()
    made = Curator(settings=settings, datasets=datasets, hook=lambda _: None).job(fingerprint={})
    return await processed(made, ShardRows(0, {"pairs": pairs, "probes": probes}), scripted())


async def test_planted_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every planted defect is caught, for its own reason, and every good pair is kept, whatever its language."""
    settings = Curate(round_trip=True, round_trip_top_k=5, near_duplicate_cosine=0.9)
    rows = await curated(tmp_path, settings)
    bad = [row["reason"] for row in PLANTED if row["reason"]]
    caught = sum(bool(row["reason"]) and not found.kept for row, found in zip(PLANTED, rows, strict=True))
    refused = sum(not found.kept for found in rows)
    with capsys.disabled():
        print(f"\nplanted pairs: precision {caught / refused:.2f}, recall {caught / len(bad):.2f} ({len(rows)} pairs)")
    assert len(bad) == len(PLANTED) - len(bad) == 30
    assert [(found.question, found.reason) for found in rows] == [(row["question"], row["reason"]) for row in PLANTED]
    assert all(bool(found.detail) != found.kept for found in rows)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("Was ist Entropie?", "Ein Maß für die Zahl der Zustände.", ""),
        ("Which is denser, ice or water?", "Water is denser.", ""),
        ("What is the capital of France?", "Paris.", "too_short"),
        ("Where do voltage drops come from?", "The source does not provide enough current at full load.", ""),
        ("Why does the attack fail?", "The information is not available to the attacker.", ""),
        ("What does the study measure?", "It measures sleep over four weeks.", ""),
        ("What is the role of section 3 of the treaty in the dispute?", "It gives fishing rights to both.", ""),
        ("What does attention mean in this context of vision?", "A weighting of image patches.", ""),
        ("Which pronoun is ambiguous in the text passage of a Winograd task?", "The one that has two referents.", ""),
        ("What is said of tides in the passage?", "They follow the moon.", "about_form"),
        ("What is in the given context?", "A list of cities and rivers.", "about_form"),
        ("How fast does it run, as seen on page 4?", "It runs at ten metres a second.", "about_form"),
        ("How is the sample cut?", "See Section 4.2 for how it is cut.", "about_form"),
        ("What causes the decay?", "Je ne sais pas ce qui la cause.", "refusal"),
        ("What causes the decay?", "It is not specified in the text.", "refusal"),
    ],
)
def test_single_pairs(question: str, answer: str, reason: str) -> None:
    """What is about content passes, though it uses the same words."""
    found = fault(question, answer, Curate())
    assert (found.reason if found else "") == reason


def test_rules_can_be_switched_off() -> None:
    """Without rules nothing is refused by its words; lengths are the user's to set."""
    assert fault("Why?", "Yes.", Curate(rules=False)) is None
    assert fault("Why so?", "Yes.", Curate(shortest_question=2, shortest_answer=1)) is None
    long = fault("Why is it so?", "one two three four", Curate(longest_answer=3))
    assert long is not None
    assert long.detail == "the answer has 4 words, more than 3"


def test_words_of_scripts_without_spaces() -> None:
    """A sign of Chinese, Japanese or Thai counts as a word, so that length means the same everywhere."""
    assert words("海水是咸的") == list("海水是咸的")
    assert words("Größe 3,5 m") == ["grösse", "3", "5", "m"]
    assert fault(pair("p", chunk="c").question, pair("p", chunk="c").answer, Curate()) is None
