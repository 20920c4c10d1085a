from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytensor = pytest.importorskip("pytensor", reason="needs PyTensor")

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
    monkeypatch.setattr(graphs, "PATIENCE", 0.0)
    made: list[object] = []
    compiled = graphs.compiled

    def counted() -> object:
        made.append(compiled())
        return made[-1]

    monkeypatch.setattr(graphs, "compiled", counted)
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)  # its compiler takes long to start
    value, z = _model()
    density = graphs.Density(value, z, START)
    first, second = density(ROWS), density(ROWS)
    assert made == [None]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
