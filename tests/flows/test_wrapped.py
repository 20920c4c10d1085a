from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.distributions import VonMises

from invflow.flows import IAF, Flow, StandardNormal, Wrapped
from invflow.flows.named import Named
from invflow.transforms import Circles
from tests.helpers import assert_close, generator, perturbed, randn


def _wrapped() -> Wrapped:
    flow = Wrapped({"name": "iaf", "features": 3, "transforms": 2}, [2], generator=generator(0))
    perturbed(flow)
    flow.set(torch.tensor([3.0]), torch.tensor([1.5]))
    return flow


@pytest.mark.parametrize("kappa", [0.0, 0.3, 2.0, 5.0])
def test_a_normal_becomes_von_mises(kappa: float) -> None:
    circles = Circles(1, [0]).double()
    circles.set(torch.tensor([2.5]), torch.tensor([kappa]))
    flow = Flow(circles).double()
    x = torch.linspace(-4, 8, 200, dtype=torch.float64).unsqueeze(-1)
    law = VonMises(torch.tensor(2.5).double(), torch.tensor(max(kappa, 1e-12)).double())
    assert_close(flow().log_prob(x), law.log_prob(x[:, 0]), 1e-6)
    z, _ = circles.inverse(x)
    noise = StandardNormal(1)
    back, ladj = circles(z)
    assert_close(torch.cos(back), torch.cos(x), 1e-8)
    assert_close(noise.log_prob(z) - ladj, law.log_prob(x[:, 0]), 1e-6)


def test_slope_at_the_centre() -> None:
    circles = Circles(1, [0]).double()
    circles.set(torch.tensor([2.5]), torch.tensor([2.0]))
    x = torch.tensor([2.5], dtype=torch.float64, requires_grad=True)
    z, ladj = circles.inverse(x)
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert_close(slope, ladj.exp().unsqueeze(-1), 1e-12)
    x, ladj = circles(value := z.detach().requires_grad_())
    (slope,) = torch.autograd.grad(x.sum(), value)
    assert_close(slope, ladj.exp().unsqueeze(-1), 1e-12)


def test_far_out_is_at_the_cut() -> None:
    circles = Circles(1, [0]).double()
    z = torch.tensor([[-40.0], [40.0]], dtype=torch.float64)
    x, ladj = circles(z)
    assert_close(x.abs(), torch.full_like(x, math.pi), 1e-12)
    assert torch.isfinite(ladj).all()


def test_density_has_mass_one_and_a_period() -> None:
    flow = _wrapped()
    x = randn(6, 3)
    turn = torch.tensor([0.0, 0.0, 2 * math.pi], dtype=torch.float64)
    assert_close(flow().log_prob(x + turn), flow().log_prob(x), 1e-9)
    draws, log_q = flow().rsample_and_log_prob((50,), generator=generator(1))
    assert_close(flow().log_prob(draws), log_q, 1e-8)
    assert ((draws[:, 2] - 3.0).abs() <= math.pi).all()


def test_saved_and_loaded(tmp_path: Path) -> None:
    flow = _wrapped()
    flow.save_pretrained(tmp_path)
    twin = Named.from_pretrained(tmp_path)
    assert isinstance(twin, Wrapped)
    assert_close(twin().log_prob(randn(4, 3)), flow().log_prob(randn(4, 3)), 1e-12)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="angles must be one or more different features below 2"):
        Wrapped(IAF(features=2), [2])
    with pytest.raises(ValueError, match="angles must be one or more different features below 2"):
        Circles(2, [1, 1])
    with pytest.raises(ValueError, match=r"features below 2, got \[-1\]"):
        Circles(2, [-1])
    with pytest.raises(ValueError, match="different features below 2, got"):
        Circles(2, [])
    with pytest.raises(TypeError, match="angles must be a sequence"):
        Circles(2, 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="flow must be a Flow or a mapping"):
        Wrapped(3, [0])  # type: ignore[arg-type]
    circles = Circles(2, [1])
    with pytest.raises(ValueError, match="concentration must be between 0 and 5"):
        circles.set(torch.zeros(1), torch.tensor([6.0]))
    with pytest.raises(ValueError, match="centre must be 1 finite numbers"):
        circles.set(torch.tensor([math.nan]), torch.zeros(1))
