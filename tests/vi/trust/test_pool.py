from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

from invflow.flows import FlowMixture, Gaussian
from invflow.vi import Flat
from invflow.vi.targets.density import Density
from invflow.vi.trust.pool import Pool, evaluated
from tests.helpers import assert_close, generator, perturbed


def _square(z: Tensor) -> Tensor:
    return -z.square().sum(-1)


TARGET = Flat(_square, 2)


def _pool(flow: Gaussian, seed: int = 1) -> Pool:
    return Pool(flow, Density(TARGET, generator(0)), generator(seed))


def test_draws_come_with_both_densities() -> None:
    mixture = FlowMixture([perturbed(Gaussian(2), seed) for seed in (1, 2)]).double()
    for flow in (mixture, perturbed(Gaussian(2))):
        density = Density(TARGET, generator(0))
        z, log_p, log_q = evaluated(flow, density, 5000, generator(1))
        assert z.shape == (5000, 2)
        assert density.evaluations == 5000
        assert_close(log_p, _square(z))
        assert_close(log_q, flow().log_prob(z).detach())


def test_first_draws_do_not_depend_on_how_the_pool_grew() -> None:
    flow = perturbed(Gaussian(2))
    slowly, at_once = _pool(flow), _pool(flow)
    few = [slowly.first(n) for n in (10, 5000, 9000)]
    many = at_once.first(9000)
    for draws in few:
        assert all(torch.equal(a, b[: len(a)]) for a, b in zip(draws, many, strict=True))
    assert slowly.density.evaluations == at_once.density.evaluations == 3 * 4096
    assert torch.unique(many.z, dim=0).shape == (9000, 2)


def test_a_pool_continues_after_an_interruption() -> None:
    flow, calls = perturbed(Gaussian(2)), 0

    def once(z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return _square(z)

    pool = Pool(flow, Density(Flat(once, 2), generator(0)), generator(1))
    with pytest.raises(KeyboardInterrupt):
        pool.first(9000)
    assert torch.equal(pool.first(9000).z, _pool(flow).first(9000).z)


def test_a_pool_is_of_one_flow_one_target_and_one_seed() -> None:
    flow = perturbed(Gaussian(2))
    pool = _pool(flow)
    pool.first(10)
    assert pool.is_of(flow, TARGET, generator(1))
    assert not pool.is_of(flow, TARGET, generator(2))
    assert not pool.is_of(flow, Flat(_square, 2), generator(1))
    assert not pool.is_of(copy.deepcopy(flow), TARGET, generator(1))
    assert not pool.is_of(perturbed(Gaussian(3)), TARGET, generator(1))
    parameter = next(flow.parameters())
    before = parameter.detach().clone()
    parameter.data[0] += 1e-9  # which no counter of changes sees
    assert not pool.is_of(flow, TARGET, generator(1))
    parameter.data.copy_(before)
    assert pool.is_of(flow, TARGET, generator(1))
    flow.float()
    assert not pool.is_of(flow, TARGET, generator(1))


def test_a_pool_can_be_pickled() -> None:
    pool = _pool(perturbed(Gaussian(2)))
    pool.first(10)
    twin = pickle.loads(pickle.dumps(pool))
    assert torch.equal(twin.first(5000).z, pool.first(5000).z)
