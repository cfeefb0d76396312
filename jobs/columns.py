"""A table on the console: rich's on a terminal, columns of plain text elsewhere, so that it can be cut and compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_columns"]


def print_columns(
    heads: Sequence[str], lines: Sequence[Sequence[str]], console: Console, *, numbers: bool = False
) -> None:
    """Print `lines` under `heads`; with `numbers` all cells but those of the last column are flush right."""
    right = [numbers and number < len(heads) - 1 for number in range(len(heads))]
    if console.is_terminal:
        from rich.table import Table
        from rich.text import Text

        table = Table()
        for head, flush in zip(heads, right, strict=True):
            table.add_column(head, justify="right" if flush else "left")
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in [heads, *lines]:
        cells = map(_filled, line, widths, right)
        console.out("  ".join(cells).rstrip(), highlight=False)


def _filled(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)
