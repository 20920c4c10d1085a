"""The estimator on disk: its arguments, what it knows of the table, and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from invflow import _saving
from invflow.density.build import build
from invflow.density.plain import plain
from invflow.density.table import Columns
from invflow.density.table.columns import check_kinds

if TYPE_CHECKING:
    from invflow.density.estimator import FlowDensity

Estimator = TypeVar("Estimator", bound="FlowDensity")
MODEL = "table-density"


def write(density: FlowDensity, directory: Path) -> None:
    """Write a fitted estimator, each file whole or not at all.

    Raises:
        ValueError: an argument that JSON cannot hold.
    """
    state = {f"model.{k}": v for k, v in density.model_.state_dict().items()}
    if density.imputer_ is not None:
        state |= {f"imputer.{k}": v for k, v in density.imputer_.state_dict().items()}
    state["reference"] = torch.from_numpy(density.reference_)
    names = getattr(density, "feature_names_in_", None)
    # By name, as keys that are numbers are none in JSON.
    kinds = None if density.kinds is None else check_kinds(density.kinds, density.columns_.names)
    config = {
        "params": plain({**density.get_params(), "kinds": kinds, "random_state": None}),
        "columns": density.columns_.to_dict(),
        "curve": density.curve_,
        "names": None if names is None else list(names),
        "gives_frames": density.gives_frames_,
    }
    _saving.write(directory, MODEL, config, state)


def read(kind: type[Estimator], directory: Path) -> Estimator:
    """Return the estimator that `write` has written.

    Args:
        kind: its class.
        directory: where it is.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is truncated, foreign or newer than this version.
    """
    name, config = _saving.read_config(directory)
    state, _ = _saving.read_tensors(directory / _saving.TENSORS)
    if name != MODEL:
        raise ValueError(f"{directory} holds the model {name!r}, expected {MODEL!r}")
    try:
        density = kind(**config["params"])
        density.columns_ = Columns.from_dict(config["columns"])
        density.n_features_in_ = len(density.columns_.names)
        density.model_, density.imputer_ = build(
            density.columns_,
            0,
            density.flow,
            density.transforms,
            density.hidden_features,
            density.flow_options,
        )
        _fill(density.model_, state, "model.")
        if density.imputer_ is not None:
            _fill(density.imputer_, state, "imputer.")
        density.curve_ = [(step, bound) for step, bound in config["curve"]]
        density.reference_ = state["reference"].numpy()
        density.gives_frames_ = bool(config["gives_frames"])
        if config["names"] is not None:
            density.feature_names_in_ = np.array(list(config["names"]), dtype=object)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{directory} does not fit a density of tables: {error}") from error
    return density


def _fill(module: nn.Module, state: dict[str, Tensor], prefix: str) -> None:
    """Load the part of a state whose names begin with a prefix."""
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    dtype = next((v.dtype for v in part.values() if v.is_floating_point()), None)
    module.get_submodule("flow").to(dtype=dtype)  # what is known of the table stays in float64
    module.load_state_dict(part)
    module.eval()
