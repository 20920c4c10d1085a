"""Univariate maps inverted, and the gradients of their inverses: formulas as in `c/maps.h`.

And what is read of features, as in `soft_clip`.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false
from __future__ import annotations

import math

import triton
import triton.language as tl

from invflow.kernels.gpu.activations import sigmoid, softplus, tanh

_NONE = tl.constexpr(math.inf)


@triton.jit
def solve(x, shift, raw, NAME: tl.constexpr, BOUND: tl.constexpr):
    """Return z and its log-derivative.

    Args:
        x: one feature's data.
        shift: its first parameter.
        raw: its second; anything for the additive map, which has none.
        NAME: of the map.
        BOUND: of an affine map's log-scale.
    """
    if NAME == "additive":
        z = x - shift
        ladj = tl.zeros_like(x)
    elif NAME == "affine":
        s = BOUND * tanh(raw / BOUND)
        z = (x - shift) * tl.exp(-s)
        ladj = -s
    else:
        tl.static_assert(NAME == "gated")
        z = shift + (x - shift) * (1.0 + tl.exp(-raw))
        ladj = softplus(-raw)
    return z, ladj


@triton.jit
def pull_solve(z, shift, raw, bar_z, bar_ladj, NAME: tl.constexpr, BOUND: tl.constexpr):
    """Return the cotangents of x and of both parameters.

    Args:
        z: the solution for one feature.
        shift: its first parameter.
        raw: its second; anything for the additive map.
        bar_z: cotangents of z.
        bar_ladj: those of its log-derivative.
        NAME: of the map.
        BOUND: of an affine map's log-scale.
    """
    if NAME == "additive":
        bar_x = bar_z
        bar_shift = -bar_z
        bar_raw = tl.zeros_like(bar_z)
    elif NAME == "affine":
        t = tanh(raw / BOUND)
        bar_x = bar_z * tl.exp(-BOUND * t)
        bar_shift = -bar_x
        bar_raw = -(bar_z * z + bar_ladj) * (1.0 - t * t)
    else:
        tl.static_assert(NAME == "gated")
        more = tl.exp(-raw)
        bar_x = bar_z * (1.0 + more)
        bar_shift = -bar_z * more
        bar_raw = -(bar_z * (z - shift) + bar_ladj) * sigmoid(-raw)
    return bar_x, bar_shift, bar_raw


@triton.jit
def soft_clip(z, BOUND: tl.constexpr):
    """Return what is read of features.

    Args:
        z: features.
        BOUND: of what is read, infinite for none.
    """
    read = z
    if BOUND != _NONE:
        size = tl.abs(z)
        beyond = 0.5 * BOUND * (1.0 + tanh(size / (0.5 * BOUND) - 1.0))
        read = tl.where(size <= 0.5 * BOUND, z, tl.where(z < 0, -beyond, beyond))
    return read


@triton.jit
def soft_clip_slope(z, BOUND: tl.constexpr):
    """Return the slope of what is read of features; see `soft_clip`."""
    slope = tl.full(z.shape, 1.0, z.dtype)
    if BOUND != _NONE:
        size = tl.abs(z)
        t = tanh(size / (0.5 * BOUND) - 1.0)
        slope = tl.where(size <= 0.5 * BOUND, slope, 1.0 - t * t)
    return slope
