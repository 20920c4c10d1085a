"""A Stan model as a target."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow.vi.external import Array, external
from invflow.vi.target import Target


def from_stan(model: str | Path, data: Mapping[str, Any] | str | Path | None = None) -> StanTarget:
    """Return the posterior of a Stan model, through BridgeStan.

    BridgeStan builds the model with a C++ compiler the first time.

    Args:
        model: the path of a .stan file, or a program as text.
        data: values by name, or the path of a JSON file with them.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the model cannot be built, or does not take the data.
        ImportError: BridgeStan is not installed.
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
        model: a `bridgestan.StanModel`, or what has its methods.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.dim = int(model.param_unc_num())
        self._places = _places(model.param_names(include_tp=True, include_gq=False))

    def log_density(self, z: Tensor) -> Tensor:
        return external(self._value_and_gradient, z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        rows = z.detach().cpu().double().reshape(-1, self.dim).numpy()
        flat = [self._model.param_constrain(row, include_tp=True) for row in rows]
        values = torch.from_numpy(np.array(flat)).to(z)
        return {
            name: values[:, places].reshape(*z.shape[:-1], *shape)
            for name, (places, shape) in self._places.items()
        }

    def _value_and_gradient(self, rows: Array) -> tuple[Array, Array]:
        values, gradients = np.full(len(rows), np.nan), np.zeros_like(rows)
        for i, row in enumerate(rows):
            try:
                values[i], gradients[i] = self._model.log_density_gradient(row)
            except RuntimeError:  # Stan rejects the point
                continue
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
        return json.dumps({key: _plain(value) for key, value in data.items()})
    path = Path(data)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    return path.read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor | np.ndarray | np.generic) else value


def _places(names: list[str]) -> dict[str, tuple[list[int], tuple[int, ...]]]:
    """Return for each parameter where its numbers are, in the order of its shape, and that shape.

    Stan's names of numbers end in their indices, from one on, the first index running fastest.
    """
    entries: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for place, full in enumerate(names):
        name, *index = full.split(".")
        entries.setdefault(name, []).append((tuple(int(i) - 1 for i in index), place))
    found: dict[str, tuple[list[int], tuple[int, ...]]] = {}
    for name, pairs in entries.items():
        shape = tuple(max(axis) + 1 for axis in zip(*(index for index, _ in pairs), strict=True))
        found[name] = [place for _, place in sorted(pairs)], shape
    return found
