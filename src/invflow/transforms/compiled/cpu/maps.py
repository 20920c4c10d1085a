r"""Univariate maps inverted, and the gradients of their inverses, row by row of a tile.

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

from invflow.transforms.compiled.cpu.activations import exp, tanh

#: What the kernels call them.
MAPS = {"additive": 0, "affine": 1, "gated": 2}


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
    if map == 1:
        for i in range(columns):
            s = bound * tanh(np.float64(raw[i]) / bound)
            z[i] = (z[i] - shift[i]) * exp(-s)
            total[i] -= s
    else:
        for i in range(columns):
            mean = np.float64(shift[i])
            z[i] = mean + (z[i] - mean) * (1.0 + exp(-np.float64(raw[i])))
        for i in range(columns):
            s = np.float64(raw[i])
            total[i] += (0.0 if s > 0 else -s) + math.log1p(exp(-abs(s)))


@njit(nogil=True, error_model="numpy")
def pull_solve(map, bound, tile, row, point, first, columns, params, feature, begin, end, ladj):
    """Replace a row of cotangents of z by those of x, and leave those of the parameters.

    Args:
        map: its number in `MAPS`.
        bound: of an affine map's log-scale.
        tile: a tile's memory, flat.
        row: where the row of cotangents begins.
        point: where the row of z begins.
        first: where the row for the first parameter begins; the others follow it.
        columns: of the tile.
        params: the parameters, [features * outputs, batch].
        feature: which it is.
        begin: the first column of the tile.
        end: the column after the last.
        ladj: where the row of cotangents of the log-derivative begins.
    """
    count = end - begin
    g, z = tile[row : row + count], tile[point : point + count]
    bar_ladj = tile[ladj : ladj + count]
    bar_shift = tile[first : first + count]
    if map == 0:
        for i in range(count):
            bar_shift[i] = -g[i]
        return
    shift, raw = params[2 * feature, begin:end], params[2 * feature + 1, begin:end]
    bar_raw = tile[first + columns : first + columns + count]
    if map == 1:
        for i in range(count):
            t = tanh(np.float64(raw[i]) / bound)
            bar_raw[i] = -(g[i] * z[i] + bar_ladj[i]) * (1.0 - t * t)
            g[i] *= exp(-bound * t)
            bar_shift[i] = -g[i]
    else:
        for i in range(count):
            more = exp(-np.float64(raw[i]))
            bar_raw[i] = -(g[i] * (z[i] - shift[i]) + bar_ladj[i]) * (more / (1.0 + more))
            bar_shift[i] = -g[i] * more
            g[i] *= 1.0 + more
