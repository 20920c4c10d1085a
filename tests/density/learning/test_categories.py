"""Probabilities of categories: they add up to one, whatever the weights are."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from invflow.density.learning.categories import Categories, uniforms
from invflow.density.table import Column
from invflow.density.table.calendar import WEEKDAYS, Part
from tests.helpers import generator, perturbed, randn

CASES: Any = {
    "one": [2],
    "three": [3, 2, 4],
    "fifty": [50, 3],
    "one level": [1, 2],
}


def columns(sizes: list[int], kind: str = "categorical") -> list[Column]:
    return [
        Column(
            f"c{j}",
            kind,
            "str",
            categories=tuple(f"v{i}" for i in range(size)),
            counts=tuple(range(1, size + 1)),
        )
        for j, size in enumerate(sizes)
    ]


def built(sizes: list[int], context: int = 0, kind: str = "categorical") -> Categories:
    made = Categories(columns(sizes, kind), context, generator=generator(0)).double()
    return perturbed(made, scale=0.5).requires_grad_(False)


def everything(sizes: list[int], unseen: bool = True) -> Tensor:
    """Return all codes, those of categories never seen included."""
    levels = [range(size + unseen) for size in sizes]
    return torch.tensor(list(product(*levels)), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["categorical", "ordinal"])
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_probabilities_of_all_codes_sum_to_one(sizes: list[int], kind: str, dtype: Any) -> None:
    made = built(sizes, 2, kind).to(dtype)
    codes = everything(sizes)
    for context in randn(3, 2, seed=1):
        p = made.log_prob(codes, context.expand(len(codes), -1)).exp()
        assert p.dtype == torch.float64
        assert float(p.sum()) == pytest.approx(1, abs=1e-13 if dtype == torch.float64 else 1e-6)
        assert (p > 0).all()


def test_booleans_have_no_other_value() -> None:
    flag = Column("b", "categorical", "bool", categories=(False, True), counts=(7, 0))
    made = perturbed(Categories([flag]).double(), scale=0.5)
    p = made.log_prob(torch.tensor([[0.0], [1.0], [2.0]])).exp().detach()
    assert float(p[:2].sum()) == pytest.approx(1, abs=1e-14)
    assert float(p[2]) == 0


def test_untrained_they_are_near_the_frequencies() -> None:
    counts = (1, 60, 39)
    column = Column("a", "categorical", "str", categories=(*"xyz",), counts=counts)
    p = Categories([column]).log_prob(torch.arange(4.0)[:, None]).exp().detach()
    frequencies = (torch.tensor(counts) + 0.5) / (sum(counts) + 1.5)
    # One value seen once in a hundred: two parts in 102, half of them for others.
    share = 2 / 102
    expected = [*((1 - share) * frequencies + share / 6).tolist(), share / 2]
    assert p.tolist() == pytest.approx(expected, rel=0.15)
    assert float(p[3]) == pytest.approx(share / 2, rel=1e-12)


def test_a_column_reads_those_before_it_alone() -> None:
    made = built([3, 2, 4], 1)
    codes, context = everything([3, 2, 4]), randn(60, 1, seed=2)
    whole = made.log_probs(codes, context)
    for j in range(3):
        changed = codes.clone()
        changed[:, j:] = torch.nan
        changed[:, j] = codes[:, j]
        changed[:, j + 1 :] = 0
        torch.testing.assert_close(made.log_probs(changed, context)[:, j], whole[:, j])
        if j:
            other = codes.clone()
            other[:, 0] = (codes[:, 0] + 1) % 3
            assert (made.log_probs(other, context)[:, j] - whole[:, j]).abs().max() > 1e-3
    assert (made.log_probs(codes, context + 1)[:, 0] - whole[:, 0]).abs().max() > 1e-3


def test_draws_have_the_probabilities() -> None:
    made, count = built([3, 2]), 40_000
    uniform = torch.rand(count, 2, generator=generator(3), dtype=torch.float64)
    codes, log_q = made.fill(torch.full((count, 2), torch.nan, dtype=torch.float64), uniform)
    torch.testing.assert_close(log_q, made.log_prob(codes))
    every = everything([3, 2])
    p = made.log_prob(every).exp()
    counted = (codes[:, None] == every).all(-1).double().mean(0)
    assert ((counted - p).abs() < 5 * (p * (1 - p) / count).sqrt() + 1e-12).all()
    seen, _ = made.fill(torch.full_like(codes, torch.nan), uniform * made.seen)
    assert (seen < torch.tensor([3, 2])).all()


def test_given_codes_stay_and_what_follows_depends_on_them() -> None:
    made = built([3, 2, 4])
    codes = torch.tensor([[2.0, math.nan, 1.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    filled, log_q = made.fill(codes, torch.full((2, 3), 0.4, dtype=torch.float64))
    assert torch.equal(filled[:, [0, 2]], codes[:, [0, 2]])
    assert float(log_q[1]) == 0
    torch.testing.assert_close(log_q[0], made.log_probs(filled)[0, 1])


def test_the_distribution_function_is_the_sum_of_the_probabilities() -> None:
    made = built([3, 2, 4])
    codes = everything([3, 2, 4])
    below, own = made.cdf(codes)
    torch.testing.assert_close(own.log().sum(-1), made.log_prob(codes))
    lower = codes[:, 1] - 1
    same = codes[:, 1] > 0
    shifted = codes.clone()
    shifted[:, 1] = lower
    before = made.cdf(shifted[same])
    torch.testing.assert_close(below[same, 1], before[0][:, 1] + before[1][:, 1])
    assert (below[codes == 0] == 0).all()


def test_thermometers_and_one_hot_vectors() -> None:
    codes = torch.tensor([[0.0], [1.0], [2.0], [3.0], [math.nan]])
    plain = Categories(columns([3])).one_hot(codes)
    assert plain.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    ordered = Categories(columns([3], "ordinal")).one_hot(codes)
    assert ordered.tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_normal_numbers_as_uniform_ones() -> None:
    x = torch.tensor([-40.0, -1.0, 0.0, 1.0, 40.0])
    u = uniforms(x)
    assert u[2] == 0.5
    torch.testing.assert_close(u, torch.special.ndtr(x.double()).clamp(max=1 - 2**-53))
    assert (u < 1).all()


@pytest.mark.parametrize(
    ("name", "levels", "closed"),
    [
        ("weekday", WEEKDAYS, True),
        ("weekday", WEEKDAYS[:5], False),
        ("hour", tuple(range(24)), True),
        ("hour", tuple(range(9, 17)), False),
    ],
)
def test_all_days_and_hours_have_no_other_value(name: str, levels: Any, closed: bool) -> None:
    part = Part("t", name, 3600.0, 0.0, "s")
    column = Column(
        f"t ({name})",
        "categorical",
        "datetime64[ns]",
        categories=levels,
        counts=(3,) * len(levels),
        part=part,
    )
    p = Categories([column], 0).double().log_prob(everything([len(levels)])).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-9)
    assert (p[-1] == 0) == closed
