"""Flows with noise of another scale."""

from __future__ import annotations

import pytest
import torch

from invflow import MAF, flows
from invflow.flows import BASES, Tempered, as_base
from invflow.transforms import Permutation
from tests.helpers import FLOWS, assert_close, context_for, flow, generator, perturbed, randn

CENTRED = ["normal", "diagonal", "full", "student-t", "multivariate-student-t", "logistic"]


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("name", CENTRED)
def test_noise_is_scaled_about_its_centre(name: str, features: int) -> None:
    base = perturbed(as_base(name, features))
    options = {"dtype": torch.float64, "device": torch.device("cpu")}
    draws = base.rsample((7,), generator=generator(0), **options)  # pyright: ignore
    cold = Tempered(base, 0.3).rsample((7,), generator=generator(0), **options)  # pyright: ignore
    centre = getattr(base, "mean", torch.zeros(features).double())
    assert_close(cold - centre, 0.3 * (draws - centre))
    far = torch.full((features,), 0.8).double()
    assert_close(base.log_prob(centre + far), base.log_prob(centre - far))  # it is a centre


@pytest.mark.parametrize("temperature", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("name", CENTRED)
def test_noise_has_a_density(name: str, temperature: float) -> None:
    tempered = Tempered(perturbed(as_base(name, 1)), temperature)
    # x = sinh(t) reaches far enough for heavy tails.
    t = torch.linspace(-25, 25, 20_001).double()
    density = tempered.log_prob(t.sinh()[:, None]).exp() * t.cosh()
    assert_close(torch.trapezoid(density, t), torch.tensor(1.0).double(), 1e-5)


@pytest.mark.parametrize("name", ["maf-2-context", "iaf-3-student-t", "gaussian-3-context"])
def test_densities_of_draws_are_those_of_log_prob(name: str) -> None:
    made = FLOWS[name]()
    c = context_for(made, 5)
    cold = made.tempered(0.6)
    x, log_q = cold(c).rsample_and_log_prob((4,), generator=generator(0))
    assert_close(cold(c).log_prob(x), log_q)
    assert_close(made.tempered(1.0)(c).log_prob(x), made(c).log_prob(x))
    assert {*map(id, cold.parameters())} == {*map(id, made.parameters())}


def test_a_gaussian_is_scaled() -> None:
    made = perturbed(flows.Gaussian(3, context=2))
    c = randn(2)
    cold = made.tempered(0.5)(c)
    x = cold.sample((40_000,), generator=generator(0))
    assert_close(x.mean(0), made(c).mean.detach(), 0.05)
    assert_close(x.std(0), 0.5 * made(c).stddev.detach(), 0.03)


def test_without_parameters_the_dtype_and_the_device_remain() -> None:
    made = flows.Flow(Permutation([1, 0]))
    assert made.double().tempered(0.5)().sample().dtype == torch.float64
    assert made.to("meta").tempered(0.5).like.device.type == "meta"


def test_tempered_twice() -> None:
    made = flow(MAF, 2, base="diagonal")()
    x = randn(5, 2)
    twice = made.tempered(0.5).tempered(0.6)
    assert_close(twice().log_prob(x), made.tempered(0.3)().log_prob(x))


@pytest.mark.parametrize("name", sorted({*BASES} & {"uniform", "mixture"}))
def test_noise_without_a_centre(name: str) -> None:
    what = {"name": name, "components": ["normal", "logistic"]} if name == "mixture" else name
    made = flow(MAF, 2, base=what)()
    with pytest.raises(ValueError, match="base must be symmetric about a centre"):
        made.tempered(0.5)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_bad_temperatures(bad: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        MAF(2).tempered(bad)
    with pytest.raises(TypeError, match="temperature must be a number"):
        MAF(2).tempered("cold")  # pyright: ignore[reportArgumentType]
