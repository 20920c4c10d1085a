"""What is expected of a log density that a user gives, for posteriors and for teachers alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Size, Tensor

#: Largest relative difference of log densities that should be equal: allows single precision.
TOLERANCE = 1e-4
#: Number of vectors that are also evaluated one at a time.
ALONE = 4


class BadTarget(ValueError):  # noqa: N818, what is bad is the target, not a point
    """The log density is wrong everywhere, not at some points."""


def checked(value: object, batch: Size) -> Tensor:
    """Return the log densities of a batch of vectors, checked.

    Args:
        value: what the log density returned.
        batch: shape of the batch.

    Raises:
        TypeError: if it is not a tensor, or has an integer dtype.
        BadTarget: if it has another shape.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"log_density must return a tensor, got {type(value).__name__}")
    if not value.is_floating_point():
        raise TypeError(f"log_density must return floating-point numbers, got {value.dtype}")
    if value.shape != batch:
        raise BadTarget(
            f"log_density must return shape {tuple(batch)} for a batch of that shape, one number "
            f"per vector, got {tuple(value.shape)}: is it summed over the batch?"
        )
    return value


def scores(log_density: Callable[[Tensor], object], z: Tensor) -> tuple[Tensor, Tensor]:
    """Return log densities, shape (batch,), and their gradients, (batch, dim), both detached.

    Args:
        log_density: takes vectors, (batch, dim), and returns (batch,).
        z: shape (batch, dim).

    Raises:
        TypeError: if the log density does not return a floating-point tensor.
        BadTarget: if it has the wrong shape, or has no gradient.
    """
    point = z.detach().requires_grad_()
    with torch.enable_grad():
        value = checked(log_density(point), z.shape[:-1])
        if not value.requires_grad:
            raise BadTarget(
                "log_density must be differentiable, got values without a gradient: "
                "is the argument detached, or converted to a number or a NumPy array?"
            )
        (slope,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    return value.detach(), slope


def check_consistent(value: Tensor, again: Callable[[slice], Tensor]) -> None:
    """Check that a log density is neither random nor mixes the vectors of a batch.

    Args:
        value: the log densities of some vectors, shape (batch,).
        again: returns those of a slice of the same vectors, evaluated again.

    Raises:
        BadTarget: if the log density is random, or depends on the rest of the batch.
    """
    _check_same(
        value,
        again(slice(None)),
        "log_density must return the same value for the same vector",
        "random",
    )
    few = min(ALONE, len(value))
    _check_same(
        value[:few],
        torch.cat([again(slice(i, i + 1)) for i in range(few)]),
        "log_density must return the same value for a vector in any batch",
        "summed over the batch",
    )


def _check_same(first: Tensor, second: Tensor, what: str, why: str) -> None:
    both = torch.isfinite(first) & torch.isfinite(second)
    wrong = ((first - second).abs() > TOLERANCE * (1 + first.abs())) & both
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        raise BadTarget(
            f"{what}, got {float(first[i]):.6g} and then {float(second[i]):.6g}: is part of it "
            f"{why}?"
        )
