from __future__ import annotations

import pytest
import torch

from invflow.conditioners import CONDITIONERS as KINDS
from invflow.conditioners import CachedConditioner, Conditioner
from tests.helpers import BATCHES, CONDITIONERS, assert_close, context_for, perturbed, randn

START = (0.3, -0.2, 0.1)
conditioners = pytest.mark.parametrize("name", CONDITIONERS)


def _conditioner(name: str) -> Conditioner:
    return perturbed(CONDITIONERS[name](START))


def test_table_holds_every_conditioner() -> None:
    assert {type(build(START)) for build in CONDITIONERS.values()} == set(KINDS.values())


@conditioners
def test_starts_near_the_start(name: str) -> None:
    conditioner = CONDITIONERS[name](START)
    context = context_for(conditioner, 5)
    params = conditioner(
        randn(5, conditioner.features).float(), None if context is None else context.float()
    )
    assert (params - torch.tensor(START)).abs().max() < 0.3


@conditioners
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_one_batch_element_at_a_time(name: str, batch: tuple[int, ...]) -> None:
    conditioner = _conditioner(name)
    z, context = randn(*batch, conditioner.features), context_for(conditioner, *batch)
    params = conditioner(z, context)
    assert params.shape == (*batch, conditioner.features, len(START))
    last = tuple(size - 1 for size in batch)
    one = conditioner(z[last], None if context is None else context[last])
    assert_close(params[last], one, 1e-12)


@conditioners
def test_decoder_gives_what_forward_gives(name: str) -> None:
    conditioner = _conditioner(name)
    if not isinstance(conditioner, CachedConditioner):
        pytest.skip("has no decoder")
    batch = (2, 3)
    z, context = randn(*batch, conditioner.features), context_for(conditioner, *batch)
    columns = z.flatten(0, 1).t()
    with torch.no_grad():
        offset, weights = conditioner.pack(batch, context)
        decoder = conditioner.plan.decoder(offset, weights)
        params = (
            conditioner(z, context)
            .flatten(0, 1)
            .flatten(1)
            .t()
            .split([size * conditioner.outputs for size in conditioner.groups])
        )
        for group, values in enumerate(columns.split(conditioner.groups)):
            before = decoder.parameters(group).clone()
            decoder.append(group, values)
            assert_close(before, params[group], 1e-12)
        assert conditioner.plan.groups(conditioner.features) == conditioner.groups


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
