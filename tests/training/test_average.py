"""The average of the weights against the sum that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from invflow.training.average import Average
from tests.helpers import assert_close


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_is_a_weighted_sum(decay: float) -> None:
    model = nn.Linear(3, 2).double()
    average = Average(model, decay)
    history: list[torch.Tensor] = []
    for _ in range(20):
        nn.init.normal_(model.weight)
        average.update_parameters(model)
        history.append(model.weight.detach().clone())
    decays = [0.0, *(min(decay, (1 + t) / (10 + t)) for t in range(1, 20))]
    shares = torch.tensor(
        [
            (1 - decays[i]) * torch.tensor(decays[i + 1 :], dtype=torch.float64).prod()
            for i in range(20)
        ],
        dtype=torch.float64,
    )
    assert_close(float(shares.sum()), 1.0, 1e-12)
    expected = torch.einsum("i,ijk->jk", shares, torch.stack(history))
    assert_close(average.module.weight, expected, 1e-12)


def test_buffers_are_those_of_the_model() -> None:
    model = nn.BatchNorm1d(3)
    average = Average(model, 0.9)
    model(torch.randn(5, 3))
    average.update_parameters(model)
    assert torch.equal(average.module.running_mean, model.running_mean)
    assert not average.module.training
