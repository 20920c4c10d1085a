"""What all checks share: how properties are checked, and how results are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

SubjectT = TypeVar("SubjectT")

#: Largest relative error of what should be equal up to rounding, in double precision.
TOLERANCE = 1e-9
#: Largest relative error of a derivative by finite differences.
ROUGH = 1e-6
#: The step of finite differences.
STEP = 1e-6
#: Batch shapes of every kind.
BATCHES = ((), (5,), (2, 3), (0,), (2, 0))


def check(
    kind: type, properties: Iterable[Callable[[SubjectT], None]], subjects: Sequence[SubjectT]
) -> None:
    """Check each property on each subject.

    Raises:
        AssertionError: if a property fails, or the checked code raises an error.
    """
    with torch.enable_grad():
        for one in properties:
            for subject in subjects:
                _check(kind.__name__, one, subject)


def _check(name: str, checks: Callable[[SubjectT], None], subject: SubjectT) -> None:
    try:
        checks(subject)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error.__cause__
    except Exception as error:
        what = checks.__name__.replace("_", " ").strip()
        raise AssertionError(
            f"{name} raises {type(error).__name__} in the check of {what}: {error}"
        ) from error


def randn(*shape: int, seed: int) -> Tensor:
    """Return normal random numbers in double precision, on the CPU."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=torch.float64, device="cpu")


def shaped(what: str, found: Any, shape: Sequence[int], dtype: torch.dtype) -> None:
    """Check that a result is a tensor with a shape and a dtype, and finite."""
    if not isinstance(found, Tensor):
        raise AssertionError(f"{what} must be a tensor, got {type(found).__name__}")
    if found.shape != tuple(shape):
        raise AssertionError(
            f"{what} must have shape {tuple(shape)}, got {tuple(found.shape)}: "
            "every batch shape must be kept"
        )
    if found.dtype != dtype:
        raise AssertionError(
            f"{what} must have the dtype of the input, {dtype}, got {found.dtype}: "
            "look for tensors that are made without dtype=, or cast"
        )
    if not bool(torch.isfinite(found).all()):
        raise AssertionError(f"{what} must be finite for ordinary numbers, got {found.tolist()}")


def close(
    claim: str,
    found: Tensor,
    expected: Tensor,
    meaning: str,
    *,
    at: Callable[[tuple[int, ...]], str] = lambda place: "",
    tolerance: float = TOLERANCE,
    slack: Tensor | float = 0.0,
) -> None:
    """Check that two tensors of one shape agree.

    Args:
        claim: what is wrong if they do not, such as "f(x) differs from y".
        found: the result.
        expected: what it should be.
        meaning: what follows if it is not.
        at: says where the largest error is, given its index.
        tolerance: the largest error, relative to 1 + |expected|.
        slack: is added to the largest error: what `rounding` returns.
    """
    found, expected = found.detach(), expected.detach()
    error, limit = (found - expected).abs(), tolerance * (1 + expected.abs()) + slack
    excess = torch.nan_to_num(error / limit, nan=torch.inf)
    if not excess.numel() or bool(excess.max() <= 1):
        return
    place = tuple(int(each) for each in torch.unravel_index(excess.argmax(), excess.shape))
    raise AssertionError(
        f"{claim} by {error[place]:.2g}{at(place)}, with tolerance {limit[place]:.1g}: {meaning}"
    )


@torch.no_grad()
def rounding(function: Callable[[Tensor], Sequence[Tensor]], argument: Tensor) -> list[Tensor]:
    """Return by how much results move if an argument is off by a relative 1e-12.

    The inverse of a map that is nearly flat loses digits, and is not wrong for that.
    """
    signs = randn(*argument.shape, seed=41).sign().to(argument)
    moved = function(argument + 1e-12 * (1 + argument.abs()) * signs)
    return [(a - b).abs() for a, b in zip(moved, function(argument), strict=True)]


def round_trip(run: Any, value: Tensor, other: Any, at: Callable[[tuple[int, ...]], str]) -> None:
    """Check that the other direction undoes a direction.

    Args:
        run: the direction, with its `name`, the name of its `input`, and the way `back`.
        value: what it takes.
        other: the parameters of a map, or the context of a transform.
        at: says where the largest error is, given its index.
    """
    there, ladj = run(value, other)
    again, back = run.back(there, other)
    slack = rounding(lambda there: run.back(there, other), there)
    close(
        f"{run.back.name}({run.name}({run.input})) differs from {run.input}",
        again,
        value,
        "the two directions do not undo each other",
        at=at,
        slack=slack[0],
    )
    close(
        f"ladj of {run.back.name} differs from minus ladj of {run.name}",
        back,
        -ladj,
        "log densities of samples and of data would disagree",
        slack=slack[1],
    )


def gradient(result: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient of a number; zeros for what it does not depend on."""
    if not result.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    return list(torch.autograd.grad(result, inputs, allow_unused=True, materialize_grads=True))


def derivative(
    what: str,
    of: str,
    loss: Callable[[], Tensor],
    inputs: Sequence[Tensor],
) -> None:
    """Check automatic differentiation against finite differences, along one random direction.

    Args:
        what: is differentiated, such as "forward".
        of: what it is differentiated by, such as "z".
        loss: computes a number from the inputs.
        inputs: tensors that require gradients; they are moved and put back.
    """
    found = gradient(loss(), inputs)
    ways = [randn(*each.shape, seed=31 + i).to(each) for i, each in enumerate(inputs)]
    norm = sum(float(way.square().sum()) for way in ways) ** 0.5
    ways = [way / norm for way in ways]
    automatic = sum(float((a * b).sum()) for a, b in zip(found, ways, strict=True))
    before = [each.detach().clone() for each in inputs]

    def moved(step: float) -> float:
        with torch.no_grad():
            for each, start, way in zip(inputs, before, ways, strict=True):
                each.copy_(start + step * way)
            return float(loss())

    finite = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    moved(0.0)
    if not abs(automatic - finite) <= ROUGH * (1 + abs(finite)):
        raise AssertionError(
            f"the derivative of {what} with respect to {of} along a random direction is "
            f"{automatic:.6g} by automatic differentiation and {finite:.6g} by finite "
            "differences: training would follow wrong gradients"
        )


def combined(results: Iterable[Tensor]) -> Tensor:
    """Return a fixed random combination of all entries of some results."""
    terms = [
        (each * randn(*each.shape, seed=21 + i).to(each)).sum() for i, each in enumerate(results)
    ]
    return torch.stack(terms).sum()


def unchanged(what: str, before: Iterable[Tensor], after: Iterable[Tensor]) -> None:
    """Check that a call has not written into tensors."""
    if not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise AssertionError(
            f"{what} changes its arguments in place: the caller still needs their values"
        )
