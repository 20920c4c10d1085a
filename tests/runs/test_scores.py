"""The file of scores is believed in nothing: names, dtypes, shapes and values are checked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from invflow.runs.scores import FILE, Column, read, write

EXPECTED = {
    "bound": Column(("images",)),
    "fewer": Column((2, "images")),
    "density": Column(("rows",), bounded=False),
    "clusters": Column(("images",), torch.int64),
}


def _columns() -> dict[str, Tensor]:
    return {
        "bound": torch.tensor([-1.0, -2.0, 3.0], dtype=torch.float64),
        "fewer": torch.zeros(2, 3, dtype=torch.float64),
        "density": torch.tensor([-math.inf], dtype=torch.float64),
        "clusters": torch.tensor([4, 4, 0]),
    }


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path, _columns())
    found = read(tmp_path, EXPECTED)
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in _columns().items()
    }


def test_empty_columns(tmp_path: Path) -> None:
    write(tmp_path, {"fewer": torch.zeros(0, 3, dtype=torch.float64)})
    assert read(tmp_path, {"fewer": Column((0, "images"))})["fewer"].shape == (0, 3)


CHANGES = {
    "names": (
        {"bound": None},
        "must have the scores bound, clusters, density, fewer, got clusters",
    ),
    "more": ({"more": torch.zeros(3)}, "got bound, clusters, density, fewer, more"),
    "dtype": ({"bound": torch.zeros(3)}, "bound must have torch.float64, got torch.float32"),
    "whole": ({"clusters": torch.zeros(3).double()}, "clusters must have torch.int64, got"),
    "shape": (
        {"fewer": torch.zeros(3, 3).double()},
        r"fewer must have shape \(2, 3\), got \(3, 3\)",
    ),
    "dimensions": (
        {"fewer": torch.zeros(6).double()},
        r"fewer must have shape \(2, images\), got \(6,\)",
    ),
    "sizes": (
        {"clusters": torch.zeros(2).long()},
        r"clusters must have shape \(3\), got \(2,\)",
    ),
    "nan": (
        {"bound": torch.tensor([0.0, math.nan, math.inf]).double()},
        "bound must be numbers, got NaN or infinity 2 times",
    ),
    "minus infinity": (
        {"bound": torch.tensor([0.0, -math.inf, 1.0]).double()},
        "bound must be numbers, got NaN or infinity 1 times",
    ),
    "infinity": (
        {"density": torch.tensor([math.inf]).double()},
        "density must be numbers, got NaN or infinity 1 times",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    change, message = CHANGES[name]
    columns = {k: v for k, v in (_columns() | change).items() if v is not None}
    write(tmp_path, columns)
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, EXPECTED)
    assert str(tmp_path / FILE) in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path, EXPECTED)
