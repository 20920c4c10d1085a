"""Progress on the standard error stream: a bar, or plain lines where it is not a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, TextIO

from invflow._extra import required

#: Seconds between plain lines where a bar cannot be shown; shorter tasks print none.
INTERVAL = 10.0


@contextmanager
def progress(what: str, total: int | None) -> Generator[Callable[[int, str], None]]:
    """Show progress until the end of the block, from the first call of the function it gives.

    In a terminal or a notebook it is a bar with the time elapsed and remaining; elsewhere, such as
    in a log file, a plain line every `INTERVAL` seconds. A stream that is closed or breaks is
    ignored.

    Args:
        what: label of the bar.
        total: number of steps; None if unknown.

    Returns:
        A function to call with the number of steps done and a line of text.

    Raises:
        ImportError: if tqdm is not installed.

    Example:
        >>> with progress("training", 3) as move:
        ...     for done in range(3):
        ...         move(done + 1, "loss 0.1")
    """
    # Without widgets, a notebook's bar is one of text; tqdm.auto would warn at its first import.
    module = "tqdm.auto" if find_spec("ipywidgets") else "tqdm"
    tqdm = required(module, "training").tqdm
    options = _options()
    if options is not None and total is None:
        # The steps of several stages, which have no common rate.
        options["bar_format"] = "{desc}: {n} steps [{elapsed}{postfix}]"
    bar: Any = None

    def move(done: int, line: str) -> None:
        nonlocal bar
        if options is None:
            return
        with suppress(OSError, ValueError):  # of a stream that broke
            if bar is None:
                bar = tqdm(desc=what, total=total, initial=done, unit="step", **options)
            bar.set_postfix_str(line, refresh=False)
            bar.update(done - bar.n)

    try:
        yield move
    finally:
        if bar is not None:
            with suppress(OSError, ValueError):
                bar.close()


def visible() -> bool:
    """Return whether a bar would be seen: in a terminal or a notebook, with tqdm installed."""
    stream = sys.stderr
    if find_spec("tqdm") is None:
        return False
    if stream is None or stream.closed:  # pyright: ignore[reportUnnecessaryComparison]
        return False
    return _is_terminal(stream) or "ipykernel" in sys.modules


def _options() -> dict[str, Any] | None:
    """Return the options of the bar that suit the standard error stream, None if it is closed."""
    stream = sys.stderr
    if stream is None or stream.closed:  # pyright: ignore[reportUnnecessaryComparison]
        return None
    if visible():
        return {"dynamic_ncols": True}
    lines = _Lines(stream)
    return {
        "file": lines,
        "mininterval": INTERVAL,
        "delay": INTERVAL,
        "leave": False,
        "ncols": 0,
        "miniters": 1,
    }


def _is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal of known size: tqdm shows nothing where it is unknown."""
    with suppress(OSError, ValueError):
        return stream.isatty() and min(os.get_terminal_size(stream.fileno())) > 0
    return False


class _Lines:
    """A stream that turns the states of a bar, which overwrite each other, into lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()
