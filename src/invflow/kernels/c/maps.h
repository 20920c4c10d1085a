/* Univariate maps, their inverses, and the gradients of both, of one feature in a tile.

   For x = u(z; p) and its log-derivative l, with cotangents g of x and h of l:

   affine, s = b tanh(r / b): x = m + e^s z, l = s;
   z' = g e^s, m' = g, r' = (g e^s z + h) (1 - tanh(r / b)^2).

   gated, gate q = sigmoid(s): x = q z + (1 - q) m, l = log q;
   z' = g q, m' = g (1 - q), s' = (g q (z - m) + h) (1 - q).

   For z = u^-1(x; p) and its log-derivative, with cotangents g of z and h of it:

   affine: z = (x - m) e^-s, l = -s;
   x' = g e^-s, m' = -x', r' = -(g z + h) (1 - tanh(r / b)^2).

   gated: z = x + (x - m) e^-s, l = -log q;
   x' = g (1 + e^-s), m' = -g e^-s, s' = -(g (z - m) + h) (1 - q).

   The spline is in spline.h.

   To add a map: kernels/README.md. The first parameter's row is followed by those of the others. */
#ifndef INVFLOW_MAPS_H
#define INVFLOW_MAPS_H

#include "spline.h"

enum Map { ADDITIVE, AFFINE, GATED, SPLINE };

/* Which map, the bound of an affine one's log-scale, and what a spline is like. */
typedef struct {
    int64_t name;
    real bound;
    Spline spline;
} Univariate;

/* Replace a row of z by x, and add its log-derivatives to `ladj`. */
static void apply(Univariate map, real *row, const real *params, real *ladj)
{
    const real *shift = params, *raw = params + COLUMNS;
    switch (map.name) {
    case ADDITIVE:
        EACH_STRIP store(row + c, load(row + c) + load(shift + c));
        break;
    case AFFINE:
        EACH_STRIP {
            const Vector s = map.bound * hyperbolic_tangent(load(raw + c) / map.bound);
            store(row + c, load(row + c) * exponential(s) + load(shift + c));
            store(ladj + c, load(ladj + c) + s);
        }
        break;
    case GATED:
        EACH_STRIP {
            const Vector s = load(raw + c);
            store(row + c, logistic(s) * load(row + c) + logistic(-s) * load(shift + c));
            store(ladj + c, load(ladj + c) - softplus(-s));
        }
        break;
    case SPLINE:
        EACH_STRIP apply_spline(&map.spline, row + c, params + c, ladj + c);
    }
}

/* Replace a row of cotangents of x by those of z, and write those of the parameters. */
static void pull_apply(
    Univariate map, real *row, const real *z, const real *params, real *bar_params,
    const real *bar_ladj)
{
    const real *shift = params, *raw = params + COLUMNS;
    real *bar_shift = bar_params, *bar_raw = bar_params + COLUMNS;
    switch (map.name) {
    case ADDITIVE:
        memcpy(bar_shift, row, ROW);
        break;
    case AFFINE:
        EACH_STRIP {
            const Vector t = hyperbolic_tangent(load(raw + c) / map.bound), g = load(row + c);
            const Vector bar = g * exponential(map.bound * t);
            const Vector slope = bar * load(z + c) + load(bar_ladj + c);
            store(bar_shift + c, g);
            store(row + c, bar);
            store(bar_raw + c, slope - slope * (t * t));
        }
        break;
    case GATED:
        EACH_STRIP {
            const Vector gate = logistic(load(raw + c)), rest = logistic(-load(raw + c));
            const Vector g = load(row + c), bar = g * gate;
            store(bar_shift + c, g * rest);
            store(row + c, bar);
            store(bar_raw + c, (bar * (load(z + c) - load(shift + c)) + load(bar_ladj + c)) * rest);
        }
        break;
    case SPLINE:
        EACH_STRIP pull_apply_spline(
            &map.spline, row + c, z + c, params + c, bar_params + c, bar_ladj + c);
    }
}

/* Replace a row of x by z, and add its log-derivatives to `ladj`. */
static void solve(Univariate map, real *row, const real *params, real *ladj)
{
    const real *shift = params, *raw = params + COLUMNS;
    switch (map.name) {
    case ADDITIVE:
        EACH_STRIP store(row + c, load(row + c) - load(shift + c));
        break;
    case AFFINE:
        EACH_STRIP {
            const Vector s = map.bound * hyperbolic_tangent(load(raw + c) / map.bound);
            store(row + c, (load(row + c) - load(shift + c)) * exponential(-s));
            store(ladj + c, load(ladj + c) - s);
        }
        break;
    case GATED:
        EACH_STRIP {
            const Vector x = load(row + c), s = load(raw + c);
            store(row + c, x + (x - load(shift + c)) * exponential(-s));
            store(ladj + c, load(ladj + c) + softplus(-s));
        }
        break;
    case SPLINE:
        EACH_STRIP solve_spline(&map.spline, row + c, params + c, ladj + c);
    }
}

/* Replace a row of cotangents of z by those of x, and write those of the parameters. */
static void pull_solve(
    Univariate map, real *row, const real *z, const real *params, real *bar_params,
    const real *bar_ladj)
{
    const real *shift = params, *raw = params + COLUMNS;
    real *bar_shift = bar_params, *bar_raw = bar_params + COLUMNS;
    switch (map.name) {
    case ADDITIVE:
        EACH_STRIP store(bar_shift + c, -load(row + c));
        break;
    case AFFINE:
        EACH_STRIP {
            const Vector t = hyperbolic_tangent(load(raw + c) / map.bound), g = load(row + c);
            const Vector slope = g * load(z + c) + load(bar_ladj + c);
            const Vector bar = g * exponential(-map.bound * t);
            store(bar_raw + c, slope * (t * t) - slope);
            store(row + c, bar);
            store(bar_shift + c, -bar);
        }
        break;
    case GATED:
        EACH_STRIP {
            const Vector s = load(raw + c), g = load(row + c), more = g * exponential(-s);
            const Vector slope = g * (load(z + c) - load(shift + c)) + load(bar_ladj + c);
            store(bar_raw + c, -slope * logistic(-s));
            store(bar_shift + c, -more);
            store(row + c, g + more);
        }
        break;
    case SPLINE:
        EACH_STRIP pull_solve_spline(
            &map.spline, row + c, z + c, params + c, bar_params + c, bar_ladj + c);
    }
}

#endif
