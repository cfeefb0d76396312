from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from formats_made import TEXT, latex

from engine.errors import Permanent
from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.latex import read
from jobs.parsing.parsers import Options


def extracted(
    body: str, path: Path = Path("/nowhere/main.tex"), *, before: str = "", references: str = "drop"
) -> Extracted:
    return read(latex(f"{TEXT}\n\n{body}", before=before), str(path), Options(references=references))


def paragraphs(body: str, **made: str) -> list[str]:
    return extracted(body, **made).pages[0].split("\n\n")[1:]


def test_text_reads_as_it_is_printed() -> None:
    """Accents, quotation marks, dashes and commands of style; comments and labels are gone, formulas are as written."""
    body = (
        r"J\'er\^ome's ``mill'' --- 50\% \emph{better}, $x_i^2 < 3$.% a comment"
        "\n"
        r"\label{x}Next, see Section~\ref{x}."
    )
    assert paragraphs(body) == ["Jérôme's “mill” — 50% better, $x_i^2 < 3$.Next, see Section."]
    assert paragraphs(r"\begin{equation}\label{e} E = mc^2 \end{equation}") == [
        r"\begin{equation} E = mc^2 \end{equation}"
    ]


def test_title_sections_and_abstract() -> None:
    """The title is the one of the preamble; sections nest by their command; the abstract has a heading."""
    body = (
        rf"\begin{{abstract}}{TEXT}\end{{abstract}}\section[short]{{First \emph{{one}}}}A.\subsection*{{Second}}B."
        r"\appendix\section{Third}C."
    )
    article = extracted(body)
    assert article.title == "How a Mill Grinds"
    assert [(heading.level, heading.title) for heading in article.headings] == [
        (1, "Abstract"),
        (1, "First one"),
        (2, "Second"),
        (1, "Third"),
    ]
    assert all(article.pages[0][heading.start :].startswith(heading.title) for heading in article.headings)
    assert "Ada Author" not in article.pages[0]


def test_citations_and_references() -> None:
    """A citation names its keys; the list of references is left out and counted."""
    body = (
        r"As \citet{a} and \cite[p.~3]{b,c} say."
        "\n"
        r"\begin{thebibliography}{9}\bibitem{a} Smith 2020.\end{thebibliography} After."
    )
    article = extracted(body)
    assert article.pages[0].split("\n\n")[1:] == ["As [a] and [b,c] say.", "After."]
    assert article.left_out == {"references": len("Smith 2020.")}
    assert "Smith 2020." in extracted(body, references="keep").pages[0]


def test_items_floats_and_rows() -> None:
    """Each item, caption and row of a table is a paragraph; drawings are left out."""
    body = (
        r"\begin{itemize}\item one\item two\end{itemize}\begin{description}\item[Hub] turns\end{description}"
        r"\begin{table}[h]\centering\caption{Sizes of mills}\begin{tabular}{lr}\hline a & b \\ 1 & 2 \\\hline\end{tabular}\end{table}"
        r"\begin{figure}\includegraphics[width=3cm]{x.png}\caption{A mill}\end{figure}\begin{tikzpicture}\draw (0,0);\end{tikzpicture}"
    )
    assert paragraphs(body) == ["one", "two", "Hub turns", "Sizes of mills", "a | b", "1 | 2", "A mill"]


def test_macros_of_the_source_are_put_in() -> None:
    """With arguments and without, and macros in macros; one that never ends is left."""
    before = (
        r"\newcommand{\mill}{MillNet}\newcommand\both[2]{#2 and #1}\def\twice{\mill, \mill}\renewcommand{\loop}{x\loop}"
    )
    assert paragraphs(r"\mill{} is \both{a}{b}; \twice. \mills", before=before) == [
        "MillNet is b and a; MillNet, MillNet."
    ]
    assert paragraphs(r"\loop{} ends", before=before)[0].endswith("ends")


def test_what_the_library_stumbles_over_costs_only_itself() -> None:
    """A link without its words, at the end of a group, takes nothing with it."""
    assert paragraphs(r"Before {see \href} after.") == ["Before after."]


def test_macros_do_not_grow() -> None:
    """Macros that double each other many times are stopped."""
    names = [f"\\x{letter}" for letter in "abcdefghi"]
    before = "".join(f"\\newcommand{{{name}}}{{{f'{after} ' * 200}}}" for name, after in pairwise(names))
    with pytest.raises(Permanent) as caught:
        extracted(r"\xa", before=before)
    assert caught.value.kind == "too_large"


def test_what_is_included_stands_in_the_folder(tmp_path: Path) -> None:
    """With or without ".tex", in folders below; nothing outside is read, by a path or by a link; what is missing is named."""
    paper = tmp_path / "paper"
    (paper / "sections").mkdir(parents=True)
    (tmp_path / "secret.tex").write_text("SECRET")
    (paper / "sections" / "one.tex").write_text(r"One.\input{sections/two.tex}")
    (paper / "sections" / "two.tex").write_text("Two.")
    (paper / "link.tex").symlink_to(tmp_path / "secret.tex")
    (paper / "loop.tex").symlink_to(paper / "loop.tex")
    body = r"\input{sections/one}\include{../secret}\input{%s}\input link \input{loop}" % (tmp_path / "secret.tex")
    article = extracted(body, paper / "main.tex")
    assert article.pages[0].split("\n\n")[1] == "One.Two."
    assert article.note == f"included files are missing: ../secret, {tmp_path}/secret.tex, link, loop"


def test_a_file_that_includes_itself_is_too_large(tmp_path: Path) -> None:
    """No loop of files, and no tree of them, is followed without end."""
    (tmp_path / "a.tex").write_text(r"\input{a}")
    with pytest.raises(Permanent) as caught:
        extracted(r"\input{a}", tmp_path / "main.tex")
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    "deep", ["{" * 20_000, r"\emph{" * 20_000, r"\begin{center}" * 5_000, "$" * 9_999, r"\section{" * 9_000]
)
def test_no_depth_of_nesting_harms(deep: str) -> None:
    """Groups in groups are a counted failure or are read; the worker goes on."""
    try:
        assert extracted(deep).pages[0].startswith("Grain")
    except Permanent as error:
        assert error.kind in ("damaged", "no_text")  # noqa: PT017 - either is right


def test_a_table_has_its_header() -> None:
    """The first row's cells, for chunks that begin among the others."""
    text = f"{TEXT}\n\n\\begin{{tabular}}{{ll}}mill & sacks\\\\ Rose & 12\\\\ Lamb & 7\\\\ \\end{{tabular}}"
    (table,) = read(latex(text), "a.tex", Options()).tables
    assert table.header == "mill | sacks"
