"""The parts of the kernels, in C, each against the same in higher precision or in PyTorch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.conditioners import ACTIVATIONS
from invflow.conditioners.soft_clip import soft_clip, soft_clip_slope
from invflow.kernels import build, door, structure
from invflow.kernels.cpu import chain
from invflow.univariate import Additive, Affine, Gated, Spline, Univariate
from tests.kernels.parts import VARIANTS, Parts, missing

Array = NDArray[np.floating]
RUNS = [(variant, dtype) for variant in VARIANTS for dtype in (np.float32, np.float64)]
MAPS: dict[str, Univariate] = {
    "additive": Additive(),
    "affine": Affine(bound=2.0),
    "gated": Gated(),
    "spline": Spline(bins=4, low=-1.5, high=1.0, bound=2.0),
    "large": Spline(bins=door._MOST_BINS, low=0.1, high=0.7, smallest_bin=0.5, bound=1.0),
}


@pytest.fixture(scope="session", params=RUNS, ids=lambda run: f"{run[0]}-{run[1].__name__}")
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    variant, dtype = request.param
    if why := missing(variant):
        pytest.skip(why)
    return Parts(variant, dtype, tmp_path_factory.mktemp("parts"))


def _random(parts: Parts, *shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(parts.dtype)


def _double(array: Array) -> Tensor:
    return torch.from_numpy(array.astype(np.float64))


ELEMENTARY: dict[str, Callable[[Array], Array]] = {
    "exponential": np.exp,
    "exponential_less_one": np.expm1,
    "hyperbolic_tangent": np.tanh,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
}
#: From where on an exponential, or its inverse, would overflow.
ENDS = {np.float32: (-87.3, 88.3), np.float64: (-708.0, 709.0)}


def _points(parts: Parts) -> Array:
    """Return numbers of all sizes between the ends."""
    low, high = ENDS[parts.dtype]
    random = np.random.default_rng(0)
    scales = 10.0 ** random.uniform(-30, 1, size=3001)
    near = np.concatenate([random.normal(size=3001), random.normal(size=3001) * scales])
    points = np.concatenate([np.linspace(low, high, 9001), near]).astype(parts.dtype)
    return np.concatenate([points[(points > low) & (points < high)], np.array([0], parts.dtype)])


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_to_rounding(name: str, parts: Parts) -> None:
    points = _points(parts)
    found, expected = parts.each(name, points), ELEMENTARY[name](points.astype(np.longdouble))
    np.testing.assert_allclose(found.astype(np.longdouble), expected, rtol=3 * parts.eps, atol=0)


def test_logarithm_to_rounding(parts: Parts) -> None:
    points = np.abs(_points(parts))
    points = np.concatenate([points[points <= 1], np.linspace(0, 1, 999, dtype=parts.dtype)])
    found, expected = parts.each("log_of_one_and", points), np.log1p(points.astype(np.longdouble))
    np.testing.assert_allclose(found.astype(np.longdouble), expected, rtol=3 * parts.eps, atol=0)


def test_logarithms_and_square_roots_of_all_sizes(parts: Parts) -> None:
    info, random = np.finfo(parts.dtype), np.random.default_rng(0)
    powers = random.uniform(np.log10(info.tiny), np.log10(info.max), size=3000)
    points = np.concatenate([10.0**powers, 1 + random.normal(size=999) * 1e-3]).astype(parts.dtype)
    points = points[(points >= info.tiny) & (points <= info.max)]
    for name, function in (("logarithm", np.log), ("square_root", np.sqrt)):
        found = parts.each(name, points).astype(np.longdouble)
        expected = function(points.astype(np.longdouble))
        np.testing.assert_allclose(found, expected, rtol=4 * parts.eps, atol=0)
    ends = np.array([0, math.inf, math.nan], parts.dtype)
    np.testing.assert_array_equal(parts.each("logarithm", ends), [-math.inf, math.inf, math.nan])
    np.testing.assert_array_equal(parts.each("square_root", ends), [0, math.inf, math.nan])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("exponential", 0.0, math.inf),
        ("exponential_less_one", -1.0, None),  # which is kept finite
        ("hyperbolic_tangent", -1.0, 1.0),
        ("logistic", 0.0, 1.0),
        ("softplus", 0.0, math.inf),
    ],
)
def test_elementary_functions_far_out(
    name: str, low: float, high: float | None, parts: Parts
) -> None:
    largest = np.finfo(parts.dtype).max
    for far in (1000.0, largest, math.inf):
        below, above, nothing = parts.each(name, np.array([-far, far, math.nan], parts.dtype))
        assert abs(below - low) <= np.finfo(parts.dtype).tiny
        assert np.isnan(nothing)
        if high is None:
            assert largest / 4 < above <= largest
        else:
            assert above == (far if name == "softplus" else high)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_slopes(name: str, parts: Parts) -> None:
    random = _random(parts, 601)
    fixed = np.array([-600.0, -60.0, -0.0, 0.0, 19.99, 20.0, 20.01, 60.0, 600.0])
    far = np.finfo(parts.dtype).max / 10.0 ** np.array([[0], [1], [18], [30]]) * [-1, 1]
    points = np.concatenate([random * 4, random * 1e-5, fixed, far.ravel()]).astype(parts.dtype)
    points = np.resize(points, -(-len(points) // parts.columns) * parts.columns)
    code, values, slopes = chain.ACTIVATIONS.index(name), np.empty_like(points), points * 0 + 1
    parts("activate", code, points, values, len(points))
    parts("pull_activation", code, slopes, points, len(points))
    # In double precision, PyTorch's own roundings can be seen: nine units of the slope of silu.
    digits = (4 if parts.dtype is np.float32 else 16) * parts.eps
    for found, function in zip((values, slopes), ACTIVATIONS[name], strict=True):
        expected = function(_double(points)).numpy()
        np.testing.assert_allclose(found, expected, rtol=digits, atol=digits)
    pulled = np.full_like(points, -3.0)
    parts("pull_activation", code, pulled, points, len(points))
    np.testing.assert_allclose(pulled, -3 * slopes, rtol=digits, atol=digits)
    parts("activate", code, points, points, len(points))  # in place
    np.testing.assert_array_equal(points, values)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_what_is_not_a_number(name: str, parts: Parts) -> None:
    code, values = chain.ACTIVATIONS.index(name), _random(parts, parts.columns)
    clean = values.copy()
    values[5] = math.nan
    for each in (values, clean):
        parts("activate", code, each, each, parts.columns)
    assert np.isnan(values[5])
    others = np.arange(parts.columns) != 5
    np.testing.assert_array_equal(values[others], clean[others])


@pytest.mark.parametrize("bound", [0.3, 1.0, 10.0, math.inf])
def test_what_is_read_of_features(bound: float, parts: Parts) -> None:
    near = _random(parts, 3 * parts.columns - 4)
    points = np.append(near * 4, [bound / 2, -bound / 2, 1e30, -math.inf]).astype(parts.dtype)
    read, slopes = points.copy(), np.ones_like(points)
    parts("clip", read, bound, len(points))
    parts("pull_clip", slopes, points, bound, len(points))
    rounding = {"rtol": 4 * parts.eps, "atol": 4 * parts.eps}
    np.testing.assert_allclose(read, soft_clip(_double(points), bound), **rounding)
    np.testing.assert_allclose(slopes, soft_clip_slope(_double(points), bound), **rounding)
    untouched = abs(points) <= bound / 2
    np.testing.assert_array_equal(read[untouched], points[untouched])


def _numbers(univariate: Univariate) -> tuple[int | float, ...]:
    """Return the numbers by which parts know a map."""
    recipe = door._map(univariate)
    assert recipe is not None
    name, *rest = structure.map_of(recipe)
    return chain.MAPS.index(name), *map(float, rest), univariate.parameters


def test_the_door_knows_the_most_bins() -> None:
    found = re.search(r"MOST_BINS = (\d+)", (build.SOURCES / "spline.h").read_text())
    assert found is not None
    assert int(found[1]) == door._MOST_BINS


def _rows(parts: Parts, univariate: Univariate, seed: int) -> Array:
    """Return a row for each parameter."""
    return _random(parts, univariate.parameters, parts.columns, seed=seed)


def _close(parts: Parts, univariate: Univariate, digits: int, found: Array, wanted: Tensor) -> None:
    """Raise an error unless numbers agree up to some units of rounding.

    Where a spline is steep or its bins are narrow, the errors of its knots grow.
    """
    expected, spline = wanted.numpy(), isinstance(univariate, Spline)
    size = digits * parts.eps * (64 if spline else 1)
    atol = size * max(1.0, float(abs(expected).max())) if spline else size
    np.testing.assert_allclose(found, expected, rtol=size, atol=atol)


@pytest.mark.parametrize("name", MAPS)
def test_maps_and_their_inverses(name: str, parts: Parts) -> None:
    univariate = MAPS[name]
    for seed in range(10):
        params = _rows(parts, univariate, seed)
        for part, function in (("apply", univariate.forward), ("solve", univariate.inverse)):
            row = _random(parts, parts.columns, seed=seed)
            ladj = _random(parts, parts.columns, seed=seed + 1)
            expected, more = function(_double(row), _double(params.T))
            wanted = _double(ladj) + more
            parts(part, *_numbers(univariate), row, params, ladj)
            _close(parts, univariate, 16, row, expected)
            _close(parts, univariate, 16, ladj, wanted)


@pytest.mark.parametrize("name", MAPS)
def test_pulls_of_maps_and_of_their_inverses(name: str, parts: Parts) -> None:
    univariate = MAPS[name]
    for seed in range(10):
        params = _rows(parts, univariate, seed)
        z, bar_ladj = (_random(parts, parts.columns, seed=seed + k) for k in (0, 1))
        inputs = _double(params.T).requires_grad_()
        x = univariate.forward(_double(z), inputs)[0].detach()
        for part, function, value in (
            ("pull_apply", univariate.forward, _double(z)),
            ("pull_solve", univariate.inverse, x),
        ):
            row, bar_params = _random(parts, parts.columns, seed=3), np.full_like(params, np.nan)
            result, ladj = function(value.requires_grad_(), inputs)
            loss = (_double(row) * result).sum() + (_double(bar_ladj) * ladj).sum()
            expected, by_params = torch.autograd.grad(loss, (value, inputs), materialize_grads=True)
            parts(part, *_numbers(univariate), row, z, params, bar_params, bar_ladj)
            _close(parts, univariate, 64, row, expected)
            _close(parts, univariate, 64, bar_params, by_params.T)


@pytest.mark.parametrize("name", ["spline", "large"])
def test_splines_at_their_ends_and_beyond(name: str, parts: Parts) -> None:
    univariate = MAPS[name]
    assert isinstance(univariate, Spline)
    ends = univariate.low, univariate.high
    beyond = [*ends, ends[0] - 1, ends[1] + 1, math.inf, -math.inf, math.nan, 1e30]
    points = np.resize(np.array(beyond, parts.dtype), parts.columns)
    params, ones = _rows(parts, univariate, 0), np.ones(parts.columns, parts.dtype)
    params[:, 7] = math.nan  # where nothing is read of them
    for part in ("apply", "solve"):
        row, ladj = points.copy(), np.zeros_like(points)
        parts(part, *_numbers(univariate), row, params, ladj)
        np.testing.assert_array_equal(row, points)
        np.testing.assert_array_equal(ladj, 0)
        bars, bar_params = ones.copy(), np.full_like(params, np.nan)
        parts(f"pull_{part}", *_numbers(univariate), bars, points, params, bar_params, ones)
        np.testing.assert_array_equal(bars, 1)
        np.testing.assert_array_equal(np.delete(bar_params, 7, 1), 0)


@pytest.mark.parametrize("name", ["spline", "large"])
def test_parameters_that_are_not_numbers_reach_their_own_values_alone(
    name: str, parts: Parts
) -> None:
    univariate = MAPS[name]
    assert isinstance(univariate, Spline)
    row = np.full(parts.columns, univariate.middle, parts.dtype)
    params, ladj = _rows(parts, univariate, 0), np.zeros_like(row)
    params[:, 5] = math.nan
    for part in ("apply", "solve"):
        values = row.copy()
        parts(part, *_numbers(univariate), values, params, ladj.copy())
        assert np.isnan(values[5])
        assert np.isfinite(np.delete(values, 5)).all()


def _error(parts: Parts, count: int, sizes: Array) -> Array:
    """Return the bound of the error of sums: each fused step rounds once (Higham 2002, 3.1)."""
    return (count + 1) * parts.eps * sizes


@pytest.mark.parametrize("turned", [False, True], ids=["as it is", "turned"])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 13])
def test_products_add_to_their_rows_alone(rows: int, turned: bool, parts: Parts) -> None:
    for count in (0, 1, 7, 133, 261):  # 128 are read at a time
        out, values = (_random(parts, count + 15, parts.columns, seed=seed) for seed in (1, 2))
        weights = _random(parts, 17, count + 6, seed=3)
        expected, sizes = out.astype(np.float64), abs(out.astype(np.float64))
        factors = weights[3 : 3 + rows, 4 : 4 + count], values[1 : 1 + count]
        expected[2 : 2 + rows] += np.matmul(*factors, dtype=np.float64)
        sizes[2 : 2 + rows] += np.matmul(*map(np.abs, factors), dtype=np.float64)
        held = np.ascontiguousarray(weights.T if turned else weights)
        place, steps = (held[4:, 3:], (1, 17)) if turned else (held[3:, 4:], (count + 6, 1))
        parts("accumulate", out[2:], rows, place, *steps, values[1:], count)
        assert (abs(out - expected) <= _error(parts, count, sizes)).all()
        others = [*range(2), *range(2 + rows, len(out))]
        np.testing.assert_array_equal(out[others], expected[others])


@pytest.mark.parametrize("rows", range(1, 7))
def test_products_of_some_columns_over_several_parts(rows: int, parts: Parts) -> None:
    """From the left to the right column at least: others are added to as well, or left alone."""
    count, pieces = 19, 3
    weights, values = (
        _random(parts, pieces, 6, count + 2),
        _random(parts, pieces, count, parts.columns),
    )
    factors = weights[:, :rows, :count], values
    product = np.matmul(*factors, dtype=np.float64).sum(0)
    sizes = np.matmul(*map(np.abs, factors), dtype=np.float64).sum(0)
    steps = (count, pieces, weights[0].size, values[0].size)
    for left, right in ((0, 1), (0, parts.columns), (0, parts.lanes + 1), (0, parts.columns - 1)):
        before = _random(parts, rows + 2, parts.columns, seed=4)
        after = before.copy()
        place = after[1:]
        parts("accumulate_columns", place, rows, weights, count + 2, 1, values, *steps, left, right)
        error = abs(after[1:-1] - before[1:-1] - product)
        right_ones = error <= _error(parts, pieces * count, sizes + abs(before[1:-1]))
        assert right_ones[:, left:right].all()
        assert (right_ones | (after == before)[1:-1]).all()
        np.testing.assert_array_equal(after[[0, -1]], before[[0, -1]])


def test_products_of_a_group_from_any_column_on(parts: Parts) -> None:
    weights, values = _random(parts, 6, 9), _random(parts, 9, parts.columns, seed=1)
    product = np.matmul(weights, values, dtype=np.float64)
    for left in range(0, parts.columns, 3):
        for right in range(left + 1, parts.columns + 1, 5):
            out = np.zeros((8, parts.columns), parts.dtype)
            place = out[1:]
            parts("accumulate_columns", place, 6, weights, 9, 1, values, 9, 1, 0, 0, left, right)
            good = abs(out[1:-1] - product) <= _error(parts, 9, abs(weights) @ abs(values))
            assert good[:, left:right].all()
            assert (good | (out[1:-1] == 0)).all()
            assert (out[[0, -1]] == 0).all()


def test_sums_of_rows(parts: Parts) -> None:
    row, found = _random(parts, parts.columns), np.zeros(1, parts.dtype)
    parts("total", row, found)
    assert abs(found[0] - math.fsum(row)) <= _error(parts, parts.columns, abs(row).sum())


def test_transposes_of_any_number_of_rows_and_columns(parts: Parts) -> None:
    sizes = {0, 1, 3, parts.lanes - 1, parts.lanes, parts.lanes + 1, 2 * parts.lanes + 3}
    source = _random(parts, 2 * parts.lanes + 5, 2 * parts.lanes + 9)
    for rows in sizes:
        for columns in sizes:
            out = np.full((columns + 2, rows + 5), 7.0, parts.dtype)
            expected = out.copy()
            expected[1 : 1 + columns, 2 : 2 + rows] = source[1 : 1 + rows, 3 : 3 + columns].T
            begin, end = source[1:, 3:], out[1:, 2:]
            parts("transpose", begin, source.shape[1], rows, columns, end, out.shape[1])
            np.testing.assert_array_equal(out, expected)
