from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, constraints

from invflow.vi import Flat, Named
from invflow.vi.fitting.trial import try_out
from invflow.vi.targets.guarded import Guarded
from tests.helpers import generator, randn


def _square(z: Tensor) -> Tensor:
    return -0.5 * z.square().sum(-1)


def _refuses_pairs(z: Tensor) -> Tensor:
    if len(z) < 2:
        raise ValueError("a batch of two or more, please")
    return _square(z)


BAD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "random": (
        lambda z: _square(z) + 0.5 * torch.randn(len(z)),
        "same value for the same vector",
    ),
    "summed": (
        lambda z: _square(z) - z[:, 0].square().sum(),
        "same value for a vector in any batch",
    ),
    "ignored": (lambda z: -z[:, 0].square(), r"every entry of its vectors, .* entries \[1\]"),
    "squeezed": (lambda z: _square(z).squeeze(), r"must return shape \(1,\)"),
    "scalar": (lambda z: _square(z).sum(), r"must return shape \(32,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_log_densities_are_refused(name: str) -> None:
    function, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        try_out(Guarded(Flat(function, 2), generator(0)))


def test_a_sum_over_the_batch_is_seen_through_the_jacobian() -> None:
    y = randn(20)

    def log_density(mu: Tensor, sd: Tensor) -> Tensor:
        return Normal(mu[:, None], sd[:, None]).log_prob(y).sum()

    target = Named(log_density, {"mu": constraints.real, "sd": constraints.positive})
    with pytest.raises(ValueError, match="is it summed over the batch"):
        try_out(Guarded(target, generator(0)))


@pytest.mark.parametrize(
    "function",
    [
        _square,
        _refuses_pairs,
        lambda z: _square(z.float()),
        lambda z: -10 * (z.abs() - 5).relu().square().sum(-1),  # flat near zero, but proper
    ],
)
def test_good_ones_pass(function: Callable[[Tensor], Tensor]) -> None:
    try_out(Guarded(Flat(function, 2), generator(0)))
