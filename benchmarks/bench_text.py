"""Is what parsing gives worth asking about: what is left of references and furniture, what is lost, what is cut?

The labelled papers beside the repository are parsed by `gristmill run --until parse`, and `check_text.py`, which lies
there too, scores the run from its files; its docstring defines each figure. Added are the chunks that are more than half
worthless, the order of sentences, words and table rows, and what the parsing costs beside bare extraction.

The figures are given for all papers and for either half of them: rules were made on one, and hold for the other if they hold
at all. What the order of words and table rows is, and when an exponent is glued, stands in `text_truth.py`.

A chunk's worthless letters are those of labelled references and furniture, of words without a letter, and of the lines
of a table of contents, which end in dots and a number.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from tables import Row, options, ratio, show_rows, skip, write
from text_truth import in_order, misread_exponents

from jobs.parsing import parse
from jobs.records import Paper

SHARED = Path(__file__).resolve().parents[2] / "shared"
LABELS = SHARED / "parse"
FOLDERS = [LABELS / "papers", SHARED / "papers" / "good"]
SETTINGS = parse.Settings(chunk_size=1024, chunk_overlap=200, split_by="paper", train=0.7, seed=0)
HALVES = {"development half": "01234567", "other half": "89abcdef"}
MOST_PAGES = 40  # of a paper whose reading is timed
TARGETS = {  # of check_text's figures: the figure, whether more is better, and in words
    "references_left": (0.03, False, "references left, of their letters"),
    "body_lost": (0.003, False, "body lost"),
    "furniture_left": (0.04, False, "furniture left, of the lines"),
    "titles_right": (0.97, True, "titles right"),
    "reference_chunks": (0.01, False, "chunks more than half references"),
    "sentences_intact": (0.97, True, "sentences in one piece"),
}
_NO_LETTER = re.compile(r"(?<!\S)[^\W_]*\d[\d.,:%±×^−–-]*(?!\S)|\.{4,}\s*\d+|(?:\. ){4,}\s*\d+")


def main() -> None:
    given = options(__doc__, rounds=3)
    if not (SHARED / "check_text.py").is_file() or not LABELS.is_dir():
        skip(given.json, "the labelled papers are not beside the repository")
    check = _module(SHARED / "check_text.py")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        _parse(run)
        scores = _scores(run, LABELS)
        halves = {name: _scores(run, _half(Path(folder), name)) for name in HALVES}
        chunks = _chunks(check, run)
    worthless = [_worthless(check, label, own) for label, own in chunks]
    share = sum(bad for bad, _ in worthless) / sum(total for _, total in worthless)
    order = _in_order(check, chunks)
    ours, bare = in_order(check, LABELS, _joined(chunks)), in_order(check, LABELS, _bare_texts(chunks))
    lost = misread_exponents(check, [(_path(label), texts) for label, texts in chunks])
    speed = _speed(given.rounds)
    glued, exponents = scores["exponents_glued"]
    rows = [
        *_target_rows("", scores),
        *(row for name, found in halves.items() for row in _target_rows(f" ({name})", found)),
        _row(
            f"exponents whose glued form stands anywhere, of {exponents}",
            glued / exponents if exponents else 0.0,
            0.05,
            False,
        ),
        _row(
            f"exponents glued at their own place, of {exponents}", lost / exponents if exponents else 0.0, 0.05, False
        ),
        _row("chunks more than half worthless", share, 0.06, False),
        _row("sentences that follow each other in the truth and in the text", order, 0.986, True),
        _row(f"words in order (bare extraction: {bare.words:.4f})", ours.words, 0.986, True),
        _row(f"rows of tables in order, of {ours.row_count} (bare: {bare.rows:.4f})", ours.rows, bare.rows, True),
        Row(
            measure="pages a CPU second, reading to chunks",
            value=f"{speed} × bare",
            target="≥ 0.6 × bare",
            met=speed.median >= 0.6,
        ),
    ]
    show_rows(f"{scores['papers']} labelled papers, {scores['chunks']} chunks", rows)
    write(given.json, {"rows": rows, "scores": scores, "halves": halves})


def _target_rows(suffix: str, scores: dict[str, Any]) -> list[Row]:
    return [
        _row(words + suffix, scores[key], target, is_more)
        for key, (target, is_more, words) in TARGETS.items()
        if scores[key] is not None
    ]


def _row(measure: str, value: float, target: float, is_more: bool) -> Row:
    met = value >= target if is_more else value <= target
    return Row(measure=measure, value=f"{value:.4f}", target=f"{'≥' if is_more else '≤'} {target:g}", met=met)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parse(run: Path) -> None:
    command = [sys.executable, "-m", "jobs", "run", *map(str, FOLDERS), "--out", str(run), "--until", "parse"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _half(folder: Path, name: str) -> Path:
    """A folder with the labels of one half of the papers, by the first digit of their checksum."""
    half = folder / name
    half.mkdir()
    with (LABELS / "papers_labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (half / "papers_labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["sha256"][0] in HALVES[name])
    shutil.copy(LABELS / "furniture_lines.csv", half)
    return half


def _scores(run: Path, labels: Path) -> dict[str, Any]:
    folders = [word for folder in FOLDERS for word in ("--papers", str(folder))]
    command = [sys.executable, str(SHARED / "check_text.py"), str(run), "--labels", str(labels), *folders]
    done = subprocess.run(
        [*command, "--truth", str(LABELS / "truth"), "--json"], check=True, capture_output=True, text=True
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, Any])


def _chunks(check: ModuleType, run: Path) -> list[tuple[dict[str, str], list[str]]]:
    """Of each labelled paper its label, and the texts of its chunks in order."""
    labels = {row["sha256"]: row for row in check.table(LABELS, "papers_labels.csv")}
    papers = {row["id"]: labels[row["sha256"]] for row in check.rows(run, "papers") if row["sha256"] in labels}
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for row in check.rows(run, "chunks"):
        texts[row["paper_id"]].append(row["text"])
    return [(label, texts[paper]) for paper, label in papers.items() if texts[paper]]


def _worthless(check: ModuleType, label: dict[str, str], chunks: Sequence[str]) -> tuple[int, int]:
    """How many of a paper's chunks are more than half worthless, and how many there are."""
    wanted = check.shingles("".join(_labelled(check, label)))
    bad = 0
    for text in chunks:
        numbers = sum(len(match[0]) for match in _NO_LETTER.finditer(text))
        letters = check.letters(text)
        bad += check.covered(letters, wanted) + numbers > 0.5 * len(letters)
    return bad, len(chunks)


