"""The estimator on disk: its arguments, what it knows about the table, and its weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from invflow import _checks, _saving
from invflow._checks import plain
from invflow._sized import check_fit, sized_by
from invflow.density.learning.build import build
from invflow.density.learning.defaults import Defaults, settled
from invflow.density.learning.maximum_likelihood import settings
from invflow.density.table import Columns
from invflow.density.table.containers import Container
from invflow.density.table.kinds import check_kinds
from invflow.density.table.labels import Label, are_names, by_label, column_label, decode, encode
from invflow.density.table.samples import Floats
from invflow.density.table.survey import MISSING

Estimator = TypeVar("Estimator")
MODEL = "table-density"
#: The parts of a density and of an imputer with weights.
LEARNED = ("flow", "categories")
#: Of the names of tensors on disk.
MODEL_PREFIX, IMPUTER_PREFIX, REFERENCE = "model.", "imputer.", "reference"


def write(density: Any, directory: Path) -> None:
    """Write a fitted estimator, each file whole or not at all.

    Raises:
        OSError: if the disk is full, or a file cannot be written.
        TypeError, ValueError: if JSON cannot hold an argument.
    """
    state = _state(density) | {REFERENCE: torch.from_numpy(density.reference_)}
    names = getattr(density, "feature_names_in_", None)
    columns = density.columns_
    kinds = None if density.kinds is None else check_kinds(density.kinds, columns.names)
    said = {
        # As pairs, as labels that are not strings cannot be keys in JSON.
        "kinds": kinds and [[encode(label), plain(kind.said)] for label, kind in kinds.items()],
        "conditional_on": [encode(name) for name in columns.given],
        "random_state": None,
    }
    config = {
        "params": plain({**density.get_params(), **said}),
        "settings": plain(asdict(density.settings_)),
        "networks": density.model_.networks,
        "columns": columns.to_dict(),
        "levels": [None if level is None else encode(level) for level in density.levels_],
        "curve": density.curve_,
        "names": None if names is None else list(names),
        "container": density.container_.to_dict(),
    }
    _saving.write(directory, MODEL, config, state)


def read(kind: type[Estimator], directory: Path) -> Estimator:
    """Return the estimator that `write` has written.

    Args:
        kind: its class.
        directory: where it is.

    Raises:
        FileNotFoundError: if a file is missing.
        OSError: if a file cannot be read, or does not fit into memory.
        ValueError: if a file is damaged, foreign or newer than this version, or if the files were
            not saved together.
    """
    saved = _saving.read(directory)
    if saved.model != MODEL:
        raise ValueError(f"{directory} holds the model {saved.model!r}, expected {MODEL!r}")
    what = "a density of tables"
    with _saving.fitting(directory, what):
        density: Any = _built(kind, saved)
    state = saved.tensors()
    with _saving.fitting(directory, what):
        _fill(density.model_, state, MODEL_PREFIX)
        if density.imputer_ is not None:
            _fill(density.imputer_, state, IMPUTER_PREFIX)
        density.reference_ = _reference(state[REFERENCE])
    return density


def _built(kind: type[Estimator], saved: _saving.Saved) -> Estimator:
    """Return an estimator without its weights, which have the sizes of those that were saved."""
    config = saved.config
    density: Any = kind(**_current(config["params"]))
    columns = density.columns_ = Columns.from_dict(config["columns"])
    if density.kinds is not None:
        density.kinds = by_label(density.kinds)
        check_kinds(density.kinds, columns.names)
    density.conditional_on = [decode(label) for label in density.conditional_on]
    if "settings" not in config:
        raise ValueError(
            "it was saved by an earlier version, which this one cannot read: train it again"
        )
    chosen = density.settings_ = settled(density, Defaults(**config["settings"]))
    _check(density, columns)
    density.n_features_in_ = len(columns.names)
    networks = _checks.positive_integer("networks", config["networks"])
    flow = density.flow, density.transforms, chosen.hidden_features, density.flow_options
    with sized_by(saved.sizes, [flow, chosen.ensemble, networks]):
        density.model_, density.imputer_ = build(columns, 0, *flow, chosen.ensemble, networks)
    check_fit(_state(density) | {REFERENCE: saved.sizes[REFERENCE]}, saved.sizes)
    density.curve_ = [
        (_checks.positive_integer("step", step), _checks.number("bound", bound))
        for step, bound in config["curve"]
    ]
    density.container_ = _container(config)
    # Files of earlier versions have no levels.
    density.levels_ = _levels(config.get("levels", [None]), columns)
    if config["names"] is not None:
        if list(config["names"]) != list(columns.names) or not are_names(columns.names):
            raise ValueError(f"names must be those of the columns, got {config['names']!r}")
        density.feature_names_in_ = np.array(list(columns.names), dtype=object)
    return density


def _state(density: Any) -> dict[str, Tensor]:
    """Return the weights of an estimator by the names that they have on disk."""
    state = {f"{MODEL_PREFIX}{k}": v for k, v in density.model_.state_dict().items()}
    if density.imputer_ is not None:
        state |= {f"{IMPUTER_PREFIX}{k}": v for k, v in density.imputer_.state_dict().items()}
    return state


def _current(params: Any) -> dict[str, Any]:
    """Return arguments of the estimator, those of earlier versions brought up to date."""
    current = dict(params)
    if isinstance(current.get("compile"), str):
        current["compile"] = current["compile"] == "always"
    return current


def _container(config: Any) -> Container:
    """Return what the density was trained on; earlier versions knew arrays and pandas only."""
    if "container" in config:
        return Container.from_dict(config["container"])
    return Container(
        "pandas" if _checks.boolean("gives_frames", config["gives_frames"]) else "numpy"
    )


def _check(density: Any, columns: Columns) -> None:
    """Check that the arguments are those of a density of the columns, and could train it.

    Raises:
        TypeError, ValueError: if they are not.
    """
    given = [column_label("conditional_on", key, columns.names) for key in density.conditional_on]
    if set(given) != set(columns.given):
        raise ValueError(f"conditional_on must name the context, got {density.conditional_on!r}")
    missing = _checks.choice("missing", density.missing, MISSING)
    if columns.missing != (missing != "refuse"):
        raise ValueError(f"missing must be as in the columns, got {missing!r}")
    chosen = density.settings_
    _checks.fraction("validation_fraction", chosen.validation_fraction)
    _checks.boolean("compile", density.compile)
    settings(
        0,
        steps=chosen.steps,
        batch_size=chosen.batch_size,
        learning_rate=density.learning_rate,
        weight_decay=chosen.weight_decay,
        evaluate_every=_checks.positive_integer("evaluate_every", chosen.evaluate_every),
        patience=density.patience,
    )


def _reference(values: Tensor) -> Floats:
    """Return log densities that rows are compared with."""
    if values.ndim != 1 or not len(values) or values.dtype != torch.float64 or values.isnan().any():
        raise ValueError("reference must hold log densities")
    return values.numpy()


def _levels(content: Any, columns: Columns) -> tuple[Label, ...]:
    """Return the names of the levels of labels; only labels that are tuples have several."""
    levels = tuple(None if level is None else decode(level) for level in content)
    lengths = {len(name) if isinstance(name, tuple) else 1 for name in columns.names}
    if not isinstance(content, list) or (len(levels) != 1 and lengths != {len(levels)}):
        raise ValueError(f"levels must be those of the columns' labels, got {content!r}")
    return levels


def _fill(module: nn.Module, state: dict[str, Tensor], prefix: str) -> None:
    """Load the part of a state whose names begin with a prefix."""
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    dtype = next((v.dtype for v in part.values() if v.is_floating_point()), None)
    for name, child in module.named_children():
        if name in LEARNED:  # statistics of the table stay in float64
            child.to(dtype=dtype)
    module.load_state_dict(part)
    module.eval()
