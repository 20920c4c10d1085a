/* The direction in which all features are known, layer after layer, and its reverse. */
#ifndef INVFLOW_PARALLEL_H
#define INVFLOW_PARALLEL_H

#include "activations.h"
#include "clip.h"
#include "masked.h"

/* Turn z into x.

   point: z, in the order in which features are taken; sums: filled with pre-activations and
   parameters; values: memory for what is read of the features and for activations; ladj: the
   log-derivatives are added to it. */
static void parallel(
    const Network *net, const Transform *of, real *point, real *sums, real *values, real *ladj,
    Rows rows)
{
    copy(values, point, net->features);
    clip(values, net->input_bound, net->features * COLUMNS);
    for (int64_t layer = 1; layer <= net->last; layer++) {
        const int64_t width = units(net, layer);
        real *own = sums + computed_row(net, layer, 0) * COLUMNS;
        start(net, of, sums, layer, 0, width, rows);
        for (const Block *block = net->blocks; block < net->blocks + net->matrices; block++)
            if (block->target == layer)
                read_source(net, values, sums, block, of->weight + block->place);
        if (layer == net->last)
            break;
        if (net->residual && layer > 1)
            add(own, sums + computed_row(net, layer - 1, 0) * COLUMNS, width);
        activate(net->activation, own, values + net->tops[layer] * COLUMNS, width * COLUMNS);
    }
    const real *params = sums + computed_row(net, net->last, 0) * COLUMNS;
    for (int64_t d = 0; d < net->features; d++)
        apply(net->map, point + d * COLUMNS, params + d * net->outputs * COLUMNS, ladj);
}

/* Turn cotangents of x into those of z and of all layers.

   bar: cotangents of x, in order; bars: filled with those of pre-activations and parameters; read:
   memory for those of what was read of the features; ladj: those of the log-determinants; z, sums:
   those of the forward pass. */
static void reverse_parallel(
    const Network *net, const Transform *of, real *bar, real *bars, real *read, const real *ladj,
    const real *z, const real *sums)
{
    const int64_t outputs = computed_row(net, net->last, 0);
    for (int64_t d = 0; d < net->features; d++) {
        const int64_t row = (outputs + d * net->outputs) * COLUMNS;
        pull_apply(net->map, bar + d * COLUMNS, z + d * COLUMNS, sums + row, bars + row, ladj);
    }
    clear(bars, outputs);
    clear(read, net->features);
    for (int64_t layer = net->last - 1; layer >= 0; layer--) {
        for (const Block *block = net->blocks; block < net->blocks + net->matrices; block++)
            if (block->source == layer)
                pull_target(net, bars, read, block, of->weight + block->place);
        if (layer == 0)
            break;
        const int64_t width = units(net, layer), row = computed_row(net, layer, 0) * COLUMNS;
        pull_activation(net->activation, bars + row, sums + row, width * COLUMNS);
        if (net->residual && layer < net->last - 1)
            add(bars + row, bars + computed_row(net, layer + 1, 0) * COLUMNS, width);
    }
    pull_clip(read, z, net->input_bound, net->features * COLUMNS);
    add(bar, read, net->features);
}

#endif
