"""The inverses of an autoregressive transform by name, and the choice between them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from invflow import _checks, kernels
from invflow._torch import hooked
from invflow.conditioners import CachedConditioner, Conditioner
from invflow.inverses import cached, fixed_point, passes
from invflow.inverses.pair import Pair

INVERSES = ("auto", "compiled", "cached", "fixed_point", "passes")


def check(inverse: str, tolerance: float | None, pair: Pair) -> None:
    """Check that a pair has an inverse of this name, and warn if it will be slow.

    Raises:
        ImportError: if what it needs is not installed.
        TypeError: if the tolerance is not a number.
        ValueError: if the name is unknown, the pair does not have this inverse, or the tolerance is
            below zero.
    """
    _checks.choice("inverse", inverse, INVERSES)
    if tolerance is not None and not _checks.number("tolerance", tolerance) >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance!r}")
    why = cached.refusal(pair.conditioner)
    if inverse == "cached" and why:
        raise ValueError(f'inverse="cached" needs a conditioner with a decoder, got {why}')
    if inverse == "auto" and why and isinstance(pair.conditioner, CachedConditioner):
        warnings.warn(
            f'{why}, may compute something else than its parent\'s cached inverse: inverse="auto" '
            'uses "fixed_point" for it, which is slower. If the cached inverse is right for it, '
            "give the class a name in invflow.conditioners.CONDITIONERS; if not, pass "
            'inverse="fixed_point" to silence this warning',
            RuntimeWarning,
            stacklevel=2,
        )
    if inverse == "compiled":
        kernels.check(pair.conditioner, pair.univariate)


def solve(
    inverse: str,
    pair: Pair,
    method: cached.Method | None,
    x: Tensor,
    context: Tensor | None,
    tolerance: float | None,
) -> tuple[Tensor, Tensor]:
    """Return the z that an autoregressive transform maps to `x`, in PyTorch.

    Args:
        inverse: its name; "compiled" if the kernels did not take the call.
        pair: the conditioner and the map.
        method: how to invert it in one sweep; None if that is impossible.
        x: data, (*batch, features).
        context: as for the conditioner.
        tolerance: for "fixed_point".

    Returns:
        z, shaped like `x`, and the parameters there, (*batch, features, outputs).
    """
    if torch.compiler.is_exporting() and inverse != "passes":
        # The number of steps must not depend on the numbers.
        sweeps = method is not None and not (torch.is_grad_enabled() or _hooked(pair.conditioner))
        inverse = "cached" if sweeps else "passes"
    if inverse == "passes":
        return passes.solve(pair, x, context)
    if method is not None and _in_one_sweep(inverse, pair, x):
        return cached.solve(method, pair, x, context)
    return fixed_point.solve(pair, x, context, tolerance)


def _in_one_sweep(inverse: str, pair: Pair, x: Tensor) -> bool:
    """Return whether to invert one group after another, rather than all until they converge.

    On an accelerator the time of a long sweep in PyTorch is the time to launch its steps. A
    conditioner with hooks must be called, because they may change its result.
    """
    if inverse == "fixed_point" or _hooked(pair.conditioner):
        return False
    return inverse == "cached" or x.device.type == "cpu" or len(pair.conditioner.groups) <= 16


def _hooked(conditioner: Conditioner) -> bool:
    return any(map(hooked, (conditioner, *conditioner.children())))
