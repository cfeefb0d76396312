from __future__ import annotations

from pathlib import Path

import pytest
from formats_made import TEXT, jats

from engine.errors import Permanent
from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.jats import read
from jobs.parsing.parsers import Options


def extracted(body: str, references: str = "drop", **made: str) -> Extracted:
    return read(jats(body, **made), "a.xml", Options(references=references))


def paragraphs(body: str, **made: str) -> list[str]:
    """The paragraphs after the title and the abstract."""
    return extracted(body, **made).pages[0].split("\n\n")[3:]


def test_an_article_is_title_abstract_body_and_back() -> None:
    """Authors and journal are metadata, and no text; the abstract has a heading of its own."""
    article = extracted("<p>Body.</p>", title="How a <italic>Mill</italic> Grinds", back="<ack><p>Thanks.</p></ack>")
    assert article.title == "How a Mill Grinds"
    assert article.pages == [f"How a Mill Grinds\n\nAbstract\n\n{TEXT}\n\nBody.\n\nAcknowledgements\n\nThanks."]
    assert [(heading.level, heading.title) for heading in article.headings] == [
        (1, "Abstract"),
        (1, "Acknowledgements"),
    ]


def test_sections_nest() -> None:
    """The level of a heading is how deep its section stands; its number stands before it."""
    article = extracted(
        "<sec><label>1</label><title>A</title><p>a</p><sec><title>B</title><p>b</p></sec></sec><sec><title>C</title></sec>"
    )
    assert [(heading.level, heading.title) for heading in article.headings] == [
        (1, "Abstract"),
        (1, "1 A"),
        (2, "B"),
        (1, "C"),
    ]
    assert all(article.pages[0][heading.start :].startswith(heading.title) for heading in article.headings)


def test_references_are_those_of_the_file() -> None:
    """They are left out and counted, or kept as they are; what follows them stays."""
    back = (
        "<ref-list><title>Literature</title><ref><label>1</label><mixed-citation>Smith</mixed-citation></ref></ref-list>"
        "<app-group><app><title>Appendix</title><p>More.</p></app></app-group>"
    )
    article = extracted("<p>Body.</p>", back=back)
    assert article.pages[0].endswith("Body.\n\nAppendix\n\nMore.")
    assert article.left_out == {"references": len("Literature1 Smith")}
    assert "Literature\n\n1 Smith\n\nAppendix" in extracted("<p>Body.</p>", back=back, references="keep").pages[0]


def test_figures_tables_and_formulas() -> None:
    """Captions follow their number, rows are whole, formulas are their TeX, or else their signs."""
    body = (
        "<fig><label>Figure 1</label><caption><title>A mill.</title><p>It turns.</p></caption><graphic/></fig>"
        "<table-wrap><label>Table 1</label><caption><p>Sizes</p></caption><table><tr><td><p>a</p></td><td>b</td></tr></table>"
        "</table-wrap><p>As <inline-formula><tex-math>\\usepackage{x}\\begin{document}$x_1$\\end{document}</tex-math>"
        "</inline-formula> and <mml:math><mml:mi>y</mml:mi></mml:math>.</p><disp-formula><tex-math>E=mc^2</tex-math></disp-formula>"
    )
    assert paragraphs(body) == [
        "Figure 1 A mill.",
        "It turns.",
        "Table 1 Sizes",
        "a | b",
        "As $x_1$ and y.",
        "$E=mc^2$",
    ]


def test_raised_numbers_and_signs_of_html() -> None:
    """Exponents and citations are told apart; entities that the file does not declare are those of HTML."""
    assert paragraphs(
        "<p>10<sup>19</sup>&nbsp;m&eacute;tres<sup><xref>3</xref></sup> &lt; &bogus;5<!-- no -->6</p>"
    ) == ["10^19 métres [3] < 56"]


LAUGHS = "<!DOCTYPE article [<!ENTITY a0 'ha'>{}]>".format(
    "".join(f"<!ENTITY a{number + 1} '{f'&a{number};' * 10}'>" for number in range(12))
)


def test_entities_do_not_grow(tmp_path: Path) -> None:
    """Neither a thousand millions of laughs nor another file comes out of an entity."""
    assert paragraphs("<p>Body &a12; goes on.</p>", doctype=LAUGHS) == ["Body goes on."]
    secret = tmp_path / "secret.txt"
    secret.write_text("TOP SECRET")
    outside = f'<!DOCTYPE article [<!ENTITY file SYSTEM "{secret.as_uri()}"><!ENTITY % more SYSTEM "{secret.as_uri()}">%more;]>'
    assert paragraphs("<p>Body &file; goes on.</p>", doctype=outside) == ["Body goes on."]


def test_depth_and_damage() -> None:
    """Too deep a nest is read as far as the library goes; half an article is one; what is none is named."""
    assert TEXT in extracted("<sec>" * 50_000).pages[0]
    assert TEXT in read(jats(f"<p>{TEXT * 20}</p>")[:-900], "a.xml", Options()).pages[0]
    for data, kind in [(b"<feed><entry/></feed>", "wrong_format"), (b"no xml", "damaged"), (b"\0\1\2", "damaged")]:
        with pytest.raises(Permanent) as caught:
            read(data, "a.xml", Options())
        assert caught.value.kind == kind
