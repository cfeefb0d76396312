from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import get_args

import pymupdf
import pytest

from engine.errors import Permanent
from jobs.parsing import pdf
from jobs.parsing.extracted import Extracted
from jobs.parsing.failures import REASONS, Kind
from jobs.parsing.ocr import can_read
from jobs.parsing.pdf import extract

GOLDEN = Path(__file__).parents[1] / "golden"
PAPERS = Path(__file__).resolve().parents[3].parent / "shared" / "papers"

# What becomes of every file of the nasty set: "" where it is read, else the kind of its failure.
NASTY = {
    "docling-right_to_left_01.pdf": "",
    "huridocs-korean.pdf": "",
    "opf-020806.pdf": "",  # a real file with structural errors
    "opf-T02-02_002_page-tree-kids-links-recursive.pdf": "damaged",
    "opf-T02-02_007_page-tree-wrong-count.pdf": "damaged",
    "opf-javascript.pdf": "no_text",  # 17 letters
    "pdf-reader-encrypted_version4_revision4_128bit_aes_user_pass_apples_enc_metadata.pdf": "encrypted",
    "pdf-vertical.pdf": "no_text",  # 8 letters
    "pdfminer-issue-791-non-unicode-cmap.pdf": "no_text",  # glyphs whose meaning the file does not tell
    "pdfminer-zen_of_python_corrupted.pdf": "",
    "pdfpig-stackoverflow_error.pdf": "not_pdf",
    "pdfplumber-empty.pdf": "empty_file",
    "pypdf-r6-user-password.pdf": "encrypted",
    "qpdf-bookmarks-3.pdf": "not_pdf",
    "qpdf-empty.pdf": "no_pages",
    "qpdf-issue-1688a.pdf": "damaged",
    "synth-A Ünïcødé 論文 (final) [v2] #3 100%.PDF": "",
    "synth-A-bad-tounicode.pdf": "",
    "synth-A-crlf-mangled.pdf": "damaged",
    "synth-A-duplicate-resaved.pdf": "",  # duplicates are found later, in shard order
    "synth-A-duplicate-same-bytes.pdf": "",
    "synth-A-flate-bomb-200MB.pdf": "no_text",  # 25 letters around the bomb
    "synth-A-git-lfs-pointer.pdf": "not_pdf",
    "synth-A-hidden-prompt-injection.pdf": "",
    "synth-A-html-error-page.pdf": "not_pdf",
    "synth-A-many-pages.pdf": "",
    "synth-A-one-huge-token.pdf": "no_text",  # 27 letters without the token, which is no language
    "synth-A-owner-password-nocopy.pdf": "",
    "synth-A-png-renamed.pdf": "not_pdf",
    "synth-A-portfolio-attachment.pdf": "no_text",
    "synth-A-rotated-pages.pdf": "",
    "synth-A-scan-image-only.pdf": "" if can_read() else "no_text",
    "synth-A-truncated-60pct.pdf": "damaged",
    "synth-A-zeroed-blocks.pdf": "",  # with a note
    "verapdf-veraPDF-test-suite-6-4-2-t01-fail-a.pdf": "no_text",  # "Please wait...": an XFA form
}

TITLES = {
    "1910.10683": "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer",
    "2506.04071": "Optimal Transport-based Domain Alignment as a Preprocessing Step for Federated Learning",
    "2506.04184": "Core-collapse supernova parameter estimation with the upcoming Vera C. Rubin Observatory",
    "2506.04185": "R-Search: Empowering LLM Reasoning with Search via Multi-Reward Reinforcement Learning",
    "2510.11289": "Disentangling the Distributional Effects of Financial Shocks in the Euro Area",
    "2510.14285": "Debiased Kernel Estimation of Spot Volatility in the Presence of Infinite Variation Jumps",
    "2511.19153": "Fast and Flexible Flow Decompositions in General Graphs via Dominators",
    "bobocep": "BoboCEP: a Fault-Tolerant Complex Event Processing Engine for Edge Computing in Internet of Things",
    "complications": "Complications related to deep venous thrombosis prophylaxis in trauma: "
    "a systematic review of the literature",
    "highly": "Highly accurate protein structure prediction with AlphaFold",
    "ki67": "Ki67 in Breast Cancer Assay: An Ad Hoc Testing Recommendation from the Canadian Association of "
    "Pathologists Task Force",
    "ssg": "SSG: Simplified Spanish Grammar",
}

