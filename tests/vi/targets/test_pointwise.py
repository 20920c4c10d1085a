from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Exponential, Normal, constraints

from invflow.vi import Flat, Named, Subsampled
from invflow.vi.targets import subsample
from tests.helpers import assert_close, randn

Y = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)


def terms(sd: Tensor) -> dict[str, Tensor]:
    return {"y": Normal(0.0, sd[:, None]).log_prob(Y), "z": Normal(0.0, sd).log_prob(sd)}


def test_the_terms_are_of_the_constrained_parameters() -> None:
    prior = Named(lambda sd: Exponential(1.0).log_prob(sd), {"sd": constraints.positive})
    target = Named(
        lambda sd: Exponential(1.0).log_prob(sd) + terms(sd)["y"].sum(-1) + terms(sd)["z"],
        {"sd": constraints.positive},
        log_likelihood=terms,
    )
    z = randn(5, 1)
    found = target.log_likelihood(z)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"y": (5, 3), "z": (5,)}
    total = found["y"].sum(-1) + found["z"]
    assert_close(prior.log_density(z) + total, target.log_density(z), 1e-12)
    assert prior.log_likelihood(z) == {}


def test_those_of_a_flat_target_are_of_its_vectors() -> None:
    target = Flat(
        lambda z: Normal(z, 1.0).log_prob(Y).sum(-1),
        dim=1,
        log_likelihood=lambda z: {"y": Normal(z, 1.0).log_prob(Y)},
    )
    z = randn(5, 1)
    assert_close(target.log_likelihood(z)["y"].sum(-1), target.log_density(z), 1e-12)
    assert Flat(lambda z: z[:, 0], dim=1).log_likelihood(z) == {}


def test_rows_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = Named(Normal(0.0, 1.0).log_prob, {"value": constraints.real})
    target = Subsampled(
        prior, lambda y, value: Normal(value[:, None], 1.0).log_prob(y), [Y], batch_size=1
    )
    z = randn(5, 1)
    whole = target.log_likelihood(z)["data"]
    assert_close(whole, Normal(z, 1.0).log_prob(Y), 1e-12)
    monkeypatch.setattr(subsample, "TERMS_AT_ONCE", 10)
    assert_close(target.log_likelihood(z)["data"], whole, 1e-12)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda z: z, TypeError, r'mapping from names of data to tensors, got Tensor: return {"y"'),
        (lambda z: {"y": 3.0}, TypeError, "must return tensors, got float for 'y'"),
        (
            lambda z: {"y": z.sum()},
            ValueError,
            r"shape \(5, ...\) for 5 draws, a number for each observation, got \(\) for",
        ),
        (lambda z: {"y": z.T}, ValueError, r"must return shape \(5, ...\) .* got \(1, 5\)"),
    ],
)
def test_terms_that_are_none_are_refused(
    returned: Any, error: type[Exception], message: str
) -> None:
    target = Flat(lambda z: -z.square().sum(-1), dim=1, log_likelihood=returned)
    with pytest.raises(error, match=message):
        target.log_likelihood(randn(5, 1))


def test_it_must_be_a_function() -> None:
    make: Any = Named
    with pytest.raises(TypeError, match="log_likelihood must be a function, got Tensor"):
        make(lambda sd: sd, {"sd": constraints.positive}, log_likelihood=Y)
