/* What a conditioner reads of features, and the slope of that: see conditioners/soft_clip.py.

   Most registers hold no number beyond the knee, and are left as they are. */
#ifndef INVFLOW_CLIP_H
#define INVFLOW_CLIP_H

#include <math.h>

#include "elementary.h"

/* Replace features by what is read of them. */
static void clip(real *values, double input_bound, int64_t count)
{
    if (input_bound == HUGE_VAL)
        return;
    const real knee = (real)(0.5 * input_bound);
    for (int64_t i = 0; i < count; i += LANES) {
        const Vector x = load(values + i), size = magnitude(x);
        const Mask near = size <= knee;
        if (!any(~near))
            continue;
        const Vector read = hyperbolic_tangent((size - knee) / knee) * knee + knee;
        store(values + i, choose(near, x, choose(x < 0, -read, read)));
    }
}

/* Multiply cotangents of what is read of features by its slope there. */
static void pull_clip(real *cotangents, const real *features, double input_bound, int64_t count)
{
    if (input_bound == HUGE_VAL)
        return;
    const real knee = (real)(0.5 * input_bound);
    for (int64_t i = 0; i < count; i += LANES) {
        const Vector size = magnitude(load(features + i)), bar = load(cotangents + i);
        const Mask near = size <= knee;
        if (!any(~near))
            continue;
        const Vector t = hyperbolic_tangent((size - knee) / knee);
        store(cotangents + i, choose(near, bar, bar - bar * (t * t)));
    }
}

#endif