PAGES = [
    [
        (60, 18, "How a Mill Grinds Its Grain"),
        (90, 11, "Ada Author and Bob Writer"),
        (140, 10, "Abstract"),
        (160, 10, "A mill is an eﬃcient machine. We examine how it makes ﬂour of wheat, step by step, and mea-"),
        (172, 10, "sure what each of its state-of-the-art stones adds. Our ﬁnding: the slow ones are hand-"),
        (184, 10, "made and grind ﬁne."),
        (220, 10, "The hand that made the wheel is old. The miller is Jos´e. A sentence goes on from here"),
    ],
    [(60, 10, "to the second page, where it ends. Then comes another one.")],
]


def render(path: Path, pages: list[list[tuple[float, float, str]]], **save: object) -> Path:
    """Write a PDF with lines of text at a height and in a size, in points."""
    with pymupdf.open() as document:
        for lines in pages:
            writer = pymupdf.TextWriter(document.new_page().rect)
            for top, size, text in lines:
                writer.append((72, top), text, font=pymupdf.Font("tiro"), fontsize=size)
            writer.write_text(document[-1])
        document.save(path, **save)
    return path


def kind(path: Path, **settings: int) -> str:
    """How extracting fails."""
    with pytest.raises(Permanent) as caught:
        extract(str(path), **settings)
    assert str(caught.value).startswith(REASONS[caught.value.kind])  # type: ignore[index]
    return caught.value.kind


def test_a_rendered_paper_is_read_as_in_the_golden_file(tmp_path: Path) -> None:
    """Title, pages, ligatures, hyphens, accents and paragraphs of a small paper, letter by letter."""
    extracted = extract(str(render(tmp_path / "mill.pdf", PAGES)))
    golden = json.loads((GOLDEN / "parse_extracted.json").read_text(encoding="utf-8"))
    assert {"title": extracted.title, "pages": extracted.pages} == golden
    assert (extracted.unreadable_pages, extracted.repaired, extracted.note) == (0, False, "")


LONG = [(60 + 14 * number, 10, f"A line of some text, number {number}, that says a little.") for number in range(8)]


def test_the_empty_password_opens_and_others_are_needed(tmp_path: Path) -> None:
    """A file that forbids copying is read; one that asks for a password is "encrypted"."""
    locked = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "owner_pw": "owner"}
    assert extract(str(render(tmp_path / "owner.pdf", [LONG], **locked))).pages
    assert kind(render(tmp_path / "user.pdf", [LONG], user_pw="user", **locked)) == "encrypted"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty_file"),
        (b"potato salad", "not_pdf"),
        (b"<!DOCTYPE html><html><body><p>403 Forbidden</p></body></html>", "not_pdf"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 12\n", "not_pdf"),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "not_pdf"),
        (bytes(2000) + b"%PDF-1.7", "not_pdf"),
        (b"%PDF-1.7\nand nothing else", "damaged"),
        (b"<html>%PDF-1.7 is what this page is about</html>", "damaged"),
    ],
)
def test_what_is_no_pdf_is_named(tmp_path: Path, data: bytes, expected: str) -> None:
    """A name that ends in .pdf does not make a PDF, even where PyMuPDF would open it."""
    path = tmp_path / "paper.pdf"
    path.write_bytes(data)
    assert kind(path) == expected


def test_a_pdf_may_start_after_other_bytes(tmp_path: Path) -> None:
    """The header counts anywhere in the first kilobyte."""
    path = render(tmp_path / "paper.pdf", [LONG])
    path.write_bytes(b"mail header\n" * 20 + path.read_bytes())
    assert extract(str(path)).pages[0].startswith("A line of some text")


def test_files_that_cannot_be_opened_are_unreadable(tmp_path: Path) -> None:
    """Missing files and folders, with the system's reason."""
    assert kind(tmp_path / "missing.pdf") == "unreadable"
    assert kind(tmp_path) == "unreadable"


def test_scans_and_covers_have_no_text(tmp_path: Path) -> None:
    """Pages without letters, and a page of a few words, are not worth learning from."""
    assert kind(render(tmp_path / "blank.pdf", [[], []])) == "no_text"
    assert kind(render(tmp_path / "cover.pdf", [[(60, 20, "Open this portfolio in a newer reader.")]])) == "no_text"


