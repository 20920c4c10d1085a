"""Integers, numbers and booleans of other libraries, wherever Python's own are taken."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from invflow import _checks, flows, transforms
from invflow.conditioners import MADE
from invflow.distillation import closeness, distill
from invflow.flows import Flow, FlowMixture

Make = Callable[[int], Any]
KINDS: dict[str, Make] = {
    "int64": np.int64,
    "int16": np.int16,
    "uint8": np.uint8,
    "array": np.array,
    "tensor": torch.tensor,
}

#: Flows, each from integers of a kind.
FLOWS: dict[str, Callable[[Make], Flow | FlowMixture]] = {
    "iaf": lambda n: flows.IAF(n(3), n(2), n(2), [n(4)]),
    "maf": lambda n: flows.MAF(
        n(3), hidden_features=(n(4), n(4)), residual=np.bool_(True), gain=np.float32(0.5)
    ),
    "bounds": lambda n: flows.IAF(n(3), checkpoint=np.bool_(True), input_bound=np.float64(7)),
    "nsf": lambda n: flows.NSF(
        n(3), univariate={"name": "spline", "bins": n(4), "low": np.float32(-3), "high": np.int8(5)}
    ),
    "naf": lambda n: flows.NAF(n(3), univariate={"name": "sigmoidal", "units": n(4)}),
    "umnn": lambda n: flows.UMNN(
        n(3), univariate={"name": "monotonic", "units": n(4), "edge": np.float32(6)}
    ),
    "attention": lambda n: flows.IAF(
        n(3), conditioner="attention", heads=n(2), hidden_features=(n(4),)
    ),
    "lstm": lambda n: flows.IAF(n(3), conditioner="lstm", hidden_features=(n(4),)),
    "convolution": lambda n: flows.IAF(
        n(8), conditioner="convolution", shape=[n(2), n(2), n(2)], kernel_size=n(3)
    ),
    "realnvp": lambda n: flows.RealNVP(n(3), n(2), n(2), (n(4),)),
    "coupling-nsf": lambda n: flows.CouplingNSF(n(3), transforms=n(2)),
    "planar": lambda n: flows.Planar(n(3), n(2), n(2)),
    "radial": lambda n: flows.Radial(n(3), n(2), n(2)),
    "sylvester": lambda n: flows.Sylvester(n(3), n(2), n(2), columns=n(2), basis="householder"),
    "gaussian": lambda n: flows.Gaussian(n(3), n(2)),
    "student-t": lambda n: flows.IAF(n(3), base={"name": "student-t", "df": np.int32(4)}),
    "wrapped": lambda n: flows.Wrapped(flows.IAF(n(3)), [n(0), n(2)]),
    "preconditioned": lambda n: flows.Preconditioned(flows.IAF(n(3))),
    "mixture": lambda n: FlowMixture([flows.IAF(n(3)), flows.MAF(n(3))]),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def _leaves(config: Any) -> list[Any]:
    if isinstance(config, dict):
        return [leaf for each in config.values() for leaf in _leaves(each)]
    if isinstance(config, list):
        return [leaf for each in config for leaf in _leaves(each)]
    return [config]


@kinds
@pytest.mark.parametrize("name", FLOWS)
def test_flows_keep_pythons_own(name: str, kind: str) -> None:
    flow, own = FLOWS[name](KINDS[kind]), FLOWS[name](int)
    assert flow.described() == own.described()
    assert {type(leaf) for leaf in _leaves(flow.described())} <= {
        int,
        float,
        str,
        bool,
        type(None),
    }
    flow.load_state_dict(own.state_dict())
    context = torch.ones(flow.context) if flow.context else None
    x = own(context).sample((4,))
    assert torch.equal(flow(context).log_prob(x), own(context).log_prob(x))


@kinds
def test_transforms(kind: str) -> None:
    n = KINDS[kind]
    z = torch.tensor([0.5, -1.0, 2.0])
    assert transforms.Permutation([n(2), n(0), n(1)])(z)[0].tolist() == [2.0, 0.5, -1.0]
    for transform in (
        transforms.Householder(n(3), n(2)),
        transforms.LULinear(n(3), [n(2), n(0), n(1)]),
        transforms.LULinear(n(3), "random"),
        transforms.Rotation(n(3)),
        transforms.ActNorm(n(3)),
        transforms.BatchNorm(n(3), np.float32(1e-4), np.float64(0.1)),
        transforms.Coupling(n(3), mask=np.array([True, False, True])),
        transforms.Circles(n(3), [n(1)]),
        transforms.Circles(n(3), np.array([1])),
        transforms.Sigmoid(n(3), np.float32(-1)),
        transforms.UnitTriangular(n(3)),
        transforms.Elementwise(n(3)),
        transforms.Preconditioner(n(3)),
        transforms.Sylvester(n(3), n(2), transforms.Reflected(n(2))),
    ):
        assert type(transform.features) is int
        x, ladj = transform.eval()(z)
        back, back_ladj = transform.inverse(x)
        torch.testing.assert_close((back, back_ladj), (z, -ladj), rtol=1e-4, atol=1e-5)
    assert len(transforms.orders("random", n(3), n(2))) == 2
    assert [len(mask) for mask in transforms.masks("halves", n(3), n(2))] == [3, 3]


def test_tolerances_are_pythons_own() -> None:
    made = MADE(3, (0.0, 0.0))
    transform = transforms.Autoregressive(made, tolerance=np.float32(0.5))  # type: ignore[arg-type]
    assert type(transform.tolerance) is float


@pytest.mark.parametrize(
    "bad",
    [
        *(True, np.bool_(True), torch.tensor(True), np.array(True)),
        *(3.0, np.float64(3), torch.tensor(3.0)),
        *(torch.tensor([3]), np.array([3]), [3], "3", None),
    ],
    ids=repr,
)
def test_what_is_not_an_integer(bad: Any) -> None:
    with pytest.raises(TypeError, match="features must be an integer, got "):
        flows.IAF(bad)


def test_what_is_not_a_number_or_boolean() -> None:
    for bad in (True, np.bool_(True), "1", None, 1j):
        with pytest.raises(TypeError, match="x must be a number, got "):
            _checks.number("x", bad)
    for bad in (1, np.int64(1), "yes", None):
        with pytest.raises(TypeError, match="x must be True or False, got "):
            _checks.boolean("x", bad)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(np.float32(0.5), 0.5), (np.int8(3), 3), (2, 2), (1.5, 1.5), (np.float64(2), 2.0)],
    ids=repr,
)
def test_numbers_are_pythons_own(given: Any, expected: float) -> None:
    found = _checks.number("x", given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("seed", [np.int64(2**40), np.uint8(7), torch.tensor(5)], ids=repr)
def test_seeds(seed: Any) -> None:
    maf = flows.MAF(2, transforms=1, hidden_features=(8,)).eval()
    own = operator.index(seed)
    students = [
        distill(maf, {"name": "iaf", "transforms": 1}, steps=2, seed=s) for s in (seed, own)
    ]
    states = [list(student.state_dict().values()) for student in students]
    assert all(map(torch.equal, *states))
    found = [
        replace(
            closeness(maf, students[0], count=50, seed=each), student_seconds=0, teacher_seconds=0
        )
        for each in (seed, own)
    ]
    assert found[0] == found[1]
