"""Activations and their slopes, number by number of a tile.

No call leaves the common loops, so that LLVM vectorises them.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

#: What the kernels call them.
ACTIVATIONS = {
    name: code
    for code, name in enumerate(
        ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "silu", "softplus", "gelu")
    )
}

_ROOT_HALF, _PER_ROOT_TAU = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
_PER_LOG2 = 1 / math.log(2)
# Added to a smaller number, they leave the nearest integer in the lowest bits.
_MAGIC, _MAGIC32 = 1.5 * 2.0**52, np.float32(1.5 * 2.0**23)
# Their sum is log 2, and multiples of the first one are exact.
_LOG2_HIGH, _LOG2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_LOG2_HIGH32, _LOG2_LOW32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (
    1 / math.factorial(k) for k in range(2, 14)
)
_S2, _S3, _S4, _S5, _S6, _S7 = (np.float32(1 / math.factorial(k)) for k in range(2, 8))
_LOW32, _HIGH32, _PER_LOG232 = np.float32(-87.3), np.float32(88.3), np.float32(_PER_LOG2)


@njit(nogil=True)
def _double_powers(x):
    given = x
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    shifted = x * _PER_LOG2 + _MAGIC
    n = shifted - _MAGIC
    r = (x - n * _LOG2_HIGH) - n * _LOG2_LOW
    p = _C9 + r * (_C10 + r * (_C11 + r * (_C12 + r * _C13)))
    p = _C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * (_C7 + r * (_C8 + r * p)))))
    bits = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    return np.int64(bits).view(np.float64), r + r * r * (_C2 + r * p), 1.0, given - x


@njit(nogil=True)
def _single_powers(x):
    given = x
    x = _LOW32 if x < _LOW32 else x
    x = _HIGH32 if x > _HIGH32 else x
    shifted = x * _PER_LOG232 + _MAGIC32
    n = shifted - _MAGIC32
    r = (x - n * _LOG2_HIGH32) - n * _LOG2_LOW32
    p = _S3 + r * (_S4 + r * (_S5 + r * (_S6 + r * _S7)))
    bits = (np.float32(shifted).view(np.int32) + np.int32(127)) << np.int32(23)
    return np.int32(bits).view(np.float32), r + r * r * (_S2 + r * p), np.float32(1), given - x


def _powers(x: Any) -> Any:
    """Return 2^n, e^r - 1, 1 and what x is too large by, in its precision.

    Here x = n log 2 + r, with the smallest r, cut where 2^n would overflow.
    """
    raise NotImplementedError("for compiled functions")


@overload(_powers)
def _(x):
    def single(x):
        return _single_powers(x)

    def double(x):
        return _double_powers(x)

    return single if x == types.float32 else double


@njit(nogil=True, error_model="numpy")
def exp(x):
    """The exponential, to rounding; 0 or infinity where it or its inverse would overflow."""
    scale, rest, one, beyond = _powers(x)
    value = scale * rest + scale
    value = value / (one - one) if beyond > 0 else value
    return one - one if beyond < 0 else value


@njit(nogil=True)
def expm1(x):
    """The exponential less one, with small results to rounding too; finite."""
    scale, rest, one, _ = _powers(x)
    return scale * rest + (scale - one)


@njit(nogil=True, error_model="numpy")
def tanh(x):
    """The hyperbolic tangent."""
    scale, rest, one, _ = _powers(x + x)
    e = scale * rest + (scale - one)
    return e / (e + (one + one))


@njit(nogil=True, error_model="numpy")
def sigmoid(x):
    """The logistic function."""
    scale, rest, one, _ = _powers(-x)
    return one / (one + (scale * rest + scale))


@njit(nogil=True, error_model="numpy")
def activate(name, values, first, count):
    """Replace pre-activations by activations, in place.

    Args:
        name: the activation's number in `ACTIVATIONS`.
        values: a tile's memory, flat.
        first: where to begin.
        count: how many numbers.
    """
    part = values[first : first + count]
    if name == 0:
        for i in range(count):
            a = part[i]
            part[i] = 0.0 if a < 0 else a
    elif name == 1:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = 0.01 * a if a < 0 else a
    elif name == 2:
        for i in range(count):
            a = part[i]
            part[i] = expm1(a) if a < 0 else a
    elif name == 3:
        for i in range(count):
            part[i] = tanh(part[i])
    elif name == 4:
        for i in range(count):
            part[i] = sigmoid(part[i])
    elif name == 5:
        for i in range(count):
            part[i] *= sigmoid(part[i])
    elif name == 6:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = a if a > 20 else math.log1p(exp(a))  # where torch takes the straight line
    else:
        for i in range(count):
            a = np.float64(part[i])
            part[i] = 0.5 * a * math.erfc(-a * _ROOT_HALF)


@njit(nogil=True, error_model="numpy")
def pull(name, cotangents, first, hidden, kept, count):
    """Multiply cotangents by the activation's slope, in place.

    Args:
        name: the activation's number in `ACTIVATIONS`.
        cotangents: a tile's memory, flat.
        first: where to begin.
        hidden: pre-activations, flat.
        kept: where those begin.
        count: how many numbers.
    """
    part, before = cotangents[first : first + count], hidden[kept : kept + count]
    if name == 0:
        for i in range(part.size):
            part[i] = part[i] if before[i] > 0 else 0.0
    elif name == 1:
        for i in range(part.size):
            part[i] *= 1.0 if before[i] > 0 else 0.01
    elif name == 2:
        for i in range(part.size):
            slope = exp(before[i])
            part[i] = part[i] if before[i] > 0 else part[i] * slope
    elif name == 3:
        for i in range(part.size):
            t = tanh(before[i])
            part[i] -= part[i] * (t * t)
    elif name == 4:
        for i in range(part.size):
            gate = sigmoid(before[i])
            part[i] *= gate - gate * gate
    elif name == 5:
        for i in range(part.size):
            gate, a = sigmoid(before[i]), before[i]
            part[i] *= gate + gate * a * sigmoid(-a)
    elif name == 6:
        for i in range(part.size):
            part[i] *= sigmoid(before[i])
    else:
        for i in range(part.size):
            a = np.float64(before[i])
            part[i] *= 0.5 * math.erfc(-a * _ROOT_HALF) + a * exp(-0.5 * a * a) * _PER_ROOT_TAU
