/* The direction in which all features are known: layer after layer, whole, and its reverse. */
#ifndef INVFLOW_PARALLEL_H
#define INVFLOW_PARALLEL_H

#include "activations.h"
#include "clip.h"
#include "masked.h"

/* Turn z into x.

   tile: begins with z, in the order in which features are taken; hidden: filled with the tile's
   pre-activations, unless it is null; values: room for the features. */
static void parallel(
    const Network *net, const Transform *of, real *tile, real *hidden, real *values, Rows rows)
{
    copy(values, tile, net->features);
    clip(tile, net->input_bound, net->features * COLUMNS);
    for (int64_t layer = 1; layer <= net->last; layer++) {
        const int64_t width = units(net, layer);
        real *own = row_of(net, tile, layer, 0);
        start(net, of, tile, layer, 0, width, rows);
        for (const Block *block = net->blocks; block < net->blocks + net->matrices; block++)
            if (block->target == layer)
                read_source(net, tile, block, of->weight + block->place);
        if (layer == net->last)
            break;
        if (net->residual && layer > 1)
            add(own, hidden + hidden_row(net, layer - 1, 0) * COLUMNS, width);
        if (hidden)
            copy(hidden + hidden_row(net, layer, 0) * COLUMNS, own, width);
        activate(net->activation, own, width * COLUMNS);
    }
    copy(tile, values, net->features);
    for (int64_t d = 0; d < net->features; d++)
        apply(
            net->map, tile + d * COLUMNS, row_of(net, tile, net->last, d * net->outputs),
            tile + net->bottom * COLUMNS);
}

/* Turn cotangents of x into those of z and of all layers.

   tile: begins with the cotangents of x, ends with those of the log-determinants, and is zero
   elsewhere; z, params, hidden: what there was on the forward pass. */
static void reverse_parallel(
    const Network *net, const Transform *of, real *tile, const real *z, const real *params,
    const real *hidden, real *values)
{
    for (int64_t d = 0; d < net->features; d++)
        pull_apply(
            net->map, tile + d * COLUMNS, z + d * COLUMNS, params + d * net->outputs * COLUMNS,
            row_of(net, tile, net->last, d * net->outputs), tile + net->bottom * COLUMNS);
    copy(values, tile, net->features);
    clear(tile, net->features);
    for (int64_t layer = net->last - 1; layer >= 0; layer--) {
        for (const Block *block = net->blocks; block < net->blocks + net->matrices; block++)
            if (block->source == layer)
                pull_target(net, tile, block, of->weight + block->place);
        if (layer == 0)
            break;
        const int64_t width = units(net, layer);
        real *own = row_of(net, tile, layer, 0);
        pull_activation(
            net->activation, own, hidden + hidden_row(net, layer, 0) * COLUMNS, width * COLUMNS);
        if (net->residual && layer < net->last - 1)
            add(own, row_of(net, tile, layer + 1, 0), width);
    }
    pull_clip(tile, z, net->input_bound, net->features * COLUMNS);
    add(tile, values, net->features);
}

#endif
