"""What the commands show: progress bars, tables, lines."""

from __future__ import annotations

import sys
import warnings as python_warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

_console = Console(highlight=False)


@contextmanager
def progress() -> Generator[Callable[[int, str], None]]:
    """Give the function that shows how far the work is: (steps done, how it goes)."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[line]}"),
    )
    bar = Progress(*columns, console=_console)
    task = bar.add_task("training", total=None, line="")

    def move(done: int, line: str) -> None:
        bar.start()
        bar.update(task, completed=done, line=line)

    try:
        yield move
    finally:
        if bar.live.is_started:
            bar.stop()


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
    """Show warnings that are meant for users as lines, without the place in the code."""

    def show(message: Warning | str, *where: object, **more: object) -> None:
        sys.stderr.write(f"invflow: {message}\n")

    with python_warnings.catch_warnings():
        python_warnings.simplefilter("default", UserWarning)
        python_warnings.showwarning = show
        yield


def say(line: str) -> None:
    """Show a line."""
    _console.print(line, soft_wrap=True, markup=False)
