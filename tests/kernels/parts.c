/* The parts of the kernels one by one, for their tests: compiled as `variant.c` is. */
#include "activations.h"
#include "clip.h"
#include "maps.h"
#include "product.h"
#include "transpose.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int64_t parts_columns(void)
{
    return COLUMNS;
}

EXPORT int64_t parts_lanes(void)
{
    return LANES;
}

#define ELEMENTARY(name)                                                 \
    EXPORT void parts_##name(const real *from, real *to, int64_t count)  \
    {                                                                    \
        for (int64_t i = 0; i < count; i += LANES)                       \
            store(to + i, name(load(from + i)));                         \
    }

ELEMENTARY(exponential)
ELEMENTARY(exponential_less_one)
ELEMENTARY(hyperbolic_tangent)
ELEMENTARY(logistic)
ELEMENTARY(log_of_one_and)
ELEMENTARY(logarithm)
ELEMENTARY(square_root)
ELEMENTARY(softplus)

EXPORT void parts_activate(int64_t name, const real *before, real *values, int64_t count)
{
    activate(name, before, values, count);
}

EXPORT void parts_pull_activation(
    int64_t name, real *cotangents, const real *before, int64_t count)
{
    pull_activation(name, cotangents, before, count);
}

EXPORT void parts_clip(real *values, double input_bound, int64_t count)
{
    clip(values, input_bound, count);
}

EXPORT void parts_pull_clip(
    real *cotangents, const real *features, double input_bound, int64_t count)
{
    pull_clip(cotangents, features, input_bound, count);
}

/* A map, of numbers in the order of `Map` in kernels/structure.py. */
static Univariate univariate(
    int64_t map, double bound, double low, double high, double smallest_bin, int64_t parameters)
{
    const Spline spline = {
        (parameters + 1) / 3, (real)low, (real)high, (real)(low / 2 + high / 2),
        (real)(high / 2 - low / 2), (real)smallest_bin, (real)bound,
    };
    return (Univariate){map, (real)bound, spline};
}

#define FORWARD(name)                                                                           \
    EXPORT void parts_##name(                                                                   \
        int64_t map, double bound, double low, double high, double smallest_bin,                \
        int64_t parameters, real *row, const real *params, real *ladj)                          \
    {                                                                                           \
        name(univariate(map, bound, low, high, smallest_bin, parameters), row, params, ladj);   \
    }

FORWARD(apply)
FORWARD(solve)

#define BACKWARD(name)                                                                          \
    EXPORT void parts_##name(                                                                   \
        int64_t map, double bound, double low, double high, double smallest_bin,                \
        int64_t parameters, real *row, const real *z, const real *params, real *bar_params,     \
        const real *bar_ladj)                                                                   \
    {                                                                                           \
        name(                                                                                   \
            univariate(map, bound, low, high, smallest_bin, parameters), row, z, params,        \
            bar_params, bar_ladj);                                                              \
    }

BACKWARD(pull_apply)
BACKWARD(pull_solve)

EXPORT void parts_accumulate(
    real *out, int64_t rows, const real *weights, int64_t across, int64_t along,
    const real *values, int64_t count)
{
    accumulate(out, rows, weights, across, along, values, count);
}

EXPORT void parts_accumulate_columns(
    real *out, int64_t rows, const real *weights, int64_t across, int64_t along,
    const real *values, int64_t count, int64_t parts, int64_t next_weights, int64_t next_values,
    int64_t left, int64_t right)
{
    const Product of = {
        weights, across, along, values, count, parts, next_weights, next_values,
    };
    if (rows == GROUP)
        accumulate_group(out, of, left, right);
    else
        accumulate_columns(out, rows, of, left, right);
}

EXPORT void parts_total(const real *row, real *sum)
{
    *sum = total(row);
}

EXPORT void parts_transpose(
    const real *from, int64_t across, int64_t rows, int64_t columns, real *to, int64_t across_to)
{
    transpose(from, across, rows, columns, to, across_to);
}
