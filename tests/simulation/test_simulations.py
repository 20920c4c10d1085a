from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Dirichlet, Uniform

from invflow.simulation import Prior, Simulations, simulate
from invflow.simulation.simulations import observed

TABLE = pd.DataFrame({"x": [1.0, 2.0, 3.0], "a": [0.1, 0.2, 0.3], "y": [4, 5, 6]})


def test_arrays_lists_and_tensors() -> None:
    found = Simulations([0.1, 0.2], np.array([1, 2], dtype=np.int32))
    assert found.parameters.shape == found.data.shape == (2, 1)
    assert found.data.dtype == torch.float64
    assert found.summaries == ("x[0]",)
    assert found.shape == (1,)
    assert Simulations([0.1, 0.2], torch.zeros(2, 5, 3)).summaries == ()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_tables(library: str) -> None:
    table: Any = TABLE
    if library == "polars":
        table = pytest.importorskip("polars").from_pandas(TABLE)
    if library == "pyarrow":
        table = pytest.importorskip("pyarrow").Table.from_pandas(TABLE)
    found = Simulations.from_table(table, ["a"])
    assert found.summaries == ("x", "y")
    assert found.parameters.flatten().tolist() == [0.1, 0.2, 0.3]
    assert found.data.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert found.names == found[:2].names == found.without("x").names == ("a",)


def test_selections() -> None:
    some = Simulations.from_table(TABLE, ["a"])
    assert some.without("x").summaries == ("y",)
    assert some[:2].data.tolist() == [[1, 4], [2, 5]]
    assert len(some + some[1:]) == 5
    some = Simulations([[0.1], [0.2], [np.nan]], [[1.0], [2.0], [3.0]])
    assert some.finite().data.flatten().tolist() == [1, 2]


def test_observed_data_in_any_form() -> None:
    shape, names = (2,), ("x", "y")
    for value in ([1, 2], np.array([1.0, 2.0]), {"y": 2.0, "x": 1.0}, [[1.0, 2.0]]):
        assert observed(value, shape, names).tolist() == [[1, 2]]
    for number in (1.5, np.float64(1.5), torch.tensor(1.5)):
        assert observed(number, (1,), ("x",)).tolist() == [[1.5]]
    frame = pd.DataFrame({"y": [2.0, 4.0], "x": [1.0, 3.0]})
    assert observed(frame, shape, names).tolist() == [[1, 2], [3, 4]]


def _toss(parameters: dict[str, Any], random: np.random.Generator) -> Any:
    return random.normal(parameters["a"], parameters["w"])


def test_simulations_do_not_depend_on_the_number_of_jobs() -> None:
    prior = {"a": Uniform(0.0, 1.0), "w": Dirichlet(torch.ones(3))}
    one = simulate(_toss, prior, 12, seed=4)
    two = simulate(_toss, prior, 12, jobs=2, seed=4)
    assert torch.equal(one.data, two.data)
    assert torch.equal(one.parameters, two.parameters)
    assert one.names == ("a", "w[0]", "w[1]", "w[2]")
    assert torch.equal(one.parameters, Prior(prior).sample(12, seed=4))
    assert not torch.equal(one.data, simulate(_toss, prior, 12, seed=5).data)
    assert one.data.unique().numel() == one.data.numel()  # no two share their noise


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: Simulations([[0.1]], [[1.0]]),
            ValueError,
            "there must be at least two simulations",
        ),
        (
            lambda: Simulations([[0.1], [0.2]], [[1.0]] * 3),
            ValueError,
            r"parameters must have shape \(simulations, numbers\) and data",
        ),
        (
            lambda: Simulations([[0.1], [0.2]], [[1.0]] * 2, ("a", "b")),
            ValueError,
            "summaries must be 1 names, got 2",
        ),
        (lambda: Simulations(["a", "b"], [1, 2]), TypeError, "parameters must be"),
        (
            lambda: Simulations.from_table(TABLE, ["b"]),
            ValueError,
            "the simulations do not have the column 'b', a parameter",
        ),
        (
            lambda: Simulations.from_table(TABLE, list(TABLE)),
            ValueError,
            "the simulations have only parameters",
        ),
        (lambda: Simulations.from_table(3, ["a"]), TypeError, "a table must be a data frame"),
        (
            lambda: Simulations.from_table(TABLE.assign(x=["u", "v", "w"]), ["a"]),
            TypeError,
            "column 'x' must hold numbers",
        ),
        (
            lambda: Simulations.from_table(TABLE, ["a"]).without("z"),
            ValueError,
            "there is no summary 'z'",
        ),
        (
            lambda: Simulations([1, 2], [1, 2]) + Simulations([1, 2], [[1, 2], [3, 4]]),
            ValueError,
            "simulations of different data cannot be joined",
        ),
        (
            lambda: observed([1.0], (2,), ("x", "y")),
            ValueError,
            r"observed must have shape \(2,\), like the data of a simulation, got \(1,\)",
        ),
        (
            lambda: observed({"x": 1.0}, (2,), ("x", "y")),
            ValueError,
            "observed must have the summaries of the simulations, but lacks y",
        ),
        (
            lambda: observed({"x": 1.0, "z": 2.0}, (1,), ("x",)),
            ValueError,
            "but also has z",
        ),
        (
            lambda: observed([1.0, np.nan], (2,), ("x", "y")),
            ValueError,
            "observed must be finite, got NaN or infinity in y",
        ),
        (
            lambda: observed(np.ma.masked_array([1, 2], [False, True]), (2,), ("x", "y")),
            ValueError,
            "observed must be finite, got NaN or infinity in y",
        ),
        (
            lambda: observed(1.0, (2,), ("x", "y")),
            ValueError,
            r"observed must have shape \(2,\)",
        ),
        (
            lambda: observed({"x": [1.0, 2.0], "y": 1.0}, (2,), ("x", "y")),
            ValueError,
            r"observed must have columns of one length, got \[1, 2\]",
        ),
        (
            lambda: simulate(lambda p, r: [], {"a": Uniform(0.0, 1.0)}, 3),
            ValueError,
            "data must hold at least one number",
        ),
        (
            lambda: Simulations.from_table(TABLE, ["a"]).without("x", "y"),
            ValueError,
            "data must hold at least one number",
        ),
        (
            lambda: simulate(lambda p, r: 1 / 0, {"a": Uniform(0.0, 1.0)}, 2),
            RuntimeError,
            "the simulator failed at .*ZeroDivisionError",
        ),
        (
            lambda: simulate(lambda p, r: r.random(r.integers(1, 9)), {"a": Uniform(0.0, 1.0)}, 9),
            ValueError,
            "the simulator must return the same shape every time",
        ),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
