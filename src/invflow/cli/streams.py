"""What the commands write to: nothing that goes wrong there ends what they are doing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Tolerant(io.TextIOBase):
    """A stream for people to read, which never fails.

    Characters that its encoding lacks are replaced. Once it cannot be written to, because its
    reader has gone, its disk is full or it is closed, what follows is dropped.

    Args:
        stream: the stream as it is; None where there is none.

    Attributes:
        lost: whether something that someone may have wanted to read was dropped.

    Example:
        >>> shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
        >>> print("0.5 ± 0.1", end="", file=Tolerant(shown))
        >>> shown.buffer.getvalue()
        b'0.5 ? 0.1'
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost = False

    def __getattr__(self, name: str) -> Any:
        # What else a stream has, as `reconfigure`, which the model of a user may call.
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        known = text.encode(self.encoding, "replace").decode(self.encoding)
        with self._until_it_fails():
            if self._stream is not None:
                self._stream.write(known)
        return len(text)

    def flush(self) -> None:
        with self._until_it_fails():
            if self._stream is not None:
                self._stream.flush()

    @contextmanager
    def _until_it_fails(self) -> Generator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            stream, self._stream = self._stream, None
            # What is still in its buffer must not fail once more when Python ends.
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno() if stream else nowhere)
                os.close(nowhere)
            # A reader like `head` has seen enough, and whoever closed a stream knows it.
            if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                self.lost = True
                sys.stderr.write(f"invflow: no more can be shown: {error}\n")


def check_shown() -> None:
    """Exit with status 1 if the output was lost, for commands that do nothing but show it."""
    sys.stdout.flush()
    if isinstance(sys.stdout, Tolerant) and sys.stdout.lost:
        sys.exit(1)


@contextmanager
def tolerant() -> Generator[None]:
    """Make the standard streams tolerant."""
    # Of standard streams that are closed the numbers are free, and the next file would get one:
    # whatever is written to the standard output or error then would go into it.
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(lowest)
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Tolerant(streams[0]), Tolerant(streams[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams
