"""Settings that follow from the size of a table."""

from __future__ import annotations

from itertools import pairwise

import pytest

from invflow.density import FlowDensity
from invflow.density.learning.defaults import Defaults, defaults, settled
from invflow.flows import Flow

SIZES = (2, 20, 126, 500, 1000, 1001, 5000, 5001, 40_000, 500_000, 10_000_000)


@pytest.mark.parametrize("rows", SIZES)
def test_every_size_has_settings(rows: int) -> None:
    found = defaults("nsf", rows)
    assert 1 <= found.evaluate_every <= found.steps / 10
    assert 0 < found.validation_fraction * rows <= 10_000
    assert 0 < found.weight_decay <= 1


def test_more_rows_are_worth_more() -> None:
    found = [defaults("nsf", rows) for rows in SIZES]
    for before, after in pairwise(found):
        assert before.ensemble >= after.ensemble
        assert before.weight_decay >= after.weight_decay
        assert before.steps <= after.steps
        assert before.batch_size <= after.batch_size


@pytest.mark.parametrize("flow", sorted(Flow.kinds()))
def test_only_flows_with_hidden_layers_get_wide_ones(flow: str) -> None:
    assert (defaults(flow, 10**6).hidden_features is None) == (
        flow
        not in ("iaf", "maf", "nsf", "naf", "umnn", "realnvp", "coupling-nsf", "tarflow", "tariaf")
    )


def test_what_is_given_replaces_defaults() -> None:
    found = defaults("maf", 500)
    assert settled(FlowDensity("maf"), found) == found
    given = settled(FlowDensity("maf", hidden_features=[8], weight_decay=0.0, steps=7), found)
    assert (given.hidden_features, given.weight_decay, given.steps) == ([8], 0.0, 7)
    assert given.ensemble == found.ensemble == 5
    assert isinstance(given, Defaults)


@pytest.mark.parametrize(("ensemble", "error"), [(0, ValueError), (1.5, TypeError)])
def test_the_number_of_flows_is_checked(ensemble: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="ensemble must be"):
        settled(FlowDensity("maf", ensemble=ensemble), defaults("maf", 500))


def test_a_negative_weight_decay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weight_decay must be 0 or more, got -0\.1"):
        FlowDensity("maf", weight_decay=-0.1).fit([[0.5, 1.5], [0.1, 2.2], [0.7, 1.0]])
