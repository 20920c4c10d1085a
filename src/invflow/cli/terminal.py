"""What the commands show: tables, warnings, lines."""

from __future__ import annotations

import sys
import warnings as python_warnings
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

_console = Console(highlight=False)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Show a table, the first column to the left and numbers to the right.

    Columns that do not fit beside each other follow below, each time with the first column.
    """
    columns = list(zip(head, *rows, strict=True))
    for number, block in enumerate(_blocks(columns, _console.width)):
        # Names may contain brackets, which are not markup.
        name = None if number else Text(title, "table.title")
        grid = Table(title=name, title_justify="left")
        for i, (first, *_) in enumerate(block):
            grid.add_column(Text(first), justify="right" if i else "left", overflow="fold")
        for row in zip(*(cells for _, *cells in block), strict=True):
            grid.add_row(*map(Text, row))
        _console.print(grid)


def _blocks(columns: Sequence[Sequence[str]], width: int) -> list[list[Sequence[str]]]:
    """Return columns in groups that fit into a width, each of which begins with the first."""
    # Beside its text, a column takes two spaces and a line.
    widths = [max(map(cell_len, column)) + 3 for column in columns]
    blocks, left = [[columns[0]]], width - 1 - widths[0]
    for column, needed in zip(columns[1:], widths[1:], strict=True):
        if needed > left and len(blocks[-1]) > 1:
            blocks.append([columns[0]])
            left = width - 1 - widths[0]
        blocks[-1].append(column)
        left -= needed
    return blocks


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
