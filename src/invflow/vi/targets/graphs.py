"""Functions of PyTensor, evaluated for rows of vectors: in NumPy, and compiled if that takes long.

A compiler takes longer to compile most models than NumPy takes to fit them. PyTensor's rewriting
for compilers makes single operations of several, which NumPy could only evaluate number by number:
they are left as they are, and sums and products are of two numbers each.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from invflow._extra import required
from invflow.vi.targets.external import Array

#: Seconds in NumPy after which a density is compiled, which takes about as long.
WORTH_COMPILING = 20.0
#: Seconds that NumPy takes for an operation, and for each of its numbers.
OVERHEAD, PER_NUMBER = 1e-5, 2e-9
#: Numbers of one operation that stay in a core's cache, and fewest rows in a call.
CACHED_NUMBERS, FEWEST_ROWS = 2**18, 16
#: Rewriting that makes single operations of several.
MERGING = ("fusion", "inplace", "local_pow_to_nested_squaring")


class Density:
    """A density and its gradient for rows of vectors: in NumPy, and compiled if that takes long.

    Whether it takes long is counted, not timed, so that the same calls give the same numbers.
    """

    def __init__(self, value: Any, vector: Any, start: Array) -> None:
        self._what = value, vector, start
        self._run = over_rows([value], vector, start, in_numpy(), gradient=True)
        self._left = WORTH_COMPILING

    def __call__(self, rows: Array) -> tuple[Array, Array]:
        if self._left <= 0:
            self._compile()
        with np.errstate(all="ignore"):  # the caller counts values that are not finite
            value, gradient = self._run(rows)
        self._left -= self._run.seconds(len(rows))
        return value, gradient

    def _compile(self) -> None:
        self._left = math.inf
        value, vector, start = self._what
        # What cannot be compiled stays in NumPy.
        with warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            self._run = _together([value], vector, start, by_compiler(), gradient=True)


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
        if len(inputs) < 3:
            return None
        # In the type of the result: a product of small integers may not fit into theirs.
        return [reduce(node.op, [tensor.cast(each, node.outputs[0].dtype) for each in inputs])]

    return basic.WalkingGraphRewriter(in_pairs)


def by_compiler() -> Any:
    """Return PyTensor's mode that compiles soonest: Numba's, if it is there."""
    return "NUMBA" if find_spec("numba") else None


class _Together:
    """A compiled function of rows, called with a few rows at a time, to stay in the cache."""

    def __init__(self, function: Any) -> None:
        self._function = function
        sizes = _sizes(function)
        self._at_once = max(CACHED_NUMBERS // max(sizes), FEWEST_ROWS)
        self._largest = max(sizes)
        self._per_call, self._per_row = OVERHEAD * len(sizes), PER_NUMBER * sum(sizes)

    def __call__(self, rows: Array) -> Sequence[Array]:
        starts = range(0, max(len(rows), 1), self._at_once)
        with _threads(self._largest):
            parts = [self._function(rows[i : i + self._at_once]) for i in starts]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def seconds(self, rows: int) -> float:
        """Return about how long a number of rows takes in NumPy."""
        return math.ceil(rows / self._at_once) * self._per_call + rows * self._per_row


class _OneByOne:
    """A compiled function of a vector, called with each row."""

    def __init__(self, function: Any, names: Sequence[str | None]) -> None:
        self._function, self._names = function, names
        sizes = _sizes(function)
        self._largest = max(sizes)
        self._per_row = OVERHEAD * len(sizes) + PER_NUMBER * sum(sizes)

    def __call__(self, rows: Array) -> Sequence[Array]:
        with _threads(self._largest):
            columns = list(zip(*map(self._function, rows), strict=True))
        for name, column in zip(self._names, columns, strict=False):
            shapes = sorted({np.shape(value) for value in column})
            if len(shapes) > 1:
                raise ValueError(
                    f"model must have variables with fixed shapes, got {name or 'one'} with shapes "
                    f"{shapes[0]} and {shapes[-1]}: use pytensor.tensor.switch instead of "
                    "indices that depend on the variables, or leave it out"
                )
        return [np.stack(column) for column in columns]

    def seconds(self, rows: int) -> float:
        """Return about how long a number of rows takes in NumPy."""
        return rows * self._per_row


def _threads(largest: int) -> AbstractContextManager[Any]:
    """Return a context in which small matrices are multiplied in one thread.

    Threads that wait for each other after every product of some thousand numbers take many times
    as long, above all beside other work.

    Args:
        largest: number of numbers in the largest matrix.
    """
    if largest > CACHED_NUMBERS:
        return nullcontext()
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> Any:
    """Return what sets the number of threads of libraries for linear algebra."""
    return required("threadpoolctl", "pymc").ThreadpoolController()


def _sizes(function: Any) -> list[int]:
    """Return the number of numbers in the result of each operation of a compiled function."""
    results = [out for node in function.maker.fgraph.apply_nodes for out in node.outputs]
    shapes = [getattr(result.type, "shape", ()) for result in results]
    return [math.prod(size or 1 for size in shape) for shape in shapes] or [1]


def over_rows(
    outputs: Sequence[Any], vector: Any, start: Array, mode: Any, *, gradient: bool = False
) -> _Together | _OneByOne:
    """Compile functions of a vector for rows of vectors; row by row where it cannot be vectorised.

    Args:
        outputs: variables of PyTensor.
        vector: the variable that they depend on.
        start: a value of the vector at which they are finite.
        mode: PyTensor's mode.
        gradient: also return the gradient of the first output, after the outputs.

    Raises:
        NotImplementedError: if the gradient is not implemented.
    """
    try:
        with _silent("pytensor.graph.rewriting.basic"):
            return _together(outputs, vector, start, mode, gradient=gradient)
    except Exception as error:
        names = [output.name for output in outputs]
        alone = _OneByOne(_function(outputs, vector, mode, gradient), names)
        if gradient:
            why = str(error) if isinstance(error, _NoRowsError) else type(error).__name__
            warnings.warn(
                f"PyTensor cannot vectorise the density of the model ({why}): draws are evaluated "
                "one by one, which is slow",
                stacklevel=4,
            )
        return alone


class _NoRowsError(Exception):
    """Outputs for several vectors are not rows of one array."""


def _together(
    outputs: Sequence[Any], vector: Any, start: Array, mode: Any, *, gradient: bool
) -> _Together:
    """Compile functions of a vector for rows of vectors, vectorised."""
    vectorize_graph: Any = import_module("pytensor.graph.replace").vectorize_graph
    rows = import_module("pytensor.tensor").dmatrix("z")
    vectorised = vectorize_graph(list(outputs), replace={vector: rows})
    compiled = _function(vectorised, rows, mode, gradient)
    if any(map(_ragged, compiled.maker.fgraph.apply_nodes)):
        raise _NoRowsError("indices that depend on the variables; use pytensor.tensor.switch")
    function = _Together(compiled)
    found = function(np.tile(start, (3, 1)))
    shapes = [np.shape(column) for column in found[: len(outputs)]]
    if not all(
        len(shape) == output.ndim + 1 and shape[0] == 3
        for shape, output in zip(shapes, outputs, strict=True)
    ):
        raise _NoRowsError("an output that does not depend on the variables")
    return function


def _ragged(node: Any) -> bool:
    """Return whether an operation may take a different number of entries from each row."""
    inner = getattr(node.op, "core_op", None)
    match type(inner).__name__:
        case "Nonzero" | "ARange":
            return True
        case "AdvancedSubtensor":
            return any(getattr(given.type, "dtype", "") == "bool" for given in node.inputs)
        case "Subtensor":
            cuts = [cut for cut in getattr(inner, "idx_list", ()) if isinstance(cut, slice)]
            return any(cut != slice(None) for cut in cuts)
        case _:
            return False


def _function(values: Sequence[Any], argument: Any, mode: Any, gradient: bool) -> Any:
    """Compile outputs and, if asked for, the gradient of the sum of the first."""
    pytensor: Any = import_module("pytensor")
    slopes = []
    if gradient:
        slopes = [pytensor.grad(values[0].sum(), argument, disconnected_inputs="ignore")]
    return pytensor.function([argument], [*values, *slopes], mode=mode, on_unused_input="ignore")


@contextmanager
def _silent(name: str) -> Generator[None]:
    """Silence a logger during an attempt that may fail."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
