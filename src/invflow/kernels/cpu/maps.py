r"""Univariate maps, their inverses, and the gradients of both, row by row of a tile.

For $x = u(z; p)$ and its log-derivative $\ell$, with cotangents g of x and l of $\ell$:

affine, $s = b \tanh(r / b)$: $x = \mu + e^s z$, $\ell = s$;
$\bar z = g e^s$, $\bar\mu = g$, $\bar r = (g e^s z + l) (1 - \tanh^2(r / b))$.

gated: $x = m + \sigma(s) (z - m)$, $\ell = \log \sigma(s)$;
$\bar z = g \sigma(s)$, $\bar m = g (1 - \sigma(s))$,
$\bar s = (g (z - m) \sigma(s) + l) (1 - \sigma(s))$.

For $z = u^{-1}(x; p)$ and its log-derivative $\ell$, with cotangents g of z and l of $\ell$:

affine, $s = b \tanh(r / b)$: $z = (x - \mu) e^{-s}$, $\ell = -s$;
$\bar x = g e^{-s}$, $\bar\mu = -\bar x$, $\bar r = -(g z + l) (1 - \tanh^2(r / b))$.

gated, $q = 1 + e^{-s}$: $z = m + (x - m) q$, $\ell = \log q$;
$\bar x = g q$, $\bar m = g (1 - q)$, $\bar s = -(g (z - m) + l) (1 - 1 / q)$.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

import math

import numpy as np
from numba import njit

from invflow.kernels.cpu.activations import exp, sigmoid, tanh

#: What the kernels call them.
MAPS = {"additive": 0, "affine": 1, "gated": 2}


@njit(nogil=True, error_model="numpy")
def _log_sigmoid(s):
    return (s if s < 0 else 0.0) - math.log1p(exp(-abs(s)))


@njit(nogil=True, error_model="numpy")
def apply(map, bound, tile, row, first, columns, ladj):
    """Replace a row of z by x, and add its log-derivative; see `solve`."""
    x, total = tile[row : row + columns], tile[ladj : ladj + columns]
    shift = tile[first : first + columns]
    if map == 0:
        for i in range(columns):
            x[i] += shift[i]
        return
    raw = tile[first + columns : first + 2 * columns]
    limit = raw.dtype.type(bound)
    if map == 1:
        for i in range(columns):
            s = limit * tanh(raw[i] / limit)
            x[i] = shift[i] + x[i] * exp(s)
            total[i] += s
    else:
        for i in range(columns):
            x[i] = sigmoid(raw[i]) * x[i] + sigmoid(-raw[i]) * shift[i]
        for i in range(columns):
            total[i] += _log_sigmoid(np.float64(raw[i]))


@njit(nogil=True, error_model="numpy")
def pull_apply(map, bound, tile, row, z, first, columns, params, ladj):
    """Replace a row of cotangents of x by those of z, and leave those of the parameters.

    Args:
        map: its number in `MAPS`.
        bound: of an affine map's log-scale.
        tile: a tile's memory, flat.
        row: where the row of cotangents begins.
        z: the feature, at least as many numbers as the tile has columns.
        first: where the row for the first parameter begins; the others follow it.
        columns: of the tile.
        params: the feature's parameters, one row after another.
        ladj: where the row of cotangents of the log-derivative begins.
    """
    g, bar_ladj = tile[row : row + columns], tile[ladj : ladj + columns]
    bar_shift = tile[first : first + columns]
    if map == 0:
        for i in range(columns):
            bar_shift[i] = g[i]
        return
    shift, raw = params[:columns], params[columns : 2 * columns]
    bar_raw = tile[first + columns : first + 2 * columns]
    limit = raw.dtype.type(bound)
    if map == 1:
        for i in range(columns):
            t = tanh(raw[i] / limit)
            bar_shift[i] = g[i]
            g[i] *= exp(limit * t)
            slope = g[i] * z[i] + bar_ladj[i]
            bar_raw[i] = slope - slope * (t * t)
    else:
        for i in range(columns):
            gate, rest = sigmoid(raw[i]), sigmoid(-raw[i])
            bar_shift[i] = g[i] * rest
            g[i] *= gate
            bar_raw[i] = (g[i] * (z[i] - shift[i]) + bar_ladj[i]) * rest


@njit(nogil=True, error_model="numpy")
def solve(map, bound, tile, row, first, columns, ladj):
    """Replace a row of x by z, and add its log-derivative.

    Args:
        map: its number in `MAPS`.
        bound: of an affine map's log-scale.
        tile: a tile's memory, flat.
        row: where the row of x begins.
        first: where the row of the first parameter begins; the others follow it.
        columns: of the tile.
        ladj: where the row of log-derivatives begins.
    """
    z, total = tile[row : row + columns], tile[ladj : ladj + columns]
    shift = tile[first : first + columns]
    if map == 0:
        for i in range(columns):
            z[i] -= shift[i]
        return
    raw = tile[first + columns : first + 2 * columns]
    limit = raw.dtype.type(bound)
    if map == 1:
        for i in range(columns):
            s = limit * tanh(raw[i] / limit)
            z[i] = (z[i] - shift[i]) * exp(-s)
            total[i] -= s
    else:
        for i in range(columns):
            z[i] += (z[i] - shift[i]) * exp(-raw[i])
        for i in range(columns):
            total[i] -= _log_sigmoid(np.float64(raw[i]))


@njit(nogil=True, error_model="numpy")
def pull_solve(map, bound, tile, row, z, first, columns, params, ladj):
    """Replace a row of cotangents of z by those of x, and leave those of the parameters.

    See `pull_apply`.
    """
    g, bar_ladj = tile[row : row + columns], tile[ladj : ladj + columns]
    bar_shift = tile[first : first + columns]
    if map == 0:
        for i in range(columns):
            bar_shift[i] = -g[i]
        return
    shift, raw = params[:columns], params[columns : 2 * columns]
    bar_raw = tile[first + columns : first + 2 * columns]
    limit = raw.dtype.type(bound)
    if map == 1:
        for i in range(columns):
            t = tanh(raw[i] / limit)
            slope = g[i] * z[i] + bar_ladj[i]
            bar_raw[i] = slope * (t * t) - slope
            g[i] *= exp(-limit * t)
            bar_shift[i] = -g[i]
    else:
        for i in range(columns):
            more = exp(-raw[i])
            bar_raw[i] = -(g[i] * (z[i] - shift[i]) + bar_ladj[i]) * sigmoid(-raw[i])
            bar_shift[i] = -g[i] * more
            g[i] += g[i] * more
