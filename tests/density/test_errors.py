"""Messages about tables and their densities that no other test reaches, word for word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from invflow import _readable
from invflow.density import FlowDensity, experiment
from invflow.density.checks import calibration
from invflow.density.config import Config
from invflow.density.learning import saved
from invflow.density.table import labels, read
from invflow.density.table.labels import column_names
from tests.density.estimators import small


def _rows(count: int = 50) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(count, 2))


def _frame() -> pd.DataFrame:
    return pd.DataFrame(_rows(), columns=["a", "b"])


def _saved(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> Any:
    """Load a density whose columns on disk were changed."""
    import json

    density = small(conditional_on=["b"]).fit(_frame())
    density.save(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    change(content["config"])
    (tmp_path / "config.json").write_text(json.dumps(content))
    return FlowDensity.load(tmp_path)


CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "scores-of-two-dimensions": (
        lambda: calibration.anomaly(np.zeros((2, 2)), np.zeros(3)),
        ValueError,
        r"log_density must have shape \(rows,\), got \(2, 2\)",
    ),
    "no-reference": (
        lambda: calibration.anomaly(np.zeros(2), np.zeros(0)),
        ValueError,
        "reference must have at least one log density, got none",
    ),
    "beyond-the-unit-interval": (
        lambda: calibration.calibrate(np.array([[0.5], [2.0]])),
        ValueError,
        r"must lie in \[0, 1\], got values from 0.5 to 2.0",
    ),
    "names-that-are-a-word": (
        lambda: column_names("ab", 2),
        TypeError,
        "names must be a sequence of labels, got 'ab'",
    ),
    "names-of-other-columns": (
        lambda: column_names(["a"], 2),
        ValueError,
        r"names must be 2 different names, got \['a'\]",
    ),
    "no-columns": (
        lambda: labels.unique([]),
        ValueError,
        "the table has no columns",
    ),
    "label": (
        lambda: labels.decode(None),
        ValueError,
        "not the label of a column: None",
    ),
    "expansion": (
        lambda: _readable.check_expansion(Path("a.npz"), 2**40, 100),
        ValueError,
        "a.npz expands from 100 to 1,099,511,627,776 bytes or more, which looks like damage",
    ),
    "bounds-of-a-condition": (
        lambda: small(conditional_on=["b"], kinds={"b": (0.0, None)}).fit(_frame()),
        ValueError,
        "column 'b' is in conditional_on and cannot have bounds in kinds",
    ),
    "given-without-condition": (
        lambda: small().fit(_frame()).sample(2, given={"b": 1.0}),
        ValueError,
        "given must be None, because the density is not conditional",
    ),
    "given-of-another-shape": (
        lambda: small(conditional_on=[1]).fit(_rows()).sample(2, given=np.zeros((1, 3))),
        ValueError,
        r"given must have shape \(rows, 1\), one column for each of 'x1', got \(1, 3\)",
    ),
    "condition-far-outside": (
        lambda: small(conditional_on=["b"]).fit(_frame()).sample(1, given={"b": 1e300}),
        ValueError,
        "column 'b', which the density is conditional on, has 1e.300 in row 0, far outside the "
        "values in training",
    ),
    "a-path": (
        lambda: small().fit("rows.csv"),
        TypeError,
        r"X must be an array, .* got 'rows.csv'; read a file with invflow.density.table.read",
    ),
    "options-that-are-a-list": (
        lambda: small(flow_options=["order"]).fit(_rows()),
        TypeError,
        r"flow_options must be a mapping from arguments, got \['order'\]",
    ),
    "progress": (
        lambda: small(progress="yes").fit(_rows()),
        TypeError,
        "progress must be True or False, got 'yes'",
    ),
}
SAVED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "dtype": (
        lambda config: config["columns"]["features"][0].update(dtype=3),
        "dtype must be a string, got 3",
    ),
    "scale": (
        lambda config: config["columns"]["features"][0].update(scale=0.0),
        "column 'a' must have a positive scale, and bounds in ascending order",
    ),
    "categories": (
        lambda config: config["columns"]["features"][0].update(categories=["u", "u"]),
        "column 'a' must have distinct categories, or none",
    ),
    "names": (
        lambda config: config.update(names=["a", "c"]),
        r"names must be those of the columns, got \['a', 'c'\]",
    ),
    "condition": (
        lambda config: config["params"].update(conditional_on=["a"]),
        r"conditional_on must name the context, got \['a'\]",
    ),
    "levels": (
        lambda config: config.update(levels=["u", "v"]),
        "levels must be those of the columns' labels, got",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("case", SAVED)
def test_message_about_a_file(case: str, tmp_path: Path) -> None:
    change, message = SAVED[case]
    with pytest.raises(ValueError, match=message):
        _saved(change, tmp_path)


def test_a_column_that_test_rows_lack(tmp_path: Path) -> None:
    frame = _frame()
    frame.loc[3:, "b"] = np.nan
    frame.to_csv(tmp_path / "a.csv", index=False)
    settings = Config(data=str(tmp_path / "a.csv"), missing="marginalise", steps=1)
    message = (
        r"column 'b' has . value\(s\) among the 5 test rows, 2 or more are needed: take a larger"
    )
    with pytest.raises(ValueError, match=message):
        experiment.train(settings, tmp_path / "run")


def test_a_reference_on_disk() -> None:
    with pytest.raises(ValueError, match="reference must hold log densities"):
        saved._reference(torch.zeros(0))


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a directory; a table is in one file"):
        read(tmp_path)


def test_columns_of_different_lengths(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(2), b=np.zeros(3))
    with pytest.raises(ValueError, match=r"the columns of .* have different lengths: \[2, 3\]"):
        read(tmp_path / "a.npz")


def test_an_array_of_one_dimension(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(
        ValueError, match=r"the array must have shape \(rows, columns\), got \(3,\)"
    ):
        read(tmp_path / "a.npy")
