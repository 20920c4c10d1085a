from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invflow.vi.fitting.adam import Adam
from tests.helpers import assert_close, generator, randn


def _module() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def _numbers(module: nn.Module) -> Tensor:
    return torch.cat([each.detach().flatten() for each in module.parameters()])


def _losses(module: nn.Module, x: Tensor) -> Tensor:
    return (module(x) - x.sum(-1, keepdim=True)).square().mean()


def test_steps_are_those_of_pytorch() -> None:
    ours, theirs = _module(), _module()
    mine, other = Adam(ours, 0.01), torch.optim.Adam(theirs.parameters(), lr=0.01)
    for i in range(20):
        x = randn(7, 3, seed=i)
        mine.step(mine.gradient(_losses(ours, x)))
        other.zero_grad()
        _losses(theirs, x).backward()
        other.step()
        if i == 10:
            mine.learning_rate = other.param_groups[0]["lr"] = 0.003
    assert_close(_numbers(ours), _numbers(theirs), 1e-12)
    assert torch.equal(mine.value, _numbers(ours))


def test_a_parameter_that_is_not_used_or_frozen_stays() -> None:
    module = _module()
    module.add_module("unused", nn.Linear(2, 2).double())
    module[0].bias.requires_grad_(False)
    before = module[0].bias.clone(), module.get_submodule("unused").weight.clone()
    adam = Adam(module, 0.1)
    adam.step(adam.gradient(_losses(module[:3], randn(4, 3))))
    assert torch.equal(module[0].bias, before[0])
    assert torch.equal(module.get_submodule("unused").weight, before[1])


def test_a_state_leads_to_the_same_steps() -> None:
    first, second = _module(), _module()
    adam = Adam(first, 0.01)
    adam.step(adam.gradient(_losses(first, randn(4, 3))))
    resumed = Adam(second, 0.5)
    resumed.load_state_dict(adam.state_dict())
    for optimizer, module in ((adam, first), (resumed, second)):
        optimizer.step(optimizer.gradient(_losses(module, randn(4, 3, seed=9))))
    assert torch.equal(_numbers(first), _numbers(second))


def test_a_state_of_another_module_is_refused() -> None:
    adam = Adam(nn.Linear(4, 4).double(), 0.01)
    with pytest.raises(RuntimeError, match="split"):
        Adam(_module(), 0.01).load_state_dict(adam.state_dict())


def test_a_noisy_quadratic_is_minimised() -> None:
    module = nn.Linear(1, 3, bias=False).double()
    adam, noise = Adam(module, 0.05), generator(0)
    for _ in range(400):
        noisy = 0.1 * torch.randn(3, 1, generator=noise).double()
        adam.step(adam.gradient((module.weight - 2 + noisy).square().sum()))
    assert_close(module.weight.detach(), torch.full((3, 1), 2.0).double(), 0.1)
