"""The properties of univariate maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from invflow.testing import properties
from invflow.univariate import Univariate

#: Number of points at which a map is checked.
_POINTS = 100


class _Direction(NamedTuple):
    """A map, and one of its directions."""

    map: Univariate
    name: str

    @property
    def input(self) -> str:
        return "z" if self.name == "forward" else "x"

    @property
    def back(self) -> _Direction:
        return _Direction(self.map, "inverse" if self.name == "forward" else "forward")

    def __call__(self, value: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return getattr(self.map, self.name)(value, params)

    def points(self, *batch: int) -> tuple[Tensor, Tensor]:
        """Return values and parameters away from the start; on a circle, in its range."""
        start = torch.tensor(self.map.start, dtype=torch.float64)
        z = 2 * properties.randn(*batch, seed=1)
        params = start + properties.randn(*batch, len(start), seed=2)
        x = self.map.forward(z, params)[0]
        if self.name == "inverse":
            return x.detach(), params
        return (self.map.inverse(x, params)[0] if self.map.wraps else z).detach(), params

    def at(self, value: Tensor) -> Callable[[tuple[int, ...]], str]:
        return lambda place: f" at {self.input} = {float(value.detach()[place[:1]]):.3g}"


def check_univariate(map: Univariate) -> None:
    """Check that a univariate map has the properties that flows rely on.

    They are: finite results at `start`; shapes and dtypes; each element is mapped alone; both
    directions undo each other; the value increases, and ladj is the logarithm of its slope; both
    directions have right gradients; `slopes` and `solver` agree with `forward` and `inverse`;
    arguments are not changed; `config` rebuilds the map.

    Args:
        map: an object, not a name.

    Raises:
        AssertionError: if a property fails; the message says which, and by how much.
        TypeError: if `map` is not a `Univariate`.

    Example:
        >>> from invflow.univariate import Spline
        >>> check_univariate(Spline(bins=4))
    """
    if not isinstance(map, Univariate):
        raise TypeError(f"map must be a Univariate, got {type(map).__name__}")
    directions = [_Direction(map, name) for name in ("forward", "inverse")]
    properties.check(type(map), (_start, _shapes, _arguments, _elements), directions)
    properties.check(type(map), (_round_trip, _slope, _gradients), directions)
    properties.check(type(map), (_slopes, _solver, _config), directions[:1])


def _start(run: _Direction) -> None:
    start = run.map.start
    if not start or not all(math.isfinite(each) for each in start):
        raise AssertionError(
            f"start must be one or more finite numbers, where the parameters begin, got {start}"
        )
    if run.map.parameters != len(start):
        raise AssertionError(
            f"parameters must be the length of start, {len(start)}, got {run.map.parameters}"
        )
    params = torch.tensor(start, dtype=torch.float64).expand(_POINTS, -1)
    z = 2 * properties.randn(_POINTS, seed=1)
    value = z if run.name == "forward" else run.map.forward(z, params)[0]
    for found in run(value, params):
        properties.shaped(f"{run.name} at start", found, value.shape, value.dtype)


def _shapes(run: _Direction) -> None:
    for dtype in (torch.float64, torch.float32):
        for batch in properties.BATCHES:
            value, params = (each.to(dtype) for each in run.points(*batch))
            for name, found in zip(("the value", "ladj"), run(value, params), strict=True):
                properties.shaped(f"{name} of {run.name}", found, batch, dtype)


def _elements(run: _Direction) -> None:
    value, params = run.points(5, 3)
    whole, alone = run(value, params), run(value[1, 2], params[1, 2])
    shared = run(value, params[0])  # as from transforms without a context
    spread = run(value, params[0].expand(5, 3, -1))
    for i, name in enumerate(("the value", "ladj")):
        properties.close(
            f"{name} of {run.name} for one element alone differs from that in a batch",
            alone[i],
            whole[i][1, 2],
            "elements of a batch must not affect each other",
        )
        properties.close(
            f"{name} of {run.name} with parameters shared by a batch differs from that with copies",
            shared[i].expand(5, 3),
            spread[i],
            "parameters must broadcast",
        )


def _arguments(run: _Direction) -> None:
    given = run.points(5)
    before = [each.clone() for each in given]
    run(*given)
    properties.unchanged(run.name, before, given)


def _round_trip(run: _Direction) -> None:
    value, params = run.points(_POINTS)
    properties.round_trip(run, value, params, run.at(value))


def _slope(run: _Direction) -> None:
    value, params = run.points(_POINTS)
    value.requires_grad_()
    result, ladj = run(value, params)
    (slope,) = properties.gradient(result.sum(), [value])
    if not bool((slope > 0).all()):
        worst = int(slope.argmin())
        raise AssertionError(
            f"{run.name} must increase, got slope {float(slope[worst]):.3g}"
            f"{run.at(value)((worst,))}: a map that is flat or decreases somewhere has no inverse "
            "there"
        )
    properties.close(
        f"ladj of {run.name} differs from the logarithm of the slope of its value",
        ladj,
        slope.log(),
        "log densities would be wrong by as much",
        at=run.at(value),
    )


def _gradients(run: _Direction) -> None:
    value, params = (each.requires_grad_() for each in run.points(10))
    for name, given in ((run.input, value), ("params", params)):
        properties.derivative(
            run.name, name, lambda: properties.combined(run(value, params)), [given]
        )


def _slopes(run: _Direction) -> None:
    z, params = run.points(_POINTS)
    expected = Univariate.slopes(run.map, z, params)
    for name, found, wanted in zip(
        ("z", "params"), run.map.slopes(z, params), expected, strict=True
    ):
        properties.shaped(f"the slope by {name}", found, wanted.shape, wanted.dtype)
        properties.close(
            f"slopes differs from the derivative of forward by {name}",
            found,
            wanted,
            "gradients of the inverse are computed from it",
            at=run.at(z),
        )


def _solver(run: _Direction) -> None:
    x, params = run.back.points(_POINTS)
    before = x.clone(), params.clone()
    expected, found = run.map.inverse(x, params)[0], run.map.solver(x)(x, params)
    properties.unchanged("solver", before, (x, params))
    properties.close(
        "solver differs from inverse",
        found,
        expected,
        "sequential directions of flows are computed with it",
        at=run.back.at(x),
    )


def _config(run: _Direction) -> None:
    again = type(run.map)(**run.map.config())
    if again != run.map:
        raise AssertionError(
            f"config must give the arguments that rebuild the map {run.map!r}, it builds "
            f"{again!r}: a flow would be another one after saving and loading"
        )
