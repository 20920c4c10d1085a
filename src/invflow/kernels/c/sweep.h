/* The direction in which one feature after another becomes known, and its reverse.

   Both walk through panels of features. At a panel's start one large product brings in all that is
   known from before the panel; within it, the few units that belong to each feature are added when
   they become computable. See conditioners/sweep.py for the idea. */
#ifndef INVFLOW_SWEEP_H
#define INVFLOW_SWEEP_H

#include "activations.h"
#include "clip.h"
#include "masked.h"

/* Turn x into z, one feature after another, from activations that are computed once: arguments as
   in `parallel`. */
static void sweep(
    const Network *net, const Transform *of, real *tile, real *hidden, real *values, Rows rows)
{
    const Block *const blocks = net->blocks, *const end = blocks + net->matrices;
    for (int64_t first = 0; first < net->features; first += net->panel) {
        const int64_t beyond = smaller(first + net->panel, net->features);
        for (int64_t layer = 1; layer <= net->last; layer++) {
            const int64_t low = known(net, layer, first), high = known(net, layer, beyond);
            start(net, of, tile, layer, low, high, rows);
            for (const Block *block = blocks; block < end; block++)
                if (block->target == layer) {
                    const int64_t length = units(net, block->source);
                    accumulate(
                        row_of(net, tile, layer, low), high - low,
                        of->weight + block->place + low * length, length, 1,
                        row_of(net, tile, block->source, 0), known(net, block->source, first));
                }
        }
        for (int64_t d = first; d < beyond; d++) {
            for (int64_t layer = 1; layer <= net->last; layer++) {
                const int64_t low = known(net, layer, d), high = known(net, layer, d + 1);
                if (low == high)
                    continue;
                real *own = row_of(net, tile, layer, low);
                for (const Block *block = blocks; block < end; block++)
                    if (block->target == layer) {
                        const int64_t source = block->source, length = units(net, source);
                        const int64_t inside = known(net, source, first);
                        accumulate(
                            own, high - low, of->weight + block->place + low * length + inside,
                            length, 1, row_of(net, tile, source, inside),
                            seen(net, source, d) - inside);
                    }
                if (layer == net->last)
                    continue;
                if (net->residual && layer > 1)
                    add(own, hidden + hidden_row(net, layer - 1, low) * COLUMNS, high - low);
                if (hidden)
                    copy(hidden + hidden_row(net, layer, low) * COLUMNS, own, high - low);
                activate(net->activation, own, (high - low) * COLUMNS);
            }
            real *feature = tile + d * COLUMNS;
            solve(
                net->map, feature, row_of(net, tile, net->last, d * net->outputs),
                tile + net->bottom * COLUMNS);
            copy(values + d * COLUMNS, feature, 1);
            clip(feature, net->input_bound, COLUMNS);
        }
    }
    copy(tile, values, net->features);
}

/* Turn cotangents of z into those of x and of all layers, the last feature first: arguments as in
   `reverse_parallel`. */
static void reverse_sweep(
    const Network *net, const Transform *of, real *tile, const real *z, const real *params,
    const real *hidden, real *values)
{
    const Block *const blocks = net->blocks, *const end = blocks + net->matrices;
    copy(values, tile, net->features);
    clear(tile, net->features); /* from here on of what was read of z, until it is complete */
    for (int64_t first = (net->features - 1) / net->panel * net->panel; first >= 0;
         first -= net->panel) {
        const int64_t beyond = smaller(first + net->panel, net->features);
        for (int64_t layer = 0; layer < net->last; layer++) {
            const int64_t low = known(net, layer, first), high = known(net, layer, beyond);
            for (const Block *block = blocks; block < end; block++)
                if (block->source == layer) {
                    const int64_t rows = units(net, layer), length = units(net, block->target);
                    const int64_t outside = known(net, block->target, beyond);
                    accumulate(
                        row_of(net, tile, layer, low), high - low,
                        of->weight + block->place + outside * rows + low, 1, rows,
                        row_of(net, tile, block->target, outside), length - outside);
                }
        }
        for (int64_t d = beyond - 1; d >= first; d--) {
            real *feature = tile + d * COLUMNS;
            for (const Block *block = blocks; block < end; block++)
                if (block->source == 0) {
                    const int64_t later = known(net, block->target, d + 1);
                    accumulate(
                        feature, 1, of->weight + block->place + later * net->features + d, 1,
                        net->features, row_of(net, tile, block->target, later),
                        known(net, block->target, beyond) - later);
                }
            pull_clip(feature, z + d * COLUMNS, net->input_bound, COLUMNS);
            add(feature, values + d * COLUMNS, 1);
            pull_solve(
                net->map, feature, z + d * COLUMNS, params + d * net->outputs * COLUMNS,
                row_of(net, tile, net->last, d * net->outputs), tile + net->bottom * COLUMNS);
            for (int64_t layer = net->last - 1; layer > 0; layer--) {
                const int64_t low = known(net, layer, d), high = known(net, layer, d + 1);
                if (low == high)
                    continue;
                real *own = row_of(net, tile, layer, low);
                for (const Block *block = blocks; block < end; block++)
                    if (block->source == layer) {
                        const int64_t rows = units(net, layer);
                        const int64_t reached = known(net, block->target, d);
                        accumulate(
                            own, high - low, of->weight + block->place + reached * rows + low, 1,
                            rows, row_of(net, tile, block->target, reached),
                            known(net, block->target, beyond) - reached);
                    }
                pull_activation(
                    net->activation, own, hidden + hidden_row(net, layer, low) * COLUMNS,
                    (high - low) * COLUMNS);
                if (net->residual && layer < net->last - 1)
                    add(own, row_of(net, tile, layer + 1, low), high - low);
            }
        }
    }
}

#endif
