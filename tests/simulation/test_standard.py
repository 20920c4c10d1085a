from __future__ import annotations

import pytest
import torch

from invflow.simulation.standard import STRAIGHT, Standard, bent
from tests.simulation.known import noise


@pytest.mark.parametrize("shape", [(4001, 3), (1001, 4, 3), (501, 3, 4, 2)])
def test_location_and_scale_of_each_channel(shape: tuple[int, ...]) -> None:
    kept = 1 if len(shape) == 4 else len(shape) - 1
    sd = torch.tensor([0.1, 1.0, 20.0], dtype=torch.float64)
    per = [1] * len(shape)
    per[kept] = 3
    rows = 5 + sd.view(per) * noise(1, torch.Size(shape).numel(), 0).reshape(shape)
    for found in (Standard.of(rows), Standard.robust(rows)):
        torch.testing.assert_close(found.scale.flatten(), sd, rtol=0.06, atol=0)
        torch.testing.assert_close(found.location.flatten(), 5 + 0 * sd, rtol=0.2, atol=0)
        torch.testing.assert_close(found.inverse(found.forward(rows)), rows)


def test_extreme_rows_do_not_matter() -> None:
    rows = noise(1000, 1, 1)
    wild = rows.clone()
    wild[:10] = 1e9
    torch.testing.assert_close(
        Standard.robust(wild).scale, Standard.robust(rows).scale, rtol=0.1, atol=0
    )


def test_numbers_that_hardly_vary_keep_a_scale() -> None:
    rows = torch.zeros(100, 2, dtype=torch.float64)
    rows[:10, 0] = 1.0
    found = Standard.robust(rows)
    assert found.scale.tolist() == [pytest.approx(0.3), 1.0]


def test_far_out_numbers_are_logarithmic_smoothly() -> None:
    x = torch.linspace(-50, 50, 4001, dtype=torch.float64, requires_grad=True)
    y = bent(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    near = x.detach().abs() <= STRAIGHT
    assert torch.equal(y[near], x[near])
    torch.testing.assert_close(slope, 1 / (1 + (x.detach().abs() - STRAIGHT).clamp(min=0)))
    assert float(bent(torch.tensor(1e6))) < 20
