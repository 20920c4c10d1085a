"""A model in a Python or a Stan file, for the command line."""

from __future__ import annotations

import functools
import json
import re
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from invflow import _readable
from invflow.vi.targets.target import Flat, Target

#: Number of bytes above which data are refused.
LARGEST = 2**32
#: The part of a program that Stan shows below the first line of a message.
_EXCERPT = re.compile(r"\n\s*-{9,}\n.*?\n\s*-{9,}\n", re.DOTALL)


def load(path: Path, data: Path | None) -> Target:
    """Return the target that a file defines: a Stan program, or a Python file, which is run.

    A Python file defines one of

    - `target`: a `Target`, or a function of the data that returns one;
    - `log_density` and `dim`: a function of vectors, (batch, dim) to (batch,), and their size; with
      data it is called as `log_density(z, **data)`;
    - `model`: a Pyro model, called with the data; or a PyMC model, which includes its data.

    Args:
        path: the file; that of a Stan program ends in .stan.
        data: a file with a JSON object. For a Python file its lists become tensors of double
            precision (indices need `.long()`).

    Raises:
        FileNotFoundError: if a file is missing.
        ImportError: if what the model needs is not installed.
        ValueError: if the Python file fails or defines none of these, the Stan program cannot be
            compiled, or the data are not a JSON object or not what the model needs.
    """
    if path.suffix == ".stan":
        return _stan(path, data)
    values = {} if data is None else read(data)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        names = runpy.run_path(str(path))
        return _target(names, values, path)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModelFileError):
            raise
        line = str(error).partition("\n")[0]
        raise ModelFileError(f"{path} fails: {type(error).__name__}: {line}") from error


def _stan(path: Path, data: Path | None) -> Target:
    from invflow.vi.targets.stan.target import from_stan

    try:
        return from_stan(path, data)
    except ValueError as error:
        line = " ".join(_EXCERPT.sub(" ", str(error)).split())
        raise ModelFileError(_readable.shortened(line)) from error


class ModelFileError(ValueError):
    """A model file that does not define a target."""


def read(path: Path) -> dict[str, Any]:
    """Return the values of a JSON object, with tensors for lists of numbers.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it does not hold a JSON object, or a list is not an array of numbers.
    """
    text = _readable.read(path, LARGEST)
    try:
        with _readable.memory_for(path):
            content = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} does not hold JSON: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} must hold a JSON object, got a {type(content).__name__}")
    return {str(name): _value(path, str(name), value) for name, value in content.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's values by name; refuse names that appear twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} appears twice")
    return values


def _value(path: Path, name: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    try:
        return torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {name!r} is not an array of numbers: {error}") from error


def _target(names: Mapping[str, Any], data: dict[str, Any], path: Path) -> Target:
    if "target" in names:
        found = names["target"]
        made = found(**data) if callable(found) and not isinstance(found, Target) else found
        if not isinstance(made, Target):
            raise ModelFileError(f"{path}: target must be a Target, got {type(made).__name__}")
        return made
    if "log_density" in names:
        if "dim" not in names:
            raise ModelFileError(
                f"{path} must define dim along with log_density: the size of its vectors"
            )
        return Flat(_with(names["log_density"], data), names["dim"])
    if type(names.get("model")).__module__.startswith("pymc."):
        if data:
            raise ModelFileError(f"{path}: a PyMC model includes its data; leave out --data")
        from invflow.vi.targets.pymc import from_pymc

        return from_pymc(names["model"])
    if "model" in names:
        from invflow.vi.targets.pyro import from_pyro

        return from_pyro(names["model"], **data)
    raise ModelFileError(
        f"{path} must define target, log_density and dim, or model; it defines none of them"
    )


def _with(function: Callable[..., Any], data: dict[str, Any]) -> Callable[..., Any]:
    return functools.partial(function, **data) if data else function
