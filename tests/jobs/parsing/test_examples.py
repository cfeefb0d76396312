from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pymupdf = pytest.importorskip("pymupdf")

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SOURCES = sorted((EXAMPLES / "source").glob("*.md"))
NAMES = [source.stem for source in SOURCES]


@pytest.fixture(scope="module")
def render() -> ModuleType:
    """The program `examples/render.py`, which is not part of a package."""
    spec = importlib.util.spec_from_file_location("render", EXAMPLES / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_source_has_its_paper() -> None:
    """There are three papers, and none without a source."""
    assert len(NAMES) == 3
    assert sorted(path.stem for path in (EXAMPLES / "papers").glob("*.pdf")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_says_what_its_source_says(render: ModuleType, name: str) -> None:
    """The committed PDF holds the text of today's source: whoever changes one renders the other."""
    rendered = render.render((EXAMPLES / "source" / f"{name}.md").read_text("utf-8"))
    committed = (EXAMPLES / "papers" / f"{name}.pdf").read_bytes()
    assert _text(committed) == _text(rendered)
    assert len(committed) < 100_000


@pytest.mark.processes
def test_rendering_gives_the_same_bytes_each_time(render: ModuleType) -> None:
    """No time, no random identifier and no order of a set reaches the file, in this process or in another."""
    text = SOURCES[0].read_text("utf-8")
    program = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import render; "
        "sys.stdout.buffer.write(render.render(sys.stdin.read()))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program], input=text.encode(), capture_output=True, check=True
    )
    assert elsewhere.stdout == render.render(text)
    assert render.render(text) == render.render(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_looks_like_one(render: ModuleType, name: str) -> None:
    """It has 2 to 4 numbered pages, its fonts are subsets, its title is its largest text, and its date is fixed."""
    source = (EXAMPLES / "source" / f"{name}.md").read_text("utf-8")
    with pymupdf.open("pdf", render.render(source)) as document:
        assert {document.metadata["creationDate"], document.metadata["modDate"]} == {"D:20260101000000Z"}
        assert 2 <= len(document) <= 4
        for number, page in enumerate(document, 1):
            assert page.get_text().split()[-1] == str(number)
            assert all("+" in font[3] or font[3] == "Times-Roman" for font in page.get_fonts())
        spans = [
            span
            for block in document[0].get_text("dict")["blocks"]
            for line in block.get("lines", [])
            for span in line["spans"]
        ]
        largest = max(span["size"] for span in spans)
        title = " ".join(span["text"].strip() for span in spans if span["size"] == largest)
        assert title == document.metadata["title"] == render.title_of(source)
        text = document[0].get_text()
        assert "Abstract" in text
        assert "1 Introduction" in text


@pytest.mark.parametrize("name", NAMES)
def test_no_mark_of_the_source_is_left(name: str) -> None:
    """Marks of the source, such as asterisks and backquotes, are laid out and not printed."""
    text = _text((EXAMPLES / "papers" / f"{name}.pdf").read_bytes())
    assert not {"*", "`", "#", "|"} & set(text)


def _text(data: bytes) -> str:
    with pymupdf.open("pdf", data) as document:
        return "\n".join(page.get_text() for page in document)
