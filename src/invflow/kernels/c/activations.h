/* Activations and their slopes, of rows of a tile. To add one: a number in `Activation`, a case in
   both functions, and its name in kernels/structure.py. */
#ifndef INVFLOW_ACTIVATIONS_H
#define INVFLOW_ACTIVATIONS_H

#include <math.h>

#include "elementary.h"

enum Activation { RELU, LEAKY_RELU, ELU, TANH, SIGMOID, SILU, SOFTPLUS, GELU };

/* Run a statement for each register of some numbers: `x` is what it holds. */
#define EACH(values, count, ...)                        \
    for (int64_t i = 0; i < (count); i += LANES) {      \
        const Vector x = load((values) + i);            \
        __VA_ARGS__;                                    \
    }

/* The probability of a normal number below x. */
static real normal_below(real x)
{
    return (real)(0.5 * erfc(x * -0.70710678118654752));
}

/* Replace pre-activations by activations. */
static void activate(int64_t name, real *values, int64_t count)
{
    switch (name) {
    case RELU:
        EACH(values, count, store(values + i, choose(x < 0, spread(0), x)));
        break;
    case LEAKY_RELU:
        EACH(values, count, store(values + i, choose(x < 0, x * (real)0.01, x)));
        break;
    case ELU:
        EACH(values, count, store(values + i, choose(x < 0, exponential_less_one(x), x)));
        break;
    case TANH:
        EACH(values, count, store(values + i, hyperbolic_tangent(x)));
        break;
    case SIGMOID:
        EACH(values, count, store(values + i, logistic(x)));
        break;
    case SILU:
        EACH(values, count, store(values + i, x * logistic(x)));
        break;
    case SOFTPLUS: /* above 20 as PyTorch: the straight line */
        EACH(values, count, store(values + i, choose(x > 20, x, softplus(x))));
        break;
    case GELU:
        for (int64_t i = 0; i < count; i++)
            values[i] *= normal_below(values[i]);
    }
}

/* Multiply cotangents by the activation's slope at the pre-activations. */
static void pull_activation(int64_t name, real *cotangents, const real *before, int64_t count)
{
#define SLOPE(slope) EACH(before, count, store(cotangents + i, load(cotangents + i) * (slope)))
    switch (name) {
    case RELU:
        EACH(before, count, store(cotangents + i, choose(x > 0, load(cotangents + i), spread(0))));
        break;
    case LEAKY_RELU:
        SLOPE(choose(x > 0, spread(1), spread((real)0.01)));
        break;
    case ELU:
        SLOPE(choose(x > 0, spread(1), exponential(x)));
        break;
    case TANH:
        EACH(before, count, {
            const Vector t = hyperbolic_tangent(x), bar = load(cotangents + i);
            store(cotangents + i, bar - bar * (t * t));
        });
        break;
    case SIGMOID:
        EACH(before, count, {
            const Vector gate = logistic(x);
            store(cotangents + i, load(cotangents + i) * (gate - gate * gate));
        });
        break;
    case SILU:
        SLOPE(logistic(x) + logistic(x) * x * logistic(-x));
        break;
    case SOFTPLUS:
        SLOPE(logistic(x));
        break;
    case GELU:
        EACH(before, count, {
            const Vector density = exponential(x * x * (real)-0.5) * (real)0.39894228040143268;
            Vector below;
            for (int lane = 0; lane < LANES; lane++)
                below[lane] = normal_below(x[lane]);
            store(cotangents + i, load(cotangents + i) * (below + x * density));
        });
    }
#undef SLOPE
}

#endif
