"""A Stan model as a target."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow.vi.targets.external import Array, external
from invflow.vi.targets.target import Target


def from_stan(model: str | Path, data: Mapping[str, Any] | str | Path | None = None) -> StanTarget:
    """Return the posterior of a Stan model, through BridgeStan.

    BridgeStan builds the model with a C++ compiler the first time. The density includes all
    constants that Stan computes. Stan leaves some out: a prior on a parameter with bounds is
    normalised on the whole real line unless it is truncated by `T[ , ]` (a half-Cauchy by
    `real<lower=0>` lacks log 2), and one on an `ordered` vector lacks the log of a factorial.

    Args:
        model: the path of a .stan file, or a program as text.
        data: values by name, or the path of a JSON file with them.

    Raises:
        FileNotFoundError: if a file is missing.
        TypeError: if JSON cannot hold the data.
        ValueError: if the model cannot be built, does not accept the data, or has no parameters.
        ImportError: if BridgeStan is not installed.
    """
    try:
        import bridgestan
    except ImportError as error:
        raise ImportError('from_stan needs BridgeStan: pip install "invflow[stan]"') from error
    path, values = _program(model), _json(data)
    try:
        return StanTarget(bridgestan.StanModel(str(path), data=values))
    except (RuntimeError, OSError) as error:
        raise ValueError(f"model {path.name} cannot be built: {error}") from error


class StanTarget(Target):
    """A Stan model on its unconstrained scale; made by `from_stan`.

    Args:
        model: a `bridgestan.StanModel`, or an object with its methods.
    """

    caveat = (
        "The log evidence is that of the density as Stan defines it: priors on parameters with "
        "bounds are not normalised without T[ , ], nor are those on ordered and unit vectors."
    )

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dim = int(model.param_unc_num())
        if not self.dim:
            raise ValueError("model must have a parameter, got none")
        names = model.param_names(include_tp=True, include_gq=False)
        self._places, self._columns = _places(names), len(names)

    def log_density(self, z: Tensor) -> Tensor:
        return external(self._value_and_gradient, z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        rows = z.detach().cpu().double().reshape(-1, self.dim).numpy()
        flat = np.full((len(rows), self._columns), np.nan)
        for i, row in enumerate(rows):
            with suppress(RuntimeError):  # Stan rejects the point
                flat[i] = self._model.param_constrain(row, include_tp=True)
        values = torch.from_numpy(flat).to(z)
        return {
            name: values[:, places].reshape(*z.shape[:-1], *shape)
            for name, (places, shape) in self._places.items()
        }

    def _value_and_gradient(self, rows: Array) -> tuple[Array, Array]:
        values, gradients = np.full(len(rows), np.nan), np.zeros_like(rows)
        for i, row in enumerate(rows):
            with suppress(RuntimeError):  # Stan rejects the point
                # Constants belong to the evidence; BridgeStan leaves them out by default.
                values[i], gradients[i] = self._model.log_density_gradient(
                    row, propto=False, jacobian=True
                )
        return values, gradients


def _program(model: str | Path) -> Path:
    text = str(model)
    if isinstance(model, Path) or (text.endswith(".stan") and "\n" not in text):
        path = Path(model)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist")
        return path
    path = Path(tempfile.mkdtemp(prefix="invflow-stan-")) / "model.stan"
    path.write_text(text, encoding="utf-8")
    return path


def _json(data: Mapping[str, Any] | str | Path | None) -> str | None:
    if data is None:
        return None
    if isinstance(data, Mapping):
        return json.dumps(dict(data), default=_plain)
    path = Path(data)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return path.read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return values that JSON does not know as lists and numbers."""
    if not hasattr(value, "tolist"):
        raise TypeError(
            f"data must be numbers, lists, arrays or tensors, got a {type(value).__name__}"
        )
    return value.tolist()


def _places(names: list[str]) -> dict[str, tuple[list[int], tuple[int, ...]]]:
    """Return the columns of each parameter, in the order of its shape, and that shape.

    Stan's names of numbers end in indices that start at one, the first index running fastest. What
    follows the indices is part of the name: parts of complex numbers, entries of tuples.
    """
    entries: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for place, full in enumerate(names):
        name, *index = full.split(".")
        while not all(i.isdecimal() for i in index):
            name, index = f"{name}.{index[0]}", index[1:]
        entries.setdefault(name, []).append((tuple(int(i) - 1 for i in index), place))
    found: dict[str, tuple[list[int], tuple[int, ...]]] = {}
    for name, pairs in entries.items():
        shape = tuple(max(axis) + 1 for axis in zip(*(index for index, _ in pairs), strict=True))
        found[name] = [place for _, place in sorted(pairs)], shape
    return found
