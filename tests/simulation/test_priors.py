from __future__ import annotations

import pytest
from torch.distributions import Beta, Distribution, Uniform, constraints

from invflow.simulation import priors


def test_every_distribution_can_be_written() -> None:
    for name, (kind, needed) in priors.DISTRIBUTIONS.items():
        text = ":".join([name, *map(str, range(1, 1 + len(needed)))])
        found = priors.prior(text)
        assert isinstance(found, Distribution)
        assert type(found) is kind
        assert found.sample().dtype.itemsize == 8


def test_numbers_are_where_they_belong() -> None:
    uniform, beta = priors.prior("Uniform:-1:2.5"), priors.prior("beta:2:5")
    assert isinstance(uniform, Uniform)
    assert (float(uniform.low), float(uniform.high)) == (-1.0, 2.5)
    assert isinstance(beta, Beta)
    assert float(beta.mean) == pytest.approx(2 / 7)
    assert priors.prior("positive") is constraints.positive


@pytest.mark.parametrize(
    "text", ["normal", "normal:0", "normal:0:x", "uniform:2:1", "uniform:0:inf", "tree", ""]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a prior must be one of uniform:LOW:HIGH, normal:MEAN:SD"):
        priors.prior(text)
