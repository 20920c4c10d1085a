from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytensor = pytest.importorskip("pytensor", reason="needs PyTensor")

import threadpoolctl  # noqa: E402
from pytensor import tensor as pt  # noqa: E402

from invflow.vi.targets import graphs  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

START = np.array([0.3, 0.7, -0.2])
ROWS = np.random.default_rng(0).normal(size=(61, 3))


def _model() -> tuple[Any, Any]:
    """Products and sums of several, and a cube, which compilers get as single operations."""
    z, data = pt.dvector("z"), np.linspace(-1, 1, 5)
    line = z[0] * z[1] * data * pt.exp(z[2]) + z[0] + z[1] + data
    return -(line**3 * line).sum() - 0.5 * (z**2).sum() + pt.gammaln(pt.exp(z[0])), z


def _compiled(mode: Any = None) -> Any:
    value, z = _model()
    return pytensor.function([z], [value, pytensor.grad(value, z)], mode=mode)


def test_density_and_gradient_of_rows() -> None:
    value, z = _model()
    expected = [_compiled("FAST_COMPILE")(row) for row in ROWS]
    found = graphs.Density(value, z, START)(ROWS)
    for column, exact in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(column, np.stack(exact), rtol=1e-10)


@pytest.mark.parametrize(("size", "threads"), [(40, {1}), (600, {2})])
def test_small_matrices_are_multiplied_in_one_thread(size: int, threads: set[int]) -> None:
    seen: list[set[int]] = []

    class Spy(pytensor.graph.Op):
        itypes, otypes = [pt.dvector], [pt.dvector]

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            seen.append(_threads())
            outputs[0][0] = inputs[0].copy()

        def grad(self, inputs: Any, gradients: Any) -> Any:
            return gradients

    z = pt.dvector("z")
    matrix = np.eye(size)[:, :3]
    column = pt.dot(matrix, Spy()(z))
    whole = column[:, None] * np.linspace(0, 1, size)
    with threadpoolctl.threadpool_limits(2, "blas"):
        density = graphs.Density(-(whole**2).sum(), z, START)
        seen.clear()
        density(ROWS)
        assert _threads() == {2}
    assert len(seen) >= len(ROWS)
    assert all(each == threads for each in seen)


def _threads() -> set[int]:
    return {
        each["num_threads"]
        for each in threadpoolctl.threadpool_info()
        if each["user_api"] == "blas"
    }


def test_nothing_is_evaluated_number_by_number() -> None:
    """NumPy has functions of one and of two arguments for every operation of the graph."""
    nodes = _compiled(graphs.in_numpy()).maker.fgraph.apply_nodes
    elementwise = [node for node in nodes if isinstance(node.op, pt.elemwise.Elemwise)]
    assert elementwise
    for node in elementwise:
        assert node.op.nfunc_spec is not None, node
        assert node.op.nfunc_spec[1] == len(node.inputs), node


def test_rows_are_split_to_stay_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    value, z = _model()
    whole = graphs.Density(value, z, START)(ROWS)
    monkeypatch.setattr(graphs, "CACHED_NUMBERS", 1)
    split = graphs.Density(value, z, START)(ROWS)
    for one, other in zip(whole, split, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_density_that_takes_long_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    by_compiler = graphs.by_compiler

    def counted() -> object:
        made.append(by_compiler())
        return made[-1]

    monkeypatch.setattr(graphs, "by_compiler", counted)
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)  # its compiler takes long to start
    value, z = _model()
    density = graphs.Density(value, z, START)
    monkeypatch.setattr(density, "_left", 1.5 * density._run.seconds(len(ROWS)))
    found = [density(ROWS) for _ in range(4)]
    assert made == [None]
    for one, other in zip(found[0], found[3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)


def test_what_cannot_be_compiled_goes_on_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> object:
        raise RuntimeError("no compiler")

    value, z = _model()
    density = graphs.Density(value, z, START)
    first = density(ROWS)
    monkeypatch.setattr(graphs, "by_compiler", broken)
    monkeypatch.setattr(density, "_left", 0.0)
    for one, other in zip(first, density(ROWS), strict=True):
        assert np.array_equal(one, other)
    assert density._left == np.inf


@pytest.mark.slow
def test_numba_compiles_it() -> None:
    pytest.importorskip("numba", reason="needs Numba")
    value, z = _model()
    density = graphs.Density(value, z, START)
    first, density._left = density(ROWS), 0.0
    numpy = density._run
    for one, other in zip(first, density(ROWS), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    assert density._run is not numpy


def test_small_integers_do_not_overflow_in_pairs() -> None:
    """A product of three is one operation, in the type of its result."""
    codes, z = pt.constant(np.array([100, 120], dtype=np.int8)), pt.dvector("z")
    flags = pt.constant(np.array([True, True]))
    value = pt.mul(codes, codes, z[:2]).sum() + pt.add(flags, flags, z[1:]).sum()
    found = graphs.over_rows([value], z, START, graphs.in_numpy())(ROWS)
    expected = 100**2 * ROWS[:, 0] + 120**2 * ROWS[:, 1] + 4 + ROWS[:, 1] + ROWS[:, 2]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
