"""The properties of transforms."""

from __future__ import annotations

import torch

from invflow.testing import call, properties
from invflow.testing.call import Call
from invflow.transforms import Transform


def check_transform(transform: Transform) -> None:
    """Check that a transform has the properties that flows rely on, in both directions.

    They are: shapes and dtypes; batch elements do not affect each other; calls in evaluation mode
    change nothing; values lie in `domain` and `codomain`; the directions undo each other; ladj is
    the log-determinant of the derivative; a declared context is read, and any other is refused;
    gradients are right; saving and loading restore everything.

    Args:
        transform: of any size; a copy of it is perturbed and checked, in evaluation mode.

    Raises:
        AssertionError: if a property fails; the message says which, and by how much.
        TypeError: if `transform` is not a `Transform`.

    Example:
        >>> from invflow.transforms import Planar
        >>> check_transform(Planar(3))
    """
    if not isinstance(transform, Transform):
        raise TypeError(f"transform must be a Transform, got {type(transform).__name__}")
    directions = [Call.of(transform, name) for name in ("forward", "inverse")]
    kind = type(transform)
    properties.check(kind, (call.shapes, call.single_precision, call.repeated_calls), directions)
    properties.check(kind, (call.batch_elements, _support, _round_trip), directions)
    properties.check(
        kind, (_log_determinant, call.contexts, call.gradients, call.saving), directions
    )


def _support(run: Call) -> None:
    name = "codomain" if run.name == "forward" else "domain"
    value, _ = run(run.values(50), run.context(50))
    if not bool(getattr(run.part, name).check(value).all()):
        raise AssertionError(
            f"{run.name} gives values outside of `{name}`: a flow's support would be wrong"
        )


def _round_trip(run: Call) -> None:
    for batch in ((), (2, 3), (50,)):
        properties.round_trip(
            run, run.values(*batch), run.context(*batch), lambda place: f" at feature {place[-1]}"
        )


def _log_determinant(run: Call) -> None:
    """Check it in one batch, of which row i is for the derivative of entry i."""
    features = run.part.features
    for seed in (2, 3):
        rows = run.values(1, seed=seed).repeat(features, 1).requires_grad_()
        context = run.context(1, seed=seed)
        value, ladj = run(rows, None if context is None else context.expand(features, -1))
        (jacobian,) = properties.gradient(value.diagonal().sum(), [rows])
        properties.close(
            f"ladj of {run.name} differs from the log-determinant of the derivative of its value",
            ladj[0],
            torch.linalg.slogdet(jacobian)[1],
            "log densities would be wrong by as much",
        )
