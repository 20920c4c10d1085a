"""Functions of PyTensor, evaluated for rows of vectors: in NumPy, and compiled if that takes long.

A compiler takes longer to compile most models than NumPy takes to fit them. PyTensor's rewriting
for compilers makes single operations of several, which NumPy could only evaluate number by number:
they are left as they are, and sums and products are of two numbers each.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from invflow.vi.targets.external import Array

#: Seconds that a density takes in NumPy before it is compiled.
PATIENCE = 20.0
#: Numbers of one operation that stay in a core's cache, and fewest rows in a call.
CACHED_NUMBERS, FEWEST_ROWS = 2**18, 16
#: Rewriting that makes single operations of several.
MERGING = ("fusion", "inplace", "local_pow_to_nested_squaring")


class Density:
    """A density and its gradient for rows of vectors: in NumPy, and compiled if that takes long."""

    def __init__(self, value: Any, vector: Any, start: Array) -> None:
        self._what = value, vector, start
        self._run = over_rows([value], vector, start, in_numpy(), gradient=True)
        self._left = PATIENCE

    def __call__(self, rows: Array) -> tuple[Array, Array]:
        if self._left <= 0:
            value, vector, start = self._what
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what NumPy was warned of
                self._run = over_rows([value], vector, start, compiled(), gradient=True)
            self._left = math.inf
        started = time.perf_counter()
        with np.errstate(all="ignore"):  # the caller counts values that are not finite
            value, gradient = self._run(rows)
        self._left -= time.perf_counter() - started
        return value, gradient


def in_numpy() -> Any:
    """Return PyTensor's mode that evaluates in NumPy."""
    mode: Any = import_module("pytensor.compile.mode").Mode
    last = 100.0  # after all that could undo it
    return mode("py", "fast_run").excluding(*MERGING).register((_in_pairs(), last))


@cache
def _in_pairs() -> Any:
    """Return rewriting that turns a sum or product of three or more into those of two."""
    basic: Any = import_module("pytensor.graph.rewriting.basic")
    tensor: Any = import_module("pytensor.tensor")

    @basic.node_rewriter([tensor.add, tensor.mul])
    def in_pairs(graph: Any, node: Any) -> Any:
        del graph
        # Those that are not rows come first: there are fewer numbers in them.
        inputs = sorted(node.inputs, key=lambda each: sum(not one for one in each.broadcastable))
        return [reduce(node.op, inputs)] if len(inputs) > 2 else None

    return basic.WalkingGraphRewriter(in_pairs)


def compiled() -> Any:
    """Return PyTensor's mode that compiles soonest: Numba's, if it is there."""
    return "NUMBA" if find_spec("numba") else None


def over_rows(
    outputs: Sequence[Any], vector: Any, start: Array, mode: Any, *, gradient: bool = False
) -> Callable[[Array], Sequence[Array]]:
    """Compile functions of a vector for rows of vectors.

    Args:
        outputs: variables of PyTensor.
        vector: the variable that they depend on.
        start: a value of the vector at which they are finite.
        mode: PyTensor's mode.
        gradient: also return the gradient of the first output, after the outputs.

    Raises:
        NotImplementedError: if the gradient is not implemented.
    """
    pytensor: Any = import_module("pytensor")
    vectorize_graph: Any = import_module("pytensor.graph.replace").vectorize_graph

    def compiled(values: Sequence[Any], argument: Any) -> Any:
        slopes = []
        if gradient:
            total = values[0].sum()
            slopes = [pytensor.grad(total, argument, disconnected_inputs="ignore")]
        return pytensor.function(
            [argument], [*values, *slopes], mode=mode, on_unused_input="ignore"
        )

    rows = pytensor.tensor.dmatrix("z")
    try:
        with _silent("pytensor.graph.rewriting.basic"):
            together = _in_parts(
                compiled(vectorize_graph(list(outputs), replace={vector: rows}), rows)
            )
            # An output that does not depend on the vector has no rows.
            found = together(np.tile(start, (3, 1)))
            shapes = [np.shape(column) for column in found[: len(outputs)]]
            if all(
                len(shape) == output.ndim + 1 and shape[0] == 3
                for shape, output in zip(shapes, outputs, strict=True)
            ):
                return together
    except Exception as error:
        why = type(error).__name__
    else:
        why = "an output that does not depend on the variables"
    alone = compiled(outputs, vector)
    if gradient:
        warnings.warn(
            f"PyTensor cannot vectorise the density of the model ({why}): draws are evaluated one "
            "by one, which is slow",
            stacklevel=4,
        )

    def one_by_one(points: Array) -> list[Array]:
        return [np.stack(column) for column in zip(*map(alone, points), strict=True)]

    return one_by_one


def _in_parts(function: Any) -> Callable[[Array], Sequence[Array]]:
    """Return a compiled function of rows that takes a few rows at a time, to stay in the cache."""
    nodes = function.maker.fgraph.apply_nodes
    shapes = [out.type.shape for node in nodes for out in node.outputs if out.type.ndim > 1]
    largest = max((math.prod(size or 1 for size in shape) for shape in shapes), default=1)
    count = max(CACHED_NUMBERS // largest, FEWEST_ROWS)

    def run(rows: Array) -> Sequence[Array]:
        if len(rows) <= count:
            return function(rows)
        parts = [function(rows[i : i + count]) for i in range(0, len(rows), count)]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    return run


@contextmanager
def _silent(name: str) -> Generator[None]:
    """Silence a logger during an attempt that may fail."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
