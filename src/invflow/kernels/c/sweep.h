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
    const Network *net, const Transform *of, real *point, real *sums, real *values, real *ladj,
    Rows rows)
{
    const Block *const blocks = net->blocks, *const end = blocks + net->matrices;
    for (int64_t first = 0; first < net->features; first += net->panel) {
        const int64_t beyond = smaller(first + net->panel, net->features);
        for (int64_t layer = 1; layer <= net->last; layer++) {
            const int64_t low = known(net, layer, first), high = known(net, layer, beyond);
            start(net, of, sums, layer, low, high, rows);
            for (const Block *block = blocks; block < end; block++)
                if (block->target == layer) {
                    const int64_t source = block->source, length = units(net, source);
                    accumulate(
                        sums + computed_row(net, layer, low) * COLUMNS, high - low,
                        of->weight + block->place + low * length, length, 1,
                        values + net->tops[source] * COLUMNS, known(net, source, first));
                }
        }
        for (int64_t d = first; d < beyond; d++) {
            for (int64_t layer = 1; layer <= net->last; layer++) {
                const int64_t low = known(net, layer, d), count = known(net, layer, d + 1) - low;
                if (count == 0)
                    continue;
                real *own = sums + computed_row(net, layer, low) * COLUMNS;
                for (const Block *block = blocks; block < end; block++)
                    if (block->target == layer) {
                        const int64_t source = block->source, length = units(net, source);
                        const int64_t inside = known(net, source, first);
                        accumulate(
                            own, count, of->weight + block->place + low * length + inside, length,
                            1, values + (net->tops[source] + inside) * COLUMNS,
                            seen(net, source, d) - inside);
                    }
                if (layer == net->last)
                    continue;
                if (net->residual && layer > 1)
                    add(own, sums + computed_row(net, layer - 1, low) * COLUMNS, count);
                activate(
                    net->activation, own, values + (net->tops[layer] + low) * COLUMNS,
                    count * COLUMNS);
            }
            real *feature = point + d * COLUMNS, *read = values + d * COLUMNS;
            const real *params = sums + computed_row(net, net->last, d * net->outputs) * COLUMNS;
            solve(net->map, feature, params, ladj);
            copy(read, feature, 1);
            clip(read, net->input_bound, COLUMNS);
        }
    }
}

/* Turn cotangents of z into those of x and of all layers, the last feature first: arguments as in
   `reverse_parallel`. */
static void reverse_sweep(
    const Network *net, const Transform *of, real *bar, real *bars, real *read, const real *ladj,
    const real *z, const real *sums)
{
    const Block *const blocks = net->blocks, *const end = blocks + net->matrices;
    const int64_t outputs = computed_row(net, net->last, 0);
    clear(bars, outputs);
    clear(read, net->features);
    for (int64_t first = (net->features - 1) / net->panel * net->panel; first >= 0;
         first -= net->panel) {
        const int64_t beyond = smaller(first + net->panel, net->features);
        for (int64_t layer = 0; layer < net->last; layer++) {
            const int64_t low = known(net, layer, first), high = known(net, layer, beyond);
            real *own = layer == 0 ? read : bars + computed_row(net, layer, 0) * COLUMNS;
            for (const Block *block = blocks; block < end; block++)
                if (block->source == layer) {
                    const int64_t rows = units(net, layer), length = units(net, block->target);
                    const int64_t outside = known(net, block->target, beyond);
                    accumulate(
                        own + low * COLUMNS, high - low,
                        of->weight + block->place + outside * rows + low, 1, rows,
                        bars + computed_row(net, block->target, outside) * COLUMNS,
                        length - outside);
                }
        }
        for (int64_t d = beyond - 1; d >= first; d--) {
            real *feature = bar + d * COLUMNS, *own = read + d * COLUMNS;
            for (const Block *block = blocks; block < end; block++)
                if (block->source == 0) {
                    const int64_t later = known(net, block->target, d + 1);
                    accumulate(
                        own, 1, of->weight + block->place + later * net->features + d, 1,
                        net->features, bars + computed_row(net, block->target, later) * COLUMNS,
                        known(net, block->target, beyond) - later);
                }
            pull_clip(own, z + d * COLUMNS, net->input_bound, COLUMNS);
            add(feature, own, 1);
            const int64_t row = (outputs + d * net->outputs) * COLUMNS;
            pull_solve(net->map, feature, z + d * COLUMNS, sums + row, bars + row, ladj);
            for (int64_t layer = net->last - 1; layer > 0; layer--) {
                const int64_t low = known(net, layer, d), count = known(net, layer, d + 1) - low;
                if (count == 0)
                    continue;
                const int64_t at = computed_row(net, layer, low) * COLUMNS;
                for (const Block *block = blocks; block < end; block++)
                    if (block->source == layer) {
                        const int64_t rows = units(net, layer);
                        const int64_t reached = known(net, block->target, d);
                        accumulate(
                            bars + at, count, of->weight + block->place + reached * rows + low, 1,
                            rows, bars + computed_row(net, block->target, reached) * COLUMNS,
                            known(net, block->target, beyond) - reached);
                    }
                pull_activation(net->activation, bars + at, sums + at, count * COLUMNS);
                if (net->residual && layer < net->last - 1)
                    add(bars + at, bars + computed_row(net, layer + 1, low) * COLUMNS, count);
            }
        }
    }
}

#endif
