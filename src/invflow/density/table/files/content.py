"""The content of text files, perhaps compressed: their encoding, and whether they can be parsed."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from invflow._readable import check_expansion

#: Bytes read at a time.
PIECE = 2**20
#: Bytes read at the most from the top to find out how to read the rest.
HEAD = 2**18
#: The longest line in bytes. A parser takes minutes for a longer one, however short the file.
LONGEST_LINE = 2**20


def encoding_of(path: Path) -> str:
    """Return the encoding of a text file.

    Raises:
        OSError: if the compression is damaged.
        ValueError: if it cannot be told.
    """
    with opened(path) as file:
        top = file.read(HEAD)
    if top.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding, high, low in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        zeros = top[high::2].count(0)
        if not len(top) % 2 and zeros > len(top) / 4 and not top[low::2].count(0):
            return encoding
    # Windows' encoding gives a meaning to nearly every byte: it is what is left if UTF-8 fails.
    for encoding in ("utf-8", "cp1252"):
        error, foreign = _undecodable(path, encoding)
        if error is None:
            return encoding
        if encoding == "utf-8" and (foreign or "unexpected end" in str(error)):
            break
    raise ValueError(f"{path} is not UTF-8 text: {error}; name its encoding with --encoding")


def _undecodable(path: Path, encoding: str) -> tuple[UnicodeDecodeError | None, bool]:
    """Return why a file does not have an encoding, and if other than ASCII came before that."""
    decoder, foreign = codecs.getincrementaldecoder(encoding)(), False
    try:
        for piece in pieces(path):
            foreign = foreign or not decoder.decode(piece).isascii()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        start = error.object[: error.start].decode(encoding, "ignore")
        return error, foreign or not start.isascii()
    return None, foreign


def check(path: Path, encoding: str) -> None:
    """Check that a text file can be parsed.

    Raises:
        ValueError: if it has another encoding, has NUL bytes or too long a line.
    """
    decoder, unfinished = codecs.getincrementaldecoder(encoding)(), 0
    for piece in chain(pieces(path), [b""]):
        try:
            characters = decoder.decode(piece, not piece)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not {encoding} text: {error}; name its encoding with --encoding"
            ) from error
        if "\0" in characters:
            raise ValueError(f"{path} is not {encoding} text: it has NUL bytes; save it as UTF-8")
        *_, last = characters.replace("\r", "\n").rpartition("\n")
        unfinished = len(last) + (unfinished if len(last) == len(characters) else 0)
        if unfinished > LONGEST_LINE:
            raise ValueError(f"{path} has a line of more than {LONGEST_LINE:,} bytes")


@contextmanager
def opened(path: Path) -> Generator[Any]:
    """Open a file for its bytes, uncompressed."""
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as file:
        yield file


def pieces(path: Path) -> Iterator[bytes]:
    """Give the content of a file, uncompressed, while it does not grow too much.

    Raises:
        OSError: if the compression is damaged.
        ValueError: if it expands too much.
    """
    size, expanded = path.stat().st_size, 0
    with opened(path) as file:
        for piece in iter(partial(file.read, PIECE), b""):
            expanded += len(piece)
            check_expansion(path, expanded, size)
            yield piece


def open_quote(path: Path) -> str:
    """Say it if a quotation mark is not closed, so that lines run together."""
    marks = sum(piece.count(b'"') for piece in pieces(path))
    return ", and a quotation mark that is not closed" if marks % 2 else ""
