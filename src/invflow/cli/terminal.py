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
    """Show a table, the first column to the left and numbers to the right."""
    # Names may hold brackets, which are no markup.
    grid = Table(title=Text(title, "table.title"), title_justify="left")
    for i, name in enumerate(head):
        grid.add_column(Text(name), justify="right" if i else "left")
    for row in rows:
        grid.add_row(*map(Text, row))
    _console.print(grid)


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
