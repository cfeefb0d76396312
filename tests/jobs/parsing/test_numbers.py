from __future__ import annotations

import pytest

from jobs.parsing.numbers import is_mostly_numbers

ROW = "Stone 3.5 4.1 ± 0.2 <0.01 17 % 28.4 "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROW * 10, True),
        ("The mill grinds 3 tons of 17 kinds of grain in 24 hours. " * 10, False),
        ("x = y + z, a ≤ b, f(x) → 0 " * 20, False),  # formulas have few digits
        ("1 2 3", False),  # too short to say
        ("COX-2 IL6 p53 BRCA1 " * 20, False),  # names with digits are words
    ],
)
def test_a_table_of_numbers_is_told_from_text_with_numbers(text: str, expected: bool) -> None:
    """By whether more of its words are numbers than words."""
    assert is_mostly_numbers(text) is expected
