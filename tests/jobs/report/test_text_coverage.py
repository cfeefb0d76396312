from __future__ import annotations

from engine.records import decode, encode
from jobs.config.generation import Ask
from jobs.generation.worth_asking import worth_asking
from jobs.records import Chunk, LeftOut, PaperText
from jobs.report.text_coverage import ReadPaper, TextCoverage, read_papers, text_coverage


def chunk(
    paper: str, position: int, section: list[str], text: PaperText | None = None, *, numbers: bool = False
) -> Chunk:
    return Chunk(
        id=f"{paper}{position}", parent=paper, paper_id=paper, title=f"On {paper}", position=position, text="Mills.",
        page_first=1, page_last=1, split="train", section=section, mostly_numbers=numbers, paper_text=text,
    )  # fmt: skip


READ = PaperText(
    pages=3, characters=900, left_out={"references": 90}, omitted=[LeftOut(kind="references", page=3, text="[1] A. B.")]
)


def test_what_was_read_and_what_is_asked_about() -> None:
    """Each paper's first chunk says what was read; chunks are counted by why nothing is asked about them."""
    rows = [
        chunk("a", 0, ["Intro"], READ),
        chunk("a", 1, ["Funding"]),
        chunk("b", 0, []),
        chunk("b", 1, [], numbers=True),
    ]
    papers = list(read_papers(rows, worth_asking(Ask())))
    whole = text_coverage(papers)
    assert whole == TextCoverage(
        papers=2, pages=3, characters=900, left_out={"references": 90}, chunks=4, asked=2, skipped={"funding": 1, "numbers": 1}
    )  # fmt: skip
    assert papers == [
        ReadPaper(
            id="a",
            title="On a",
            pages=3,
            characters=900,
            left_out={"references": 90},
            chunks=2,
            asked=1,
            skipped={"funding": 1},
        ),
        ReadPaper(id="b", title="On b", pages=0, characters=0, left_out={}, chunks=2, asked=1, skipped={"numbers": 1}),
    ]


def test_what_was_left_out_can_be_looked_at() -> None:
    """Its text stands in the file, in the paper's first chunk and in no other."""
    line = encode(chunk("a", 0, [], READ))
    assert b"[1] A. B." in line
    assert decode(line, Chunk).paper_text == READ
    assert b"paper_text" not in encode(chunk("a", 1, []))
