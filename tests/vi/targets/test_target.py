from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Dirichlet, Gamma, LKJCholesky, Normal, constraints

from invflow.vi import Flat, Named, Parameter
from tests.helpers import assert_close, randn

PARAMETERS: dict[str, Parameter] = {
    "mu": Parameter(),
    "tau": Parameter(constraints.positive),
    "share": Parameter(constraints.unit_interval, (2,)),
    "weights": Parameter(constraints.simplex, (3,)),
    "matrix": Parameter(constraints.real, (2, 2)),
    "correlation": Parameter(constraints.corr_cholesky, (3, 3)),
}


def _nothing(**values: Tensor) -> Tensor:
    return torch.zeros(values["mu"].shape, dtype=values["mu"].dtype)


def test_sizes_are_those_of_the_unconstrained_values() -> None:
    sizes = {name: parameter.size for name, parameter in PARAMETERS.items()}
    expected = [1, 1, 2, 2, 4, 3]
    assert list(sizes.values()) == expected
    assert Named(_nothing, PARAMETERS).dim == sum(expected)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_constrained_values_lie_in_their_support(batch: tuple[int, ...]) -> None:
    target = Named(_nothing, PARAMETERS)
    for name, value in target.constrain(randn(*batch, target.dim)).items():
        assert value.shape == (*batch, *PARAMETERS[name].shape)
        assert PARAMETERS[name].constraint.check(value).all()


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_unconstrain_undoes_constrain(batch: tuple[int, ...]) -> None:
    target = Named(_nothing, PARAMETERS)
    z = randn(*batch, target.dim)
    assert_close(target.unconstrain(target.constrain(z)), z, 1e-9)


def test_unconstrain_takes_arrays_and_lists() -> None:
    target = Named(_nothing, {"a": constraints.positive, "b": Parameter(shape=(2,))})
    found = target.unconstrain({"a": np.ones(3), "b": [[0, 1], [2, 3], [4, 5]]})
    assert found.tolist() == [[0, 0, 1], [0, 2, 3], [0, 4, 5]]
    with pytest.raises(ValueError, match="values must include 'b', got 'a'"):
        target.unconstrain({"a": [1.0]})
    with pytest.raises(TypeError, match="a must be a tensor, an array or nested lists of real"):
        target.unconstrain({"a": "one", "b": [[0, 1]]})


@pytest.mark.parametrize(
    ("constraint", "shape", "density"),
    [
        (constraints.positive, (), Gamma(2.0, 3.0)),
        (constraints.simplex, (3,), Dirichlet(torch.tensor([2.0, 3.0, 1.5]))),
        (constraints.corr_cholesky, (2, 2), LKJCholesky(2, 1.5)),
    ],
)
def test_density_integrates_to_one(constraint: Any, shape: tuple[int, ...], density: Any) -> None:
    """With the log-Jacobian, a normalised density stays one in unconstrained space."""
    target = Named(lambda value: density.log_prob(value), {"value": Parameter(constraint, shape)})
    axis = torch.linspace(-25, 25, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * target.dim).reshape(-1, target.dim)
    with torch.no_grad():
        total = target.log_density(grid).logsumexp(0) + target.dim * math.log(50 / 1000)
    assert abs(float(total)) < 1e-4


def test_named_formula() -> None:
    """p(mu) p(tau) with tau = exp(z): the log-Jacobian is z."""
    target = Named(
        lambda mu, tau: Normal(0.0, 1.0).log_prob(mu) + Gamma(2.0, 3.0).log_prob(tau),
        {"mu": constraints.real, "tau": constraints.positive},
    )
    z = randn(4, 2)
    expected = Normal(0.0, 1.0).log_prob(z[:, 0]) + Gamma(2.0, 3.0).log_prob(z[:, 1].exp())
    assert_close(target.log_density(z), expected + z[:, 1], 1e-12)


def test_flat_gives_the_vector_itself() -> None:
    z = randn(4, 2)
    target = Flat(lambda z: -z.square().sum(-1), 2, name="theta")
    assert target.constrain(z) == {"theta": z}
    assert torch.equal(target.log_density(z), target.estimate(z, torch.Generator()))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Flat(3, 2), TypeError, "log_density must be a function, got int"),
        (lambda: Flat(_nothing, 0), ValueError, "dim must be at least 1, got 0"),
        (lambda: Flat(_nothing, 2.0), TypeError, "dim must be an integer, got 2.0"),
        (lambda: Named(None, PARAMETERS), TypeError, "log_density must be a function"),
        (lambda: Parameter("real"), TypeError, "constraint must be a constraint of torch.distrib"),
        (lambda: Parameter(shape=[2]), TypeError, "shape must be a tuple of sizes, got list"),
        (lambda: Parameter(shape=(0,)), ValueError, "shape must be at least 1, got 0"),
        (
            lambda: Parameter(constraints.nonnegative_integer),
            ValueError,
            "constraint must be continuous, got",
        ),
        (
            lambda: Parameter(constraints.positive_definite, (2, 3)).size,
            ValueError,
            r"a matrix must be square, got shape \(2, 3\)",
        ),
        (lambda: Named(_nothing, []), TypeError, "parameters must be a mapping, got list"),
        (lambda: Named(_nothing, {}), ValueError, "parameters must name at least one"),
        (lambda: Named(_nothing, {"a": "real"}), TypeError, r"parameters\['a'\] must be a Param"),
    ],
)
def test_bad_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
