"""What the commands show: tables, warnings, lines."""

from __future__ import annotations

import sys
import warnings as python_warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

_console = Console(highlight=False)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Show a table, the first column to the left and numbers to the right; nothing is cut off."""
    rows = list(rows)
    # Names may contain brackets, which are not markup.
    grid = Table(title=Text(title, "table.title"), title_justify="left")
    for i, (name, width) in enumerate(zip(head, _widths(head, rows), strict=True)):
        side = "right" if i else "left"
        grid.add_column(Text(name), justify=side, overflow="fold", width=width)
    for row in rows:
        grid.add_row(*map(Text, row))
    _console.print(grid)


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Sequence[int | None]:
    """Return widths of columns: no word of the rows is broken, then none of the head, then no cell.

    Each as far as there is room; None where there is too little for the words of the rows.
    """
    cells = [list(column) for column in zip(head, *rows, strict=True)]
    words = [" ".join(column).split() for column in cells]
    widths, *wider = [
        [max([1, *map(len, column)]) for column in parts]
        for parts in ([" ".join(column[1:]).split() for column in cells], words, cells)
    ]
    room = _console.width - 1 - 3 * len(widths) - sum(widths)
    if room < 0:
        return [None] * len(widths)
    for wanted in wider:
        for i, width in enumerate(wanted):
            if width - widths[i] <= room:
                room -= width - widths[i]
                widths[i] = width
    return widths


@contextmanager
def warnings() -> Generator[None]:
    """Show warnings that are meant for users as lines, without their place in the code."""

    def show(message: Warning | str, *where: object, **more: object) -> None:
        tqdm.write(f"invflow: {message}", file=sys.stderr)  # above a progress bar

    with python_warnings.catch_warnings():
        python_warnings.simplefilter("default", UserWarning)
        python_warnings.showwarning = show
        yield


def say(line: str) -> None:
    """Show a line."""
    _console.print(line, soft_wrap=True, markup=False)
