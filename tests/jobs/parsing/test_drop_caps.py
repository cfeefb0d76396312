"""A large first letter beside its text begins the first word of it."""

from __future__ import annotations

import pytest
from printed_papers import Print, column, layout_of, prose

from jobs.parsing.arrange import arrange, kinds_of
from jobs.parsing.parsers import Options


def text_of(page: list[Print]) -> str:
    layout = layout_of([page])
    return "".join(segment.text for segment in arrange(layout, kinds_of(layout), Options()).segments)


def opened(cap: str, line: str, *, size: float = 40, x: float = 100, y: float = 80) -> str:
    """A page whose text begins with `line`, right of a large `cap`."""
    return text_of([Print(72, 100, cap, size), Print(x, y, line, 10), *column(prose(20), y=150)])


@pytest.mark.parametrize(
    ("cap", "line", "expected"),
    [
        ("T", "hromboembolic disorders are rare.", "Thromboembolic disorders are rare."),
        ("T", "HE MILL of the village grinds.", "THE MILL of the village grinds."),
        ("A", "fter the rain the mill turns.", "After the rain the mill turns."),
        ("A", "mill turns after the rain.", "A mill turns after the rain."),
        ("É", "tant donné que le moulin tourne.", "Étant donné que le moulin tourne."),
    ],
)
def test_a_drop_cap_begins_its_word(cap: str, line: str, expected: str) -> None:
    """Whether the document has that word elsewhere or not; "A" is a word of its own before one."""
    assert opened(cap, line).startswith(f"{expected}\n")


@pytest.mark.parametrize("changed", [{"size": 12}, {"x": 300}, {"y": 130}])
def test_other_single_letters_stay_alone(changed: dict[str, float]) -> None:
    """One of the size of the text, one far from it and one above it are labels."""
    assert opened("N", "terminus of the protein.", **changed).startswith("N\n")
