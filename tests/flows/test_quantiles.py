"""Probabilities and quantiles of flows of one feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from invflow import IAF, MAF, NAF, NSF, Flow, Gaussian, flows
from invflow.transforms import Compose, Elementwise, Householder, Softplus
from tests.helpers import assert_close, context_for, flow, generator, perturbed, randn


def downhill(base: Any = "normal") -> Flow:
    """A flow that decreases with the noise, by a reflection."""
    parts = [Elementwise(1, "spline", context=2), Householder(1, 1), Elementwise(1, "gated")]
    return perturbed(Flow(Compose(parts), base))


MIXED = {"name": "mixture", "components": ["diagonal", "logistic"]}
BUILT: dict[str, Callable[[], Flow]] = {
    "affine": flow(IAF, 1, 2, 2, (4,)),
    "decreasing": downhill,
    "decreasing-logistic": lambda: downhill("logistic"),
    "spline-diagonal": flow(NSF, 1, 0, 2, (4,), base="diagonal"),
    "sigmoidal-full": flow(NAF, 1, 2, 1, (4,), base="full"),
    "uniform": lambda: perturbed(Flow(Elementwise(1, "spline", context=2), "uniform")),
    "positive": lambda: perturbed(Flow(Compose([Elementwise(1), Softplus(1)]))),
    "planar": flow(flows.Planar, 1, 2, 3),
    "tempered": lambda: flow(MAF, 1, 2, 2, (4,), base="diagonal")().tempered(0.6),
    "mixture": flow(MAF, 1, 2, 2, (4,), base=MIXED),
}
QUANTILES = [name for name in BUILT if name != "mixture"]


def integral(q: Any, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return the mass between two points, by Gauss-Legendre quadrature on short pieces."""
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(8))
    ends = torch.linspace(0, 1, 401, dtype=torch.float64)
    at = ((ends[1:] + ends[:-1])[:, None] + nodes / 400).flatten() / 2
    density = q.log_prob((low + (high - low) * at)[:, None]).exp()
    return (weights.repeat(400) * density).sum() * (high - low) / 800


@pytest.mark.parametrize("name", BUILT)
def test_the_probability_is_the_integral_of_the_density(name: str) -> None:
    made = BUILT[name]()
    q = made(context_for(made))
    low, middle, high = (
        q.sample((200,), generator=generator(0))
        .squeeze(-1)
        .quantile(torch.tensor([0.02, 0.4, 0.97], dtype=torch.float64))
    )
    p = q.cdf(torch.stack([low, middle, high])[:, None]).detach()
    assert_close(p[1] - p[0], integral(q, low, middle).detach(), 1e-6)
    assert_close(p[2] - p[1], integral(q, middle, high).detach(), 1e-6)
    assert 0 < float(p[0]) < 0.2
    assert 0.8 < float(p[2]) < 1


@pytest.mark.parametrize("name", BUILT)
def test_the_slope_of_the_probability_is_the_density(name: str) -> None:
    made = BUILT[name]()
    q = made(context_for(made, 3))
    x = q.sample((5,), generator=generator(0)).requires_grad_()
    (slope,) = torch.autograd.grad(q.cdf(x).sum(), x)
    assert q.cdf(x).shape == (5, *q.batch_shape)
    assert_close(slope.squeeze(-1), q.log_prob(x).exp(), 1e-7)


@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_invert_probabilities(name: str) -> None:
    made = BUILT[name]()
    q = made(context_for(made, 3))
    p = torch.tensor([1e-4, 0.3, 0.5, 0.9])[:, None].double().expand(4, *q.batch_shape or (1,))
    p = p if q.batch_shape else p[:, 0]
    x = q.icdf(p)
    assert x.shape == (*p.shape, 1)
    assert (x.diff(dim=0) > 0).all()
    assert_close(q.cdf(x), p, 1e-7)
    assert q.icdf(torch.tensor(0.25).double()).shape == (*q.batch_shape, 1)


def test_probabilities_of_a_gaussian_are_those_of_torch() -> None:
    q = perturbed(Gaussian(1, context=2))(randn(3, 2))
    exact = torch.distributions.Normal(q.mean, q.stddev)
    x = randn(4, 3, 1)
    assert_close(q.cdf(x), exact.cdf(x).squeeze(-1))
    assert_close(q.icdf(q.cdf(x)), x)


def test_what_has_no_probabilities() -> None:
    circles = (
        flow(MAF, 1, univariate="circular")(),
        flows.Wrapped(MAF(1), angles=[0]),
        flows.Wrapped(MAF(1), angles=[0]).tempered(0.5),
    )
    for made in (MAF(2), *circles):
        q = made()
        with pytest.raises(NotImplementedError, match="the distribution function of a Flow"):
            q.cdf(q.sample())
        with pytest.raises(NotImplementedError, match="the quantile function of a Flow"):
            q.icdf(torch.tensor(0.5))
    heavy = flow(MAF, 1, base="student-t")()()
    with pytest.raises(NotImplementedError, match="StudentT noise has no formula for its distrib"):
        heavy.cdf(heavy.sample())
    mixture = BUILT["mixture"]()
    with pytest.raises(NotImplementedError, match="Mixture noise has no formula for its quantile"):
        mixture(randn(2)).icdf(torch.tensor(0.5).double())


def test_bad_probabilities() -> None:
    q = MAF(1)(validate_args=True)
    with pytest.raises(ValueError, match="must hold probabilities between 0 and 1"):
        q.icdf(torch.tensor([0.5, 1.0]))
    with pytest.raises(TypeError, match=r"must be a tensor of torch\.float32, got float"):
        q.icdf(0.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="value must be finite"):
        q.cdf(torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="value's shape must broadcast"):
        MAF(1, context=2)(torch.zeros(3, 2)).icdf(torch.full((2,), 0.5))
