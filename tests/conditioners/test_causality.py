from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from invflow.conditioners import LSTM, MADE, Attention, Conditioner
from invflow.conditioners.groups import padded
from invflow.transforms import Autoregressive
from tests.conditioners.causality import assert_reached_by_context, assert_strictly_causal
from tests.helpers import AUTOREGRESSIVE, CONDITIONERS, context_for, perturbed, randn


@pytest.mark.parametrize("name", CONDITIONERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_parameters_see_all_earlier_features_and_the_whole_context(name: str, seed: int) -> None:
    conditioner = perturbed(CONDITIONERS[name]((0.0, 0.0)), seed=seed + 10)
    z, context = randn(conditioner.features, seed=seed), context_for(conditioner, seed=seed + 5)
    by_z = torch.func.jacrev(lambda z: conditioner(z, context))(z)
    assert_strictly_causal(by_z, conditioner.groups)
    if context is not None:
        by_context = torch.func.jacrev(lambda context: conditioner(z, context))(context)
        assert_reached_by_context(by_context)


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_transform_is_triangular_in_its_order(name: str) -> None:
    transform: Autoregressive = AUTOREGRESSIVE[name]()
    z, context = randn(transform.features), context_for(transform)
    jacobian = torch.func.jacrev(lambda z: transform(z, context)[0])(z)
    order = torch.arange(transform.features) if transform.order is None else transform.order
    jacobian = jacobian[order][:, order]
    assert (jacobian.diagonal() > 0).all()
    rest = jacobian - jacobian.diagonal().diag()
    assert_strictly_causal(rest.unsqueeze(1), transform.conditioner.groups)
    if context is not None:
        by_context = torch.func.jacrev(lambda context: transform(z, context)[0])(context)
        assert_reached_by_context(by_context.unsqueeze(1))


def _made() -> MADE:
    return perturbed(MADE(4, (0.0, 0.0), (8, 8), context=2, activation="tanh"))


def test_check_catches_a_mask_with_the_diagonal() -> None:
    made = _made()
    degrees = made.layout.degrees
    rows, columns = torch.tensor(degrees[-1]), torch.tensor(degrees[-2])
    made.get_buffer("mask_2").copy_(rows[:, None] + 1 >= columns)
    with pytest.raises(AssertionError, match="not before their own"):
        assert_strictly_causal(torch.func.jacrev(made)(randn(4), randn(2)))


def test_check_catches_a_missing_feature() -> None:
    made = _made()
    made.get_buffer("mask_0")[:, 1] = 0
    with pytest.raises(AssertionError, match="miss earlier features"):
        assert_strictly_causal(torch.func.jacrev(made)(randn(4), randn(2)))


def test_check_catches_other_groups_than_said() -> None:
    made = perturbed(MADE(5, (0.0, 0.0), (8, 8), group=2))
    jacobian = torch.func.jacrev(made)(randn(5))
    assert_strictly_causal(jacobian, (2, 2, 1))
    with pytest.raises(AssertionError, match="not before their own"):
        assert_strictly_causal(jacobian, (3, 2))
    with pytest.raises(AssertionError, match="miss earlier features"):
        assert_strictly_causal(jacobian, (1, 1, 2, 1))


def test_check_catches_a_context_that_misses_the_first_feature() -> None:
    made = _made()
    with torch.no_grad():
        made.get_parameter("context_weight")[[d == 0 for d in made.layout.degrees[1]]] = 0
    with pytest.raises(AssertionError, match="miss entries of the context"):
        assert_reached_by_context(torch.func.jacrev(made, 1)(randn(4), randn(2)))


class UnshiftedLSTM(LSTM):
    """Each step reads its own feature."""

    def _inputs(self, z: Tensor) -> Tensor:
        return z


class UnshiftedAttention(Attention):
    """Each token holds its own group."""

    def _before(self, z: Tensor) -> Tensor:
        return padded(z, self.groups)


class AttentionToLater(Attention):
    """Tokens see the one that follows them: the mask is one off."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.later = self.later.triu(2)


@pytest.mark.parametrize("kind", [UnshiftedLSTM, UnshiftedAttention, AttentionToLater])
def test_checks_catch_a_feature_that_sees_itself(kind: type[Conditioner]) -> None:
    """By the Jacobian, and because the log-det is then not that of the map."""
    broken = perturbed(kind(4, (0.0, 0.0), (8,)))
    with pytest.raises(AssertionError, match="not before their own"):
        assert_strictly_causal(torch.func.jacrev(broken)(randn(4)))
    assert _log_det_error(broken) > 0.01
    whole = kind.__bases__[0](4, (0.0, 0.0), (8,))
    whole.load_state_dict(broken.state_dict())
    assert _log_det_error(whole.double()) < 1e-12


def _log_det_error(conditioner: Conditioner) -> float:
    transform = Autoregressive(conditioner, inverse="passes")
    z = randn(4)
    jacobian = torch.autograd.functional.jacobian(lambda z: transform(z)[0], z)
    return (transform(z)[1] - torch.linalg.slogdet(jacobian)[1]).abs().item()


@pytest.mark.parametrize("kind", [LSTM, Attention])
def test_check_catches_a_context_that_is_dropped(kind: type[Conditioner]) -> None:
    conditioner = perturbed(kind(4, (0.0, 0.0), (8,), context=2))
    with torch.no_grad():
        conditioner.get_parameter("context_weight")[:, 1] = 0
    with pytest.raises(AssertionError, match="miss entries of the context"):
        assert_reached_by_context(torch.func.jacrev(conditioner, 1)(randn(4), randn(2)))