def _labelled(check: ModuleType, label: dict[str, str]) -> Iterator[str]:
    """The labelled lines of references and furniture of a paper, as letters."""
    import pymupdf

    ends = list(check.sections(label))
    marks = {
        (int(row["page"]), int(row["line"]))
        for row in check.table(LABELS, "furniture_lines.csv")
        if row["paper"] == label["paper"]
    }
    with pymupdf.open(_path(label)) as document:
        for number, page in enumerate(document, 1):
            for index, (text, _) in enumerate(check.page_lines(page)):
                place = (number, index)
                if place in marks or any(first <= place < after for first, after, _ in ends):
                    yield check.letters(text)


def _path(label: dict[str, str]) -> Path:
    return next(path for path in _papers() if sha256(path.read_bytes()).hexdigest() == label["sha256"])


def _joined(chunks: Sequence[tuple[dict[str, str], list[str]]]) -> dict[str, str]:
    return {label["paper"]: "\n\n".join(texts) for label, texts in chunks}


def _bare_texts(chunks: Sequence[tuple[dict[str, str], list[str]]]) -> dict[str, str]:
    import pymupdf

    found = {}
    for label, _ in chunks:
        if (LABELS / "truth" / f"{label['paper']}.xml").is_file():
            with pymupdf.open(_path(label)) as document:
                found[label["paper"]] = "\n".join(page.get_text() for page in document)
    return found


def _papers() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted(folder.glob("*.pdf"))]


def _in_order(check: ModuleType, chunks: Sequence[tuple[dict[str, str], list[str]]]) -> float:
    """Of the truth's neighbouring sentences that both stand in the text, the share that stand in their order."""
    pairs = right = 0
    for label, own in chunks:
        path = LABELS / "truth" / f"{label['paper']}.xml"
        if path.is_file():
            joined = check.letters(" ".join(own))
            places = [joined.find(check.letters(sentence)) for sentence in check.truth_sentences(path)]
            found = [place for place in places if place >= 0]
            pairs += len(found) - 1
            right += sum(one < other for one, other in pairwise(found))
    return right / pairs if pairs else 1.0


def _speed(rounds: int) -> Any:
    """Bare extraction's CPU time over that of reading to chunks, for the same papers in this process."""
    import pymupdf

    parse.warm_up()
    bare: list[float] = []
    ours: list[float] = []
    paths = [path for path in _papers() if len(pymupdf.open(path)) <= MOST_PAGES]
    _read(paths[0])
    for _ in range(rounds):
        bare.append(0.0)
        ours.append(0.0)
        for path in paths:
            pymupdf.TOOLS.set_icc(True)  # as it is by default; reading sets it off again
            began = time.process_time()
            with pymupdf.open(path) as document:
                for page in document:
                    page.get_text()
            between = time.process_time()
            _read(path)
            bare[-1] += between - began
            ours[-1] += time.process_time() - between
    return ratio(bare, ours)


def _read(path: Path) -> None:
    parse.read_paper((Paper(id=path.name, parent="", path=str(path), sha256="", bytes=path.stat().st_size), SETTINGS))


if __name__ == "__main__":
    main()
