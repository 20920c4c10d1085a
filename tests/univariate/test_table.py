from __future__ import annotations

import dataclasses

import pytest

from invflow import univariate as univariates
from invflow.univariate import UNIVARIATES, Affine, Gated, univariate
from tests.helpers import UNIVARIATES as MAPS
from tests.helpers import SinhArcsinh


@pytest.mark.parametrize("name", UNIVARIATES)
def test_by_name(name: str) -> None:
    assert univariate(name) == UNIVARIATES[name]()


def test_by_mapping() -> None:
    assert univariate({"name": "affine", "bound": 2.0}) == Affine(bound=2.0)
    assert univariate({"name": "gated"}) == Gated()


@pytest.mark.parametrize("map", MAPS.values(), ids=MAPS)
def test_described_and_rebuilt(map: univariates.Univariate) -> None:
    assert univariate(map) is map
    assert univariate(univariates.describe(map)) == map
    assert univariates.from_recipe(univariates.to_recipe(map)) == map


def test_configuration_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Affine().bound = 2.0  # type: ignore[misc]


def test_own_map_needs_no_name_and_may_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    map = SinhArcsinh(skew=0.5)
    assert univariate(map) is map
    assert univariates.describe(map) is map
    assert univariates.from_recipe(univariates.to_recipe(map)) is map
    monkeypatch.setitem(UNIVARIATES, "sinh-arcsinh", SinhArcsinh)
    assert univariate(SinhArcsinh(skew=0.5)) == univariate({"name": "sinh-arcsinh", "skew": 0.5})
