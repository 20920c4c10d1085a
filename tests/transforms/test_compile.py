"""Both directions as one graph of torch.compile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, fx

from invflow.conditioners import MADE
from invflow.transforms import Autoregressive, Transform
from tests.helpers import (
    DIRECTIONS,
    TRANSFORMS,
    assert_close,
    context_for,
    directed,
    fast,
    gradients,
    over,
    perturbed,
    randn,
    values,
)

NAMES = [
    over("made-1"),
    "made-3-context/gated/random",
    over("made-65-narrow-residual-context"),
    over("lstm-3-two-layers-context"),
    over("attention-3-two-blocks-context"),
    over("convolution-2x2-context"),
    "elementwise-8-context",
    "compose-3-mixed",
    "planar-3-context",
    "radial-8-context",
    "householder-3-context",
    "sylvester-orthogonal-8-context",
    "lu-3-random",
    "rotation-8",
    "actnorm-8",
    "batchnorm-8",
    "coupling-3-context",
    "sigmoid-8",
    "softplus-8",
]
#: One of each kind of step: a conditioner with operators of our own, a map of each feature, one of
#: all features, and a coupling.
QUICK = ["made-3-context/gated/random", "elementwise-8-context", "lu-3-random"]
QUICK += ["coupling-3-context"]
directions = pytest.mark.parametrize("direction", DIRECTIONS)
# Torch's own remarks while it compiles.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _inputs(transform: Transform, direction: str, batch: int) -> tuple[Tensor, Tensor | None]:
    return values(transform, direction, batch), context_for(transform, batch)


def _check(
    transform: Transform, direction: str, backend: str, *batches: int, symbol: bool = False
) -> None:
    """Compare for batch sizes, with a symbol for them in the compiler's graph if asked for."""
    run = directed(transform, direction)
    compiled = torch.compile(run, fullgraph=True, backend=backend)
    for batch in batches:
        value, context = _inputs(transform, direction, batch)
        inputs = [value.requires_grad_()]
        if context is not None:
            inputs.append(context.requires_grad_())
        if symbol:
            for each in inputs:
                torch._dynamo.mark_dynamic(each, 0)
        inputs += transform.parameters()
        actual, expected = compiled(value, context), run(value, context)
        assert_close(actual, expected)
        assert_close(gradients(*actual, inputs), gradients(*expected, inputs))


@pytest.mark.parametrize("name", fast(QUICK, NAMES))
@directions
def test_compiled_equals_eager_with_gradients(name: str, direction: str) -> None:
    _check(TRANSFORMS[name](), direction, "aot_eager", 5, 3, symbol=True)


@pytest.mark.parametrize("direction", fast(["inverse"], DIRECTIONS))
def test_a_second_batch_size(direction: str) -> None:
    """Where nothing is said, the compiler finds out by itself."""
    _check(TRANSFORMS["made-3-context/gated/random"](), direction, "aot_eager", 5, 3)


@pytest.mark.slow
def test_inductor() -> None:
    """The direction with operators of our own; one only, because compiling C++ takes its time."""
    _check(TRANSFORMS["made-3-context/gated/random"](), "inverse", "inductor", 5)


@pytest.mark.parametrize("name", fast(QUICK, NAMES[:5]))
@directions
def test_compiled_without_gradients(name: str, direction: str) -> None:
    transform = TRANSFORMS[name]()
    run = directed(transform, direction)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    value, context = _inputs(transform, direction, 5)
    with torch.no_grad():
        assert_close(compiled(value, context), run(value, context))
    transform.requires_grad_(False)
    assert_close(compiled(value, context), run(value, context))


def _nodes(features: int, direction: str, differentiated: bool) -> int:
    """Return the number of operations in the graphs that `torch.compile` makes of one direction."""
    transform = perturbed(Autoregressive(MADE(features, (0.0, 0.0), (32,)), order=range(features)))
    counts: list[int] = []

    def backend(graph: fx.GraphModule, _: object) -> fx.GraphModule:
        parts = (part for part in graph.modules() if isinstance(part, fx.GraphModule))
        counts.append(sum(len(part.graph.nodes) for part in parts))
        return graph

    torch._dynamo.reset()
    run = torch.compile(directed(transform, direction), fullgraph=True, backend=backend)
    with torch.set_grad_enabled(differentiated):
        run(randn(5, features))
    assert len(counts) == 1
    return counts[0]


@directions
@pytest.mark.parametrize("differentiated", [True, False], ids=["grad", "no-grad"])
def test_graph_does_not_grow_with_the_features(direction: str, differentiated: bool) -> None:
    small, large = (_nodes(features, direction, differentiated) for features in (4, 33))
    assert small == large > 5
