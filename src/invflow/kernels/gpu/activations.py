"""Activations and their slopes, of whole blocks of numbers, in single or double precision."""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false
# pyright: reportGeneralTypeIssues=false
from __future__ import annotations

import math

import triton
import triton.language as tl

_ROOT_HALF = tl.constexpr(math.sqrt(0.5))
_PER_ROOT_TAU = tl.constexpr(1 / math.sqrt(2 * math.pi))


@triton.jit
def expm1(x):
    """The exponential less one, with small results to rounding too."""
    series = tl.full(x.shape, 1.0, x.dtype)
    for k in tl.static_range(14, 1, -1):
        series = 1.0 + series * x * (1.0 / k)
    return tl.where(tl.abs(x) < 0.35, x * series, tl.exp(x) - 1.0)


@triton.jit
def log1p(x):
    """log(1 + x) for x between 0 and 1, with small results to rounding too."""
    ratio = x / (2.0 + x)
    square = ratio * ratio
    series = tl.full(x.shape, 1 / 35, x.dtype)
    for k in tl.static_range(33, -1, -2):
        series = 1.0 / k + series * square
    return 2.0 * ratio * series


@triton.jit
def tanh(x):
    """The hyperbolic tangent."""
    e = expm1(-2.0 * tl.abs(x))
    size = -e / (2.0 + e)
    return tl.where(x < 0, -size, size)


@triton.jit
def sigmoid(x):
    """The logistic function."""
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def softplus(x):
    """log(1 + exp(x))."""
    return tl.where(x < 0, 0.0, x) + log1p(tl.exp(-tl.abs(x)))


@triton.jit
def activate(a, NAME: tl.constexpr):
    """Return the activations of pre-activations."""
    if NAME == "relu":
        value = tl.where(a < 0, 0.0, a)
    elif NAME == "leaky_relu":
        value = tl.where(a < 0, 0.01 * a, a)
    elif NAME == "elu":
        value = tl.where(a < 0, expm1(a), a)
    elif NAME == "tanh":
        value = tanh(a)
    elif NAME == "sigmoid":
        value = sigmoid(a)
    elif NAME == "silu":
        value = a * sigmoid(a)
    elif NAME == "softplus":
        value = tl.where(a > 20, a, softplus(a))  # where torch takes the straight line
    else:
        tl.static_assert(NAME == "gelu")
        value = 0.5 * a * (1.0 + tl.erf(a * _ROOT_HALF))
    return value


@triton.jit
def slope(a, NAME: tl.constexpr):
    """Return the slopes of an activation at pre-activations."""
    if NAME == "relu":
        value = tl.where(a > 0, tl.full(a.shape, 1.0, a.dtype), 0.0)
    elif NAME == "leaky_relu":
        value = tl.where(a > 0, 1.0, tl.full(a.shape, 0.01, a.dtype))
    elif NAME == "elu":
        value = tl.exp(tl.where(a > 0, 0.0, a))
    elif NAME == "tanh":
        t = tanh(a)
        value = 1.0 - t * t
    elif NAME == "sigmoid":
        gate = sigmoid(a)
        value = gate * (1.0 - gate)
    elif NAME == "silu":
        gate = sigmoid(a)
        value = gate * (1.0 + a * (1.0 - gate))
    elif NAME == "softplus":
        value = sigmoid(a)
    else:
        tl.static_assert(NAME == "gelu")
        density = tl.exp(-0.5 * a * a) * _PER_ROOT_TAU
        value = 0.5 * (1.0 + tl.erf(a * _ROOT_HALF)) + a * density
    return value
