"""A table on the console: rich's on a terminal, plain columns elsewhere, so that other programs can read it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["print_columns"]


def print_columns(
    heads: Sequence[str], lines: Sequence[Sequence[str]], console: Console, *, numbers: bool = False
) -> None:
    """Print `lines` under `heads`; with `numbers` all cells but those of the last column are flush right.

    On a terminal that is too narrow for whole numbers, the columns are plain, too.
    """
    if console.is_terminal and not numbers:
        console.print(_table(heads, lines))
        return
    columns = list(zip(heads, *lines, strict=True))
    least = [max(map(len, [*head.split(), *cells])) for head, *cells in columns]
    if console.is_terminal and sum(least) + 2 * (len(heads) - 1) <= console.width:
        console.print(_table(heads, lines, least))
        return
    widths = [max(map(len, column)) for column in columns]
    for line in [heads, *lines]:
        *cells, last = map(str.rjust if numbers else str.ljust, line, widths)
        console.out("  ".join([*cells, last.strip()]).rstrip(), highlight=False)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], least: Sequence[int] = ()) -> Table:
    """rich's table; with the `least` widths of columns of numbers it is as narrow as it can be, and has no frame."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False) if least else Table()
    for number, head in enumerate(heads):
        if least:
            right = number < len(heads) - 1
            table.add_column(fill(head, least[number]), justify="right" if right else "left", no_wrap=True)
        else:
            table.add_column(head)
    for line in lines:
        table.add_row(*map(Text, line))
    return table
