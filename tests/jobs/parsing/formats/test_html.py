from __future__ import annotations

from formats_made import TEXT, html

from jobs.parsing.extracted import Extracted
from jobs.parsing.formats.html import read
from jobs.parsing.parsers import Options


def extracted(body: str, head: str = "", **options: str) -> Extracted:
    return read(html(body, head), "a.html", Options(**options))


def paragraphs(body: str) -> list[str]:
    """The paragraphs of a page, without the one that makes it long enough."""
    return [each for each in extracted(f"<p>{TEXT}</p>{body}").pages[0].split("\n\n") if each != TEXT]


def test_the_main_part_is_read_and_nothing_around_it() -> None:
    """Navigation, footers, scripts, forms and what is hidden are left out, inside of the main part too."""
    page = (
        f"<header>Banner</header><nav>Home</nav><main><h1>Mills</h1><p>{TEXT}</p><script>x</script><aside>Ad</aside>"
        "<form>Subscribe</form><p hidden>secret</p><div role='navigation'>Up</div></main><footer>Imprint</footer>"
    )
    assert extracted(page).pages == [f"Mills\n\n{TEXT}"]
    assert extracted(f"<div>Around</div><article><p>{TEXT}</p></article>").pages == [TEXT]
    assert extracted(f"<nav>Home</nav><p>{TEXT}</p><footer>Imprint</footer>").pages == [TEXT]


def test_blocks() -> None:
    """Paragraphs, items, rows and breaks; letters in line join their words."""
    assert paragraphs("<p>One <b>b</b>old<br>word</p>bare text<ul><li>first<li>second</ul>") == [
        "One bold word",
        "bare text",
        "first",
        "second",
    ]
    table = "<table><tr><th>a</th><th><p>b</p></th></tr><tr><td>1</td><td></td><td>3</td></tr></table>"
    assert paragraphs(table) == ["a | b", "1 | | 3"]


def test_raised_numbers_and_formulas() -> None:
    """An exponent has its sign, a citation its brackets, a formula its TeX."""
    assert paragraphs(
        "<p>2<sup>19</sup> = 524,288 m<sup>2</sup>, 10<sup>−3</sup>, the 1<sup>st</sup> of H<sub>2</sub>O"
    ) == ["2^19 = 524,288 m^2, 10^−3, the 1st of H2O"]
    assert paragraphs("<p>known<sup><a href='#r'>3</a></sup>, seen<sup>4,5</sup> and shown.<sup>6</sup></p>") == [
        "known [3], seen [4,5] and shown. [6]"
    ]
    formula = "<math alttext='x^2'><mi>x</mi></math>"
    tex = "<math><mi>y</mi><annotation encoding='application/x-tex'>y^2</annotation></math>"
    assert paragraphs(f"<p>so {formula} and {tex} and <math><mi>z</mi></math></p>") == ["so $x^2$ and $y^2$ and z"]


def test_headings_and_references() -> None:
    """Levels begin at 1; references go from their heading to the next of its level, or are an element of the page's."""
    page = f"<h1>Mills</h1><h2>A</h2><p>{TEXT}</p><h3>B</h3><p>b</p><h2>References</h2><h3>Books</h3><p>Smith</p><h2>C</h2>"
    read_ = extracted(page)
    assert [(heading.level, heading.title) for heading in read_.headings] == [(1, "A"), (2, "B"), (1, "C")]
    assert all(read_.pages[heading.page][heading.start :].startswith(heading.title) for heading in read_.headings)
    assert read_.left_out == {"references": len("ReferencesBooksSmith")}
    assert "Smith" in extracted(page, references="keep").pages[0]
    listed = extracted(f"<p>{TEXT}</p><section class='ltx_bibliography'><p>Smith</p></section><p>after</p>")
    assert (listed.pages, listed.left_out) == ([f"{TEXT}\n\nafter"], {"references": 5})


def test_the_title() -> None:
    """As the journal states it, else the one heading of the first level, else the page's title."""
    citation = "<meta name='citation_title' content='Stated'><title>Of the page</title>"
    assert extracted(f"<h1>Heading</h1><p>{TEXT}</p>", citation).title == "Stated"
    assert extracted(f"<h1>Heading</h1><p>{TEXT}</p>", "<title>Of the page</title>").title == "Heading"
    assert extracted(f"<h1>A</h1><h1>B</h1><p>{TEXT}</p>", "<title>Of the page</title>").title == "Of the page"


def test_no_depth_of_nesting_harms() -> None:
    """A page of elements in elements, a hundred thousand deep, is read as far as the library goes, in time."""
    assert extracted(f"<p>{TEXT}</p>{'<div>' * 100_000}x").pages[0].startswith(TEXT)
    assert extracted(f"<p>{TEXT}</p>{'<table><tr><td>' * 3_000}x").pages[0].startswith(TEXT)


def test_a_table_has_its_header() -> None:
    """The first row's cells, for chunks that begin among the others."""
    rows = "".join(
        f"<tr><td>{mill}</td><td>{sacks}</td></tr>" for mill, sacks in (("mill", "sacks"), ("Rose", 12), ("Lamb", 7))
    )
    (table,) = extracted(f"<p>{TEXT}</p><table>{rows}</table>").tables
    assert table.header == "mill | sacks"
