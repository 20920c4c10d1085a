"""What a Stan model is given as: a program, and the data that it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invflow import _readable

#: Number of bytes above which data are refused.
LARGEST = 2**32
#: Suffixes of compiled programs.
COMPILED = {".so", ".dll", ".dylib", ".o", ".exe"}
_INCLUDE = re.compile(r"^[ \t]*#include[ \t]+[<\"]?([^\s<>\"]+)[>\"]?.*$", re.MULTILINE)

_VARIABLE = re.compile(r"variable name=(\w+)")


@dataclass(frozen=True)
class Program:
    """The text of a Stan program, includes filled in, and the file name that messages give."""

    name: str
    text: str


def program(given: str | Path) -> Program:
    """Return a Stan program from its text or its path.

    Text has blocks, so it is what contains a brace.

    Raises:
        FileNotFoundError: if there is no such file, or one that it includes does not exist.
        TypeError: if it is neither text nor a path.
        ValueError: if the file is a compiled model or not text, or includes itself.

    Example:
        >>> program("parameters { real x; } model { x ~ normal(0, 1); }").name
        'model.stan'
        >>> program("none.stan")
        Traceback (most recent call last):
        FileNotFoundError: none.stan does not exist
    """
    if not isinstance(given, str | Path):
        raise TypeError(
            f"program must be the path of a Stan program, or its text, got a {type(given).__name__}"
        )
    if isinstance(given, str) and "{" in given:
        return Program("model.stan", _filled(given, Path(), ()))
    path = Path(given)
    if path.suffix in COMPILED:
        raise ValueError(
            f"program must be a Stan program, got {path}, a compiled one: give the .stan file that "
            "it was compiled from"
        )
    return Program(path.name, _filled(_text(path), path.parent, (path.resolve(),)))


def _text(path: Path) -> str:
    try:
        return _readable.read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text: {error}") from error


def _filled(text: str, folder: Path, within: tuple[Path, ...]) -> str:
    """Return a program in which each `#include` is replaced by the file it names."""

    def content(found: re.Match[str]) -> str:
        path = (folder / found[1]).resolve()
        if path in within:
            raise ValueError(f"{path} includes itself")
        return _filled(_text(path), folder, (*within, path))

    return _INCLUDE.sub(content, text)


def data_text(data: Mapping[str, Any] | str | Path | None) -> str:
    """Return data as the text of a JSON object, which Stan reads.

    Args:
        data: values by name, or the path of a JSON file with them. Arrays are nested lists, row by
            row; complex numbers are pairs.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if JSON cannot hold the data.
        ValueError: if the file does not hold a JSON object.

    Example:
        >>> import numpy as np
        >>> data_text({"n": 2, "y": np.ones(2)})
        '{"n": 2, "y": [1.0, 1.0]}'
    """
    if data is None:
        return "{}"
    if isinstance(data, Mapping):
        return json.dumps(dict(data), default=_plain)
    if not isinstance(data, str | Path):
        raise TypeError(f"data must be values by name, or a path, got a {type(data).__name__}")
    path = Path(data)
    text = _readable.read(path, LARGEST)
    try:
        with _readable.memory_for(path):
            content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not hold JSON: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a JSON object, got a {type(content).__name__}")
    return text.decode("utf-8")


def refused(program: Program, data: str, message: str) -> ValueError:
    """Return the error of a program that does not accept its data.

    Args:
        program: the program.
        data: a JSON object as text.
        message: what Stan says, which for a missing variable may speak of its dimensions.
    """
    named = _VARIABLE.search(message)
    lacking = f", which lack {named[1]}" if named and named[1] not in json.loads(data) else ""
    told = message.removeprefix("Exception: ")
    return ValueError(f"{program.name} does not accept the data{lacking}: {told}")


def _plain(value: Any) -> Any:
    """Return values that JSON does not know as lists and numbers."""
    if isinstance(value, complex):
        return [value.real, value.imag]
    if not hasattr(value, "tolist"):
        raise TypeError(
            f"data must be numbers, lists, arrays or tensors, got a {type(value).__name__}"
        )
    return value.tolist()
