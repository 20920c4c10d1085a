from __future__ import annotations

import re

import pytest
from torch.distributions import Beta, Distribution, Uniform, constraints

from invflow.simulation import text


def test_every_distribution_can_be_written() -> None:
    for name, (kind, needed) in text.DISTRIBUTIONS.items():
        written = ":".join([name, *map(str, range(1, 1 + len(needed)))])
        found = text.prior(written)
        assert isinstance(found, Distribution)
        assert type(found) is kind
        assert found.sample().dtype.itemsize == 8


def test_numbers_are_where_they_belong() -> None:
    uniform, beta = text.prior("Uniform:-1:2.5"), text.prior("beta:2:5")
    assert isinstance(uniform, Uniform)
    assert (float(uniform.low), float(uniform.high)) == (-1.0, 2.5)
    assert isinstance(beta, Beta)
    assert float(beta.mean) == pytest.approx(2 / 7)
    assert text.prior("positive") is constraints.positive


@pytest.mark.parametrize("written", ["tree", "", "real:1"])
def test_other_names_are_refused(written: str) -> None:
    with pytest.raises(ValueError, match="a prior must be one of uniform:LOW:HIGH, normal:MEAN:SD"):
        text.prior(written)


@pytest.mark.parametrize(
    "written", ["normal", "normal:0", "normal:0:x", "normal:0:-1", "normal:0:inf"]
)
def test_other_numbers_are_refused(written: str) -> None:
    expected = f"a prior must be normal:MEAN:SD with valid numbers, got '{written}'"
    with pytest.raises(ValueError, match=re.escape(expected)):
        text.prior(written)
