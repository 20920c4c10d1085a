"""Draws follow the generator alone, wherever it and the distribution are.

The meta device stands for those that are not at hand: it has tensors without values, takes any
generator, and has no random numbers of its own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
)
from torch.distributions.transforms import ExpTransform

from invflow import MAF
from invflow.distillation import DensityTeacher, FlowTeacher
from invflow.distillation.drawn import device_of, drawn
from invflow.flows import FlowMixture
from tests.helpers import generator


def _normal(device: str = "cpu") -> Independent:
    zeros = torch.zeros(2, 3, device=device)
    parts = Normal(zeros, zeros + 1, validate_args=False)
    return Independent(parts, 1, validate_args=False)


def _plain(device: str) -> Independent:
    zeros = torch.zeros(3, device=device)
    return Independent(Normal(zeros, zeros + 1, validate_args=False), 1, validate_args=False)


class _Bare(torch.distributions.Distribution):
    """One that keeps no tensors."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.rand(*sample_shape, 3)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_device_of_a_distribution(device: str) -> None:
    normal = _normal(device)
    weights = Categorical(logits=torch.zeros(2, device=device), validate_args=False)
    maf = MAF(3).to(device)
    for distribution in (
        normal,
        TransformedDistribution(normal, [ExpTransform()], validate_args=False),
        MixtureSameFamily(weights, normal, validate_args=False),
        maf(),
        FlowMixture([maf, MAF(3).to(device)]).to(device)(),
    ):
        assert device_of(distribution).type == device
    assert device_of(_Bare(validate_args=False)).type == "cpu"


@pytest.mark.parametrize(
    "distribution", [_plain("cpu"), _Bare(validate_args=False), MAF(3, generator=generator(0))()]
)
def test_draws_follow_the_generator_alone(distribution: Any) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = drawn(distribution, (5,), generator(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(drawn(distribution, (5,), generator(3)), first)
    assert not torch.equal(drawn(distribution, (5,), generator(4)), first)


def test_draws_on_another_device() -> None:
    teacher = FlowTeacher(_plain("meta"))
    assert teacher.like.device.type == "meta"
    state = torch.get_rng_state()
    assert teacher.draws(5, generator(0)).x.device.type == "meta"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def seeded(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Generators made on the meta device, which torch has none for, are the CPU's, and noted."""
    asked: list[torch.device] = []
    made = torch.Generator

    class Generator(made):
        def __new__(cls, device: Any = "cpu") -> Any:
            asked.append(torch.device(device))
            return made()

    monkeypatch.setattr(torch, "Generator", Generator)
    return asked


def test_flows_are_given_a_generator_of_their_device(seeded: list[torch.device]) -> None:
    maf, noise = MAF(3).to("meta"), generator(0)
    seeded.clear()
    assert drawn(maf(), (5,), noise).device.type == "meta"
    assert [device.type for device in seeded] == ["meta"]


def test_numbers_of_another_device_are_seeded_and_put_back(
    seeded: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device with random numbers of its own, which `own` stands for."""
    own = generator(7)
    before = own.get_state()

    class Sampled(Independent):
        def sample(self, sample_shape: Any = ()) -> Tensor:
            draws.append(float(torch.rand((), generator=own)))
            return super().sample(sample_shape)

    draws: list[float] = []
    module = SimpleNamespace(
        get_rng_state=lambda device: own.get_state(),
        set_rng_state=lambda state, device: own.set_state(state),
    )
    monkeypatch.setattr(torch, "meta", module, raising=False)
    # Of the meta device torch knows that there is nothing to put back.
    monkeypatch.setattr(torch.random, "fork_rng", _forking(module))
    zeros = torch.zeros(3, device="meta")
    distribution = Sampled(Normal(zeros, zeros + 1, validate_args=False), 1, validate_args=False)
    for seed in (0, 0, 1):
        drawn(distribution, (5,), generator(seed))
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(own.get_state(), before)


def _forking(module: Any) -> Any:
    class Fork:
        def __init__(self, devices: Any, device_type: str) -> None:
            assert device_type == "meta"
            self.devices = devices

        def __enter__(self) -> None:
            self.states = [module.get_rng_state(device) for device in self.devices]

        def __exit__(self, *exception: Any) -> None:
            for device, state in zip(self.devices, self.states, strict=True):
                module.set_rng_state(state, device)

    return Fork


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda() -> None:
    for model in (_plain("cuda"), MAF(3).cuda()):
        teacher = FlowTeacher(model)
        torch.manual_seed(1)
        state = torch.cuda.get_rng_state()
        for noise in (generator(0), torch.Generator("cuda").manual_seed(0)):
            first = teacher.draws(5, noise).x
            assert first.device.type == "cuda"
        assert torch.equal(torch.cuda.get_rng_state(), state)
        assert torch.equal(teacher.draws(5, generator(0)).x, teacher.draws(5, generator(0)).x)
    rows = DensityTeacher(lambda x: x.sum(-1), 2, samples=torch.zeros(7, 2))
    found = rows.draws(3, torch.Generator("cuda").manual_seed(0))
    assert found is not None
    assert found.x.device.type == "cpu"
