/* Activations and their slopes, of rows of a tile. To add one: kernels/README.md. */
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

/* The probabilities of a normal number below x. */
INLINE Vector normal_below(Vector x)
{
    for (int lane = 0; lane < LANES; lane++)
        x[lane] = (real)(0.5 * erfc(x[lane] * -0.70710678118654752));
    return x;
}

/* Write the activations of pre-activations; both may be the same memory. */
static void activate(int64_t name, const real *before, real *values, int64_t count)
{
#define VALUE(value) EACH(before, count, store(values + i, value))
    switch (name) {
    case RELU:
        VALUE(choose(x < 0, spread(0), x));
        break;
    case LEAKY_RELU:
        VALUE(choose(x < 0, x * (real)0.01, x));
        break;
    case ELU:
        VALUE(choose(x < 0, exponential_less_one(x), x));
        break;
    case TANH:
        VALUE(hyperbolic_tangent(x));
        break;
    case SIGMOID:
        VALUE(logistic(x));
        break;
    case SILU:
        VALUE(x / (1 + exponential(-x))); /* not x times a logistic, whose least value is not 0 */
        break;
    case SOFTPLUS: /* above 20 as PyTorch: the straight line */
        VALUE(choose(x > 20, x, softplus(x)));
        break;
    case GELU:
        VALUE(x * normal_below(x));
    }
#undef VALUE
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
        EACH(before, count, {
            const Vector gate = 1 / (1 + exponential(-x)), rest = 1 / (1 + exponential(x));
            store(cotangents + i, load(cotangents + i) * (gate + gate * x * rest));
        });
        break;
    case SOFTPLUS:
        SLOPE(logistic(x));
        break;
    case GELU:
        SLOPE(normal_below(x) + x * exponential(x * x * (real)-0.5) * (real)0.39894228040143268);
    }
#undef SLOPE
}

#endif
