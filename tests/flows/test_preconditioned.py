from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal

from invflow.flows import IAF, Flow, Gaussian, Preconditioned
from invflow.transforms import Preconditioner
from tests.helpers import assert_close, flow, generator, preconditioned, randn


def test_is_the_affine_map_of_the_inner_flow() -> None:
    inner = flow(IAF, 3, 0, 2, (6,))()
    outer = Preconditioned(inner).double()
    location, scale = randn(3, seed=1) * 50, randn(3, 3, seed=2).tril() + 4 * torch.eye(3).double()
    outer.set(location, scale)
    z = randn(5, 3)
    x, ladj = inner.transform(z)
    outer_x, outer_ladj = outer.transform(z)
    assert_close(outer_x, location + x @ scale.mT, 1e-12)
    assert_close(outer_ladj, ladj + scale.diagonal().log().sum(), 1e-12)
    assert_close(outer().log_prob(outer_x), inner().log_prob(x) - scale.diagonal().log().sum())


def test_of_a_normal_is_the_normal() -> None:
    outer = Preconditioned(Gaussian(2, kind="diagonal", generator=generator(0))).double()
    scale = torch.tensor([[1e3, 0.0], [30.0, 0.01]], dtype=torch.float64)
    outer.set(torch.tensor([1e4, -2.0], dtype=torch.float64), scale)
    x = outer().sample((7,), generator=generator(1))
    exact = MultivariateNormal(
        outer.transform(torch.zeros(2).double())[0].detach(), scale_tril=scale
    )
    assert_close(outer().log_prob(x), exact.log_prob(x), 1e-6)


def test_saved_and_loaded(tmp_path: Path) -> None:
    outer = Preconditioned({"name": "iaf", "features": 3, "transforms": 2}).double()
    outer.set(randn(3, seed=1), torch.eye(3).double() * 2)
    outer.save_pretrained(tmp_path)
    twin = Flow.from_pretrained(tmp_path)
    x = randn(5, 3)
    assert type(twin) is Preconditioned
    assert torch.equal(twin().log_prob(x), outer().log_prob(x))


def test_what_is_above_the_diagonal_is_ignored() -> None:
    transform = Preconditioner(2).double()
    transform.set(torch.zeros(2), torch.tensor([[1.0, 5.0], [0.5, 2.0]]))
    assert_close(transform(torch.ones(2).double())[0], torch.tensor([1.0, 2.5]).double(), 1e-12)


@pytest.mark.parametrize(
    ("location", "scale", "message"),
    [
        (torch.zeros(3), torch.eye(2), r"shapes \(2,\) and \(2, 2\), got \(3,\) and \(2, 2\)"),
        (torch.zeros(2), torch.ones(2), r"shapes"),
        (torch.tensor([0.0, torch.nan]), torch.eye(2), "must be finite"),
        (torch.zeros(2), -torch.eye(2), "positive diagonal"),
    ],
)
def test_bad_maps_are_refused(location: torch.Tensor, scale: torch.Tensor, message: str) -> None:
    transform = preconditioned(2)
    before = transform.scale.clone()
    with pytest.raises(ValueError, match=message):
        transform.set(location, scale)
    assert torch.equal(transform.scale, before)


def test_bad_flows_are_refused() -> None:
    with pytest.raises(TypeError, match="flow must be a Flow or a mapping, got int"):
        Preconditioned(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="built from parts"):
        Preconditioned(Flow(Preconditioner(2)))


def test_what_is_set_is_checked_in_the_dtype_that_keeps_it() -> None:
    transform = Preconditioner(2)
    eye = torch.eye(2).double()
    with pytest.raises(ValueError, match=r"positive diagonal in torch\.float32"):
        transform.set(torch.zeros(2), 1e-50 * eye)
    with pytest.raises(ValueError, match=r"finite in torch\.float32"):
        transform.set(torch.tensor([0.0, 1e60]).double(), eye)
    with pytest.raises(TypeError, match="must be tensors, got list and list"):
        transform.set([0.0], [[1.0]])  # type: ignore[arg-type]
    assert torch.equal(transform.location, torch.zeros(2))
    transform.set(torch.nn.Parameter(torch.ones(2)), eye)
    assert not transform.location.requires_grad


def test_keeps_its_digits_under_autocast() -> None:
    transform = Preconditioner(2)
    transform.set(torch.zeros(2), torch.tensor([[1.0, 0.0], [1000.0, 0.01]]))
    z = randn(64, 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        back = transform.inverse(transform(z)[0])[0]
    assert_close(back, z, 0.05)


def test_follows_the_dtype_of_its_flow() -> None:
    outer = Preconditioned(Gaussian(2).double())
    x, log_q = outer().rsample_and_log_prob((50,), generator=generator(0))
    assert x.dtype == torch.float64
    assert_close(outer().log_prob(x), log_q, 1e-12)
    assert Flow(Preconditioner(2)).double()().log_prob(x).dtype == torch.float64


def test_a_mapping_without_a_name() -> None:
    with pytest.raises(ValueError, match='flow must have a "name"'):
        Preconditioned({"features": 2})
