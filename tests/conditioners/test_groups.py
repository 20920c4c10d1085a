"""Groups of features: how they are given, and what a MADE of two groups is."""

from __future__ import annotations

import pytest
import torch

from invflow import IAF, MAF
from invflow.conditioners import MADE, Conditioner, MaskedConvolution, groups
from invflow.transforms import Autoregressive, Coupling
from tests.helpers import CONDITIONERS, assert_close, generator, perturbed, randn


@pytest.mark.parametrize(
    ("group", "shortest", "sizes"),
    [
        (1, 1, (1, 1, 1, 1, 1)),
        (2, 2, (2, 2, 1)),
        (5, 5, (5,)),
        ([2, 2, 1], 2, (2, 2, 1)),
        (torch.Size([1, 1, 1, 1, 1]), 1, (1, 1, 1, 1, 1)),
        ((5,), 5, (5,)),
        ((4, 1), 4, (4, 1)),
        ([2, 3], (2, 3), (2, 3)),
        (iter([1, 2, 2]), (1, 2, 2), (1, 2, 2)),
    ],
)
def test_every_form(group: object, shortest: groups.Group, sizes: tuple[int, ...]) -> None:
    found = groups.checked(group, 5)
    assert found == shortest
    assert groups.sizes(found, 5) == sizes


@pytest.mark.parametrize("sizes", [(1,), (3,), (2, 2, 1), (1, 1, 1), (2, 3), (3, 1, 2), (1, 4, 1)])
@pytest.mark.parametrize("batch", [(), (4,), (2, 0)])
def test_padded_and_back(sizes: tuple[int, ...], batch: tuple[int, ...]) -> None:
    z, largest = randn(*batch, sum(sizes)), max(sizes)
    found = groups.padded(z, sizes)
    assert found.shape == (*batch, len(sizes), largest)
    for k, part in enumerate(z.split(sizes, -1)):
        assert torch.equal(found[..., k, : sizes[k]], part)
        assert not found[..., k, sizes[k] :].any()
    outputs = torch.stack([found, -found], -1).flatten(-2)
    assert torch.equal(groups.unpadded(outputs, sizes, 2), torch.stack([z, -z], -1))


@pytest.mark.parametrize("name", ["made-1", "lstm-1", "attention-1", "convolution-1"])
def test_one_feature_is_one_group(name: str) -> None:
    conditioner = CONDITIONERS[name]((0.0, 0.0))
    assert (conditioner.group, conditioner.groups) == (1, (1,))


def test_sizes_are_settled() -> None:
    made = MADE(4, (0.0,), group=2)
    with pytest.raises(AttributeError, match="group of MADE cannot be changed"):
        made.group = 1


def test_a_pixel_is_whole_groups() -> None:
    assert MaskedConvolution(12, (0.0,), shape=(3, 2, 2), group=[1, 2] * 4).groups == (1, 2) * 4
    for group in (2, 6, 12, (1, 2, 2, 1) * 2):
        with pytest.raises(ValueError, match="group=3 for whole pixels, got"):
            MaskedConvolution(12, (0.0,), shape=(3, 2, 2), group=group)


def test_groups_follow_the_order_of_each_transform() -> None:
    """The last features come first in every other transform, and so does their group."""
    flow = perturbed(MAF(5, transforms=2, hidden_features=(8,), group=2), scale=0.3)
    found: list[list[int]] = []
    for part in flow.modules():
        if isinstance(part, Autoregressive):
            jacobian = torch.func.jacrev(part.forward)(randn(5))[0]
            alone = (jacobian != 0).sum(1) == 1
            found.append(alone.nonzero().flatten().tolist())
    assert found == [[0, 1], [3, 4]]


def test_two_groups_are_a_coupling() -> None:
    """The first one aside, which parameters without a context leave as it is if they start so."""
    half, features = 3, 7
    made = perturbed(MADE(features, (0.0, 0.0), (9, 8), activation="tanh", group=(3, 4)))
    coupling = Coupling(
        features, mask=[i < half for i in range(features)], hidden_features=(9, 8),
        activation="tanh",
    ).double()  # fmt: skip
    own, other = made.weights, coupling.perceptron.weights
    with torch.no_grad():
        made.biases[-1][: 2 * half] = 0
        for k, (weight, bias) in enumerate(zip(own, made.biases, strict=True)):
            last = k == len(own) - 1
            other[k].copy_(weight[2 * half :] if last else weight[:, : other[k].shape[1]])
            coupling.perceptron.biases[k].copy_(bias[2 * half :] if last else bias)
    transform, z = Autoregressive(made), randn(5, features)
    for found, wanted in zip(transform(z), coupling(z), strict=True):
        assert_close(found, wanted, 1e-12)
    for found, wanted in zip(transform.inverse(z), coupling.inverse(z), strict=True):
        assert_close(found, wanted, 1e-12)


def test_one_feature_each_is_the_same_to_the_last_bit() -> None:
    flows = [
        IAF(6, 2, 2, (16,), generator=generator(1), **options)
        for options in ({}, {"group": 1}, {"group": [1] * 6})
    ]
    z, context = randn(9, 6).float(), randn(9, 2, seed=1).float()
    wanted = [*flows[0].transform(z, context), *flows[0].transform.inverse(z, context)]
    for flow in flows[1:]:
        assert flow.config == flows[0].config
        found = [*flow.transform(z, context), *flow.transform.inverse(z, context)]
        assert all(map(torch.equal, found, wanted))


def test_a_callable_is_told_of_groups_only_if_there_are_some() -> None:
    def ungrouped(
        features: int, start: tuple[float, ...], hidden: tuple[int, ...], context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:  # fmt: skip
        return MADE(features, start, hidden, context, generator=generator)

    IAF(4, conditioner=ungrouped)
    with pytest.raises(TypeError, match="group"):
        IAF(4, conditioner=ungrouped, group=2)
