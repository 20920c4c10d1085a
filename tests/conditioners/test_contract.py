from __future__ import annotations

import pytest
import torch

from invflow.conditioners import CONDITIONERS as KINDS
from invflow.conditioners import CachedConditioner, Conditioner
from invflow.testing import check_conditioner
from tests.helpers import CONDITIONERS, context_for, perturbed, randn

START = (0.3, -0.2, 0.1)
conditioners = pytest.mark.parametrize("name", CONDITIONERS)


def _conditioner(name: str) -> Conditioner:
    return perturbed(CONDITIONERS[name](START))


def test_table_holds_every_conditioner() -> None:
    assert {type(build(START)) for build in CONDITIONERS.values()} == set(KINDS.values())


@conditioners
def test_keeps_the_laws(name: str) -> None:
    """Batch shapes, causality, contexts, gradients, the decoder and its gradient, saving."""
    check_conditioner(CONDITIONERS[name](START))


@conditioners
def test_starts_near_the_start(name: str) -> None:
    conditioner = CONDITIONERS[name](START)
    context = context_for(conditioner, 5)
    params = conditioner(
        randn(5, conditioner.features).float(), None if context is None else context.float()
    )
    assert (params - torch.tensor(START)).abs().max() < 0.3


@conditioners
def test_same_generator_same_weights_and_torchs_own_is_untouched(name: str) -> None:
    state = torch.get_rng_state()
    first, second = (CONDITIONERS[name](START).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@conditioners
def test_plan_is_rebuilt_from_its_recipe(name: str) -> None:
    conditioner = _conditioner(name)
    if not isinstance(conditioner, CachedConditioner):
        pytest.skip("has no decoder")
    plan = type(conditioner).plan_from(conditioner.plan.recipe)
    assert plan == conditioner.plan
