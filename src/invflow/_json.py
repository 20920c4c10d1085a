"""JSON that is what it seems to be: no duplicate keys, no infinities, no bottomless nesting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, cast

from invflow import _readable

#: Nesting beyond which a file is refused: Python's own functions fail at about 1000.
DEEPEST = 100
#: Digits of an integer beyond which it is refused: it would not fit into a float.
LONGEST = 300


def read(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        FileNotFoundError: if it does not exist.
        OSError: if it cannot be read.
        ValueError: if it is not valid JSON in UTF-8, or holds a duplicate key, a number that is
            NaN, infinite or too long, text that is not Unicode, or deep nesting.
    """
    content = _readable.read(path)
    try:
        with _readable.memory_for(path):
            return parsed(content)
    except ValueError as error:
        raise ValueError(f"{path} is not a valid JSON file: {error}") from error


def parsed(content: bytes | str) -> Any:
    """Return what JSON text holds.

    Raises:
        ValueError: if it is not valid JSON, as for `read`.

    Example:
        >>> parsed('{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: the key 'a' appears twice
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    try:
        value: Any = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except RecursionError as error:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from error
    _check_depth(value)
    if "\\" in text:  # an escape can spell half a character
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def text(value: Any) -> str:
    """Return a value as the text of a JSON file.

    Raises:
        TypeError: if it holds something that JSON cannot.
        ValueError: if it holds NaN or infinity.
    """
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice!r} appears twice")
    return content


def _constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not a number in JSON")


def _float(digits: str) -> float:
    number = float(digits)
    if abs(number) == float("inf"):
        raise ValueError(f"it holds {digits[:20]}, which is too large")
    return number


def _integer(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError(f"it holds an integer of {len(digits):,} digits")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = list(chain.from_iterable(map(_inner, level)))
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _inner(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(cast(Mapping[str, Any], value).values())
    return cast(list[Any], value) if isinstance(value, list) else []
