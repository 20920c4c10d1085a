"""Checks of a text file before it is parsed as a table: encoding, size, names of columns."""

from __future__ import annotations

import codecs
import gzip
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from invflow._readable import check_expansion
from invflow.density.table.labels import unique
from invflow.density.table.limits import check_columns

#: Bytes read at a time.
PIECE = 2**20
#: The longest line in bytes. A parser takes minutes for a longer one, however short the file.
LONGEST_LINE = 2**20


def check(path: Path) -> None:
    """Check that a text file, perhaps compressed, can be parsed.

    Raises:
        OSError: if the compression is damaged.
        ValueError: if it is not UTF-8, has NUL bytes or too long a line, or expands too much.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    compressed = path.name.lower().endswith(".gz")
    size, expanded, unfinished = path.stat().st_size, 0, 0
    with gzip.open(path) if compressed else path.open("rb") as file:
        for piece in iter(partial(file.read, PIECE), b""):
            expanded += len(piece)
            check_expansion(path, expanded, size)
            _check_utf8(path, decoder, piece)
            *_, last = piece.replace(b"\r", b"\n").rpartition(b"\n")
            unfinished = len(last) + (unfinished if len(last) == len(piece) else 0)
            if unfinished > LONGEST_LINE:
                raise ValueError(f"{path} has a line of more than {LONGEST_LINE:,} bytes")
    _check_utf8(path, decoder, b"", final=True)


def _check_utf8(
    path: Path, decoder: codecs.IncrementalDecoder, piece: bytes, final: bool = False
) -> None:
    try:
        characters = decoder.decode(piece, final)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    if "\0" in characters:
        raise ValueError(f"{path} is not UTF-8 text: it has NUL bytes; save it as UTF-8")


def names(path: Path, separator: str) -> list[str]:
    """Return the names of columns in the first line.

    Raises:
        ValueError: if one is missing, two are the same, or all are numbers.
    """
    # Read separately, because pandas renames columns with the same name without a warning.
    head: Any = pd.read_csv(
        path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False
    )
    check_columns(path, head.shape[1])
    found = [str(name) for name in unique(head.iloc[0])]
    if all(_is_number(name) for name in found):
        raise ValueError(f"the first line of {path} has numbers, not the names of columns")
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
