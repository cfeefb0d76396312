from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.datasets import Dataset
from engine.job import ShardRows
from engine.records import encode
from engine.testing import scripted
from jobs.config.generation import Ask
from jobs.generation.ask import llama_index
from jobs.generation.grounded import Task
from jobs.generation.quota import Quota, Wanted
from jobs.generation.stated import Stated
from jobs.generation.worth_asking import WorthAsking, worth_asking
from jobs.parsing.section_names import BACK_MATTER
from jobs.records import Chunk, Question

DEFAULT = worth_asking(Ask())


def chunk(name: str, section: tuple[str, ...] = (), *, numbers: bool = False) -> Chunk:
    return Chunk(
        id=name, parent="p", paper_id="p", title="On Mills", position=0, text="A mill grinds.", page_first=1, page_last=1,
        split="train", section=list(section), mostly_numbers=numbers,
    )  # fmt: skip


def test_the_default_knows_all_back_matter() -> None:
    """Each kind is a word of the configuration."""
    assert Ask().skip_sections == tuple(BACK_MATTER)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        (("Methods", "Stones"), ""),
        ((), ""),
        (("ACKNOWLEDGMENTS",), "acknowledgements"),
        (("Declarations", "Conflicts of Interest"), "competing interests"),
        (("9. Author Contributions",), "author contributions"),
    ],
)
def test_back_matter_is_asked_nothing(section: tuple[str, ...], reason: str) -> None:
    """Whatever of its usual names it bears, and whatever stands above or below it."""
    assert DEFAULT.reason(chunk("c", section)) == reason


def test_own_headings_and_numbers() -> None:
    """A heading can be named as it is printed; numbers are asked about where that is wanted."""
    own = WorthAsking(skip_sections=["Stones of old mills"])
    assert own.reason(chunk("c", ("2 Mills", "STONES OF OLD MILLS"))) == "Stones of old mills"
    assert own(chunk("c", ("Acknowledgements",)))
    assert own(chunk("c", numbers=True))
    assert DEFAULT.reason(chunk("c", numbers=True)) == "numbers"


def test_contents_are_asked_nothing_in_whatever_section_they_stand() -> None:
    """They count as the kind "contents", which may be left out of the configuration; marked references do not."""
    entries = msgspec.structs.replace(chunk("c", ("Abstract",)), part="contents")
    assert DEFAULT.reason(entries) == "contents"
    assert WorthAsking(skip_sections=["Contents"]).reason(entries) == "Contents"
    assert WorthAsking(skip_sections=["references"])(entries)
    assert DEFAULT(msgspec.structs.replace(entries, part="references"))


async def test_a_cap_is_shared_by_the_chunks_that_are_asked_about(tmp_path: Path) -> None:
    """Those that are skipped take no part of it."""
    chunks, questions = Dataset(tmp_path / "chunks", Chunk), Dataset(tmp_path / "questions", Question)
    rows = [chunk("a"), chunk("b", ("Funding",)), chunk("c", numbers=True), chunk("d")]
    chunks.write_sealed(0, rows)
    quota = Quota(chunks, questions, per_chunk=2, cap=4, worth=DEFAULT)
    await quota.prepare()
    asked = {item.id: item.value.count for item in quota.expand(ShardRows(0, {"chunks": rows}))}
    assert asked == {"a": 2, "d": 2}


def test_a_chunk_without_a_section_is_written_as_it_was() -> None:
    """Rows of older runs have neither field."""
    line = encode(chunk("c"))
    assert b"section" not in line
    assert b"mostly_numbers" not in line
    assert b'"note":""' in line
    assert msgspec.json.decode(line, type=Chunk).section == []
    assert b'"section":["A"],"mostly_numbers":true' in encode(chunk("c", ("A",), numbers=True))


def test_the_asker_sees_the_section() -> None:
    """It stands between the title and the text; without one the prompt is as it was."""
    text = "The old mill of the village grinds the grain of all of its farmers in the autumn."
    small = Stated()
    shown = small.request(Task(chunk=msgspec.structs.replace(chunk("c", ("Results", "Grain")), text=text), count=2))
    plain = small.request(Task(chunk=msgspec.structs.replace(chunk("c"), text=text), count=2))
    assert shown is not None
    assert plain is not None
    assert "Paper: On Mills\nSection: Results > Grain\nExcerpt:\n" in shown.messages[1]["content"]
    assert "Paper: On Mills\nExcerpt:\n" in plain.messages[1]["content"]


async def test_the_recipe_of_llama_index_shows_the_section_before_the_text() -> None:
    """Its own prompt is not touched."""
    call = scripted("1. What does a mill grind?", "1. What does a mill grind?")
    for each in (chunk("c", ("Results", "Grain")), chunk("d")):
        await llama_index(512)(Wanted(chunk=each, count=1), call)
    shown, plain = (request.messages[0]["content"] for request in call.requests)
    assert shown == plain.replace("A mill grinds.", "Section: Results > Grain\n\nA mill grinds.")
    assert shown != plain
