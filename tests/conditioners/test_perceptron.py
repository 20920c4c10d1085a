from __future__ import annotations

import pytest
import torch
from torch import nn

from invflow.conditioners import ACTIVATIONS, Perceptron
from tests.helpers import assert_close, generator, perturbed, randn


def reference(perceptron: Perceptron, activation: nn.Module) -> nn.Sequential:
    """Return torch's own layers with the same weights, over features and context side by side."""
    layers: list[nn.Module] = []
    for k, (weight, bias) in enumerate(zip(perceptron.weights, perceptron.biases, strict=True)):
        if k == 0 and perceptron.context_weight is not None:
            weight = torch.cat([weight, perceptron.context_weight], -1)
        layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, activation]
    return nn.Sequential(*layers[:-1])


MODULES = {"relu": nn.ReLU(), "elu": nn.ELU(), "tanh": nn.Tanh(), "gelu": nn.GELU()}


@pytest.mark.parametrize("hidden", [(), (4,), (4, 7)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("activation", MODULES)
def test_is_a_stack_of_linear_layers(
    hidden: tuple[int, ...], context: int, activation: str
) -> None:
    start = (0.0, 1.0, -2.0)
    perceptron = perturbed(Perceptron(3, start, hidden, context, activation=activation))
    z, given = randn(2, 5, 3), randn(2, 5, context, seed=7) if context else None
    expected = reference(perceptron, MODULES[activation])(
        z if given is None else torch.cat([z, given], -1)
    )
    assert_close(perceptron(z, given), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(), (16, 16)], ids=str)
@pytest.mark.parametrize("context", [0, 2])
def test_starts_near_where_it_is_told_to(
    activation: str, hidden: tuple[int, ...], context: int
) -> None:
    start = (0.0, 1.0, -2.0)
    perceptron = Perceptron(
        3, start, hidden, context, activation=activation, generator=generator(1)
    )
    given = torch.randn(50, context, generator=generator(2)) if context else None
    outputs = perceptron(torch.randn(50, 3, generator=generator(3)), given)
    off = (outputs - torch.tensor(start)).abs().max()
    assert 0 < off < 0.15


def test_context_broadcasts() -> None:
    perceptron = perturbed(Perceptron(3, (0.0,), (4,), 2))
    z, context = randn(2, 5, 3), randn(5, 2, seed=7)
    assert_close(perceptron(z, context), perceptron(z, context.expand(2, 5, 2)), 1e-13)


def test_a_context_is_neither_missed_nor_ignored() -> None:
    with pytest.raises(ValueError, match="context must be None, because none was declared"):
        Perceptron(3, (0.0,), (4,))(torch.zeros(5, 3), torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"context of shape \(\*batch, 2\) is required, got None"):
        Perceptron(3, (0.0,), (4,), context=2)(torch.zeros(5, 3))