def test_limits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, pages and characters are bounded; at the bound a file is still read."""
    path = render(tmp_path / "paper.pdf", [LONG, LONG])
    size = path.stat().st_size
    assert len(extract(str(path), max_bytes=size).pages) == 2
    assert kind(path, max_bytes=size - 1) == "too_large"
    monkeypatch.setattr(pdf, "MAX_PAGES", 1)
    assert kind(path) == "too_large"
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    monkeypatch.setattr(pdf, "MAX_CHARACTERS", 500)
    assert kind(path) == "too_large"


def test_other_bytes_than_listed_are_refused(tmp_path: Path) -> None:
    """A file that changed since it was listed is not read under its old name."""
    path = render(tmp_path / "paper.pdf", [LONG])
    listed = hashlib.sha256(path.read_bytes()).hexdigest()
    assert extract(str(path), sha256_expected=listed)
    render(path, [LONG, LONG])
    with pytest.raises(Permanent) as caught:
        extract(str(path), sha256_expected=listed)
    assert caught.value.kind == "changed"


def test_partly_readable_papers_keep_what_is_readable(tmp_path: Path) -> None:
    """A page that cannot be loaded is empty and counted; the others are whole."""
    path = tmp_path / "paper.pdf"
    with pymupdf.open(render(tmp_path / "whole.pdf", [LONG, LONG, LONG])) as document:
        # The second page becomes a branch of the page tree that holds only itself.
        branch, page = document.get_new_xref(), document.page_xref(1)
        document.update_object(branch, f"<</Type /Pages /Count 1 /Kids [{branch} 0 R]>>")
        root = int(document.xref_get_key(document.pdf_catalog(), "Pages")[1].split()[0])
        children = document.xref_get_key(root, "Kids")[1]
        document.xref_set_key(root, "Kids", children.replace(f"{page} 0 R", f"{branch} 0 R"))
        document.save(path)
    extracted = extract(str(path))
    assert [bool(page) for page in extracted.pages] == [True, False, True]
    assert extracted.note == "1 of 3 pages could not be read"


def test_pages_without_text_are_noted(tmp_path: Path) -> None:
    """A paper of which some pages are scans, or were lost silently, says so."""
    extracted = extract(str(render(tmp_path / "paper.pdf", [LONG, [], LONG, []])))
    assert extracted.note == "2 of 4 pages hold no text"


def test_a_repaired_file_says_so(tmp_path: Path) -> None:
    """Where the structure had to be rebuilt, the note warns that text may be missing."""
    path = render(tmp_path / "paper.pdf", [LONG])
    path.write_bytes(re.sub(rb"startxref\s+\d+", b"startxref\n7", path.read_bytes()))
    extracted = extract(str(path))
    assert extracted.repaired
    assert "repaired" in extracted.note


def test_every_failure_has_one_reason() -> None:
    """The list is closed: each kind has a sentence, and no two the same."""
    assert set(REASONS) == set(get_args(Kind))
    assert len(set(REASONS.values())) == len(REASONS)


def test_mupdf_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Damaged files are silent, on the level of C too."""
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.7\n" + os.urandom(1000))
    assert kind(path) in ("damaged", "no_pages")
    assert capfd.readouterr() == ("", "")


@pytest.mark.papers
@pytest.mark.parametrize("name", NASTY)
def test_nasty_files(name: str) -> None:
    """Each is read, or fails for the reason in the table."""
    assert outcome(PAPERS / "nasty" / name) == NASTY[name]


def outcome(path: Path) -> str:
    try:
        extracted = extract(str(path))
    except Permanent as failure:
        return failure.kind
    assert any(extracted.pages)
    return ""


@pytest.mark.papers
def test_the_table_is_complete() -> None:
    """No file of the nasty set is left out."""
    assert {path.name for path in (PAPERS / "nasty").iterdir()} == set(NASTY)


@pytest.mark.papers
@pytest.mark.parametrize("prefix", TITLES)
def test_good_papers(prefix: str) -> None:
    """Each has its whole title, and its pages are clean."""
    extracted = extract(str(next((PAPERS / "good").glob(f"{prefix}*.pdf"))))
    assert extracted.title == TITLES[prefix]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\ufb00-\ufb06\ufffd\ue000-\uf8ff]", text(extracted))
    assert not re.search(r"[a-z]-\n[a-z]", text(extracted))


@pytest.mark.papers
def test_hidden_text_is_only_text() -> None:
    """Instructions hidden in white print are read as words of the page; they change neither title nor page count."""
    plain = extract(str(next((PAPERS / "good").glob("bobocep*"))))
    poisoned = extract(str(PAPERS / "nasty" / "synth-A-hidden-prompt-injection.pdf"))
    assert (poisoned.title, len(poisoned.pages)) == (plain.title, len(plain.pages))


def text(extracted: Extracted) -> str:
    return "\n\n".join(extracted.pages)
