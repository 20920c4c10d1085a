"""The kernels on records of all kinds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels import fuzz, small

pytestmark = small.needed


@st.composite
def _cases(draw: st.DrawFn) -> fuzz.Case:
    features = draw(st.integers(1, 9))
    seed = draw(st.integers(0, 2**20))
    widths = draw(st.lists(st.integers(1, 9) | st.integers(1, 150), max_size=3))
    begins = draw(st.sets(st.integers(1, features))) | {0}
    random = np.random.default_rng(seed)
    hidden = [sorted(random.integers(features, size=width).tolist()) for width in widths]
    residual = draw(st.booleans()) and bool(hidden)
    map, inverse = draw(st.integers(0, 3)), draw(st.booleans())
    # A gate divides by what can be next to nothing, unless what is read is bounded.
    bounds = [1.0, 3.0] if map == fuzz.GATED and inverse else [math.inf, 1.0, 10.0]
    order = st.none() | st.permutations(range(features)).map(list)
    return fuzz.Case(
        features=features,
        groups=[max(begin for begin in begins if begin <= d) for d in range(features)],
        hidden=hidden[:1] * len(hidden) if residual else hidden,
        residual=residual,
        skip=draw(st.booleans()),
        activation=draw(st.integers(0, len(fuzz.ACTIVATIONS) - 1)),
        map=map,
        bound=draw(st.sampled_from([0.5, 2.0])),
        input_bound=draw(st.sampled_from(bounds)),
        inverse=inverse,
        dtype=draw(st.sampled_from(["float32", "float64"])),
        batch=draw(st.integers(0, 200)),
        orders=draw(st.lists(order, min_size=1, max_size=4)),
        context=draw(st.booleans()),
        threads=draw(st.integers(1, 3)),
        shares=draw(st.integers(0, 5)),
        seed=seed,
        bins=draw(st.sampled_from([2, 5, 32])),
    )


@settings(max_examples=300)
@given(_cases())
def test_any_record(case: fuzz.Case) -> None:
    fuzz.check(case)


def _orders(order: list[int], inverse: bool) -> fuzz.Case:
    return fuzz.Case(
        features=3, groups=[0, 1, 2], hidden=[[0, 1, 2]], residual=False, skip=False,
        activation=0, map=fuzz.AFFINE, bound=2.0, input_bound=math.inf, inverse=inverse,
        dtype="float32", batch=130, orders=[None, order], context=False, threads=3, shares=0,
        seed=0,
    )  # fmt: skip


BAD = [[0, 0, 1], [0, 1, 3], [0, 1, -1], [2**40, 1, 2]]


@pytest.mark.parametrize("order", BAD)
@pytest.mark.parametrize("inverse", [False, True])
def test_an_order_that_is_not_a_permutation_is_refused(inverse: bool, order: list[int]) -> None:
    case = _orders(order, inverse)
    memory = fuzz.Memory(case)
    record = fuzz.record_of(case, fuzz.transforms(case), memory)
    record.value = memory.given(fuzz.inputs(case)[0])
    record.result, result = memory.empty(case.batch * case.features)
    record.ladj, ladj = memory.empty(case.batch)
    fuzz.run("map", case, record)
    assert (record.failed, record.done) == (1, 0)
    assert np.isnan(result).all()
    assert np.isnan(ladj).all()
    memory.check()


@pytest.mark.parametrize("order", BAD)
@pytest.mark.parametrize("shares", [0, 1, 2])
@pytest.mark.parametrize("kernel", ["pull", "gradients"])
def test_no_thread_waits_for_one_that_has_refused_an_order(
    kernel: str, shares: int, order: list[int]
) -> None:
    case = _orders(order, False)
    memory = fuzz.Memory(case)
    record = fuzz.record_of(case, fuzz.transforms(case), memory)
    record.shares, record.sums, record.pieces = shares, 3 * (shares > 1), 4
    fuzz.run(kernel, case, record)  # which reads and writes no numbers
    assert (record.failed, record.done) == (1, 0)
    memory.check()


@pytest.mark.parametrize("shares", [0, 2])
def test_rows_that_a_tile_has_left_stand_for_nothing(shares: int) -> None:
    """Their gates are shut so firmly that to invert them is to divide by zero."""
    case = fuzz.Case(
        features=2, groups=[0, 1], hidden=[], residual=False, skip=False, activation=0,
        map=fuzz.GATED, bound=2.0, input_bound=1.0, inverse=True, dtype="float64", batch=37,
        orders=[None, None], context=True, threads=1, shares=shares, seed=0,
    )  # fmt: skip
    of = fuzz.transforms(case)
    for each in of:
        assert each.offset is not None
        with torch.no_grad():  # without a context they are at -800
            each.biases[0][1::2] -= 800
            each.offset[:, 1::2] += 800
    fuzz.check(case, of)
