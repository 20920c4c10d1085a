/* Products with masked matrices, and with their transposes, of whole layers.

   A matrix says how one layer, the target, reads another, the source. Units are sorted by degree,
   so that a unit of the target sees a prefix of the source, and a unit of the source is seen by a
   suffix of the target: the rest is left out, and weights that lie there are never read. */
#ifndef INVFLOW_MASKED_H
#define INVFLOW_MASKED_H

#include "product.h"
#include "tile.h"

INLINE int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

INLINE int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How many units of a layer, of `left` from this one on, to take in one product.

   What only some units of a group see takes an extra product for each of these. So units of one
   degree are grouped among themselves, as evenly as possible, if there are at least four. */
static int64_t together(const Network *net, int64_t layer, int64_t unit, int64_t left)
{
    const int64_t own = degree(net, layer, unit);
    int64_t same = 1;
    while (same < left && same < 2 * GROUP && degree(net, layer, unit + same) == own)
        same++;
    if (same < 4)
        return smaller(GROUP, left);
    if (WIDE == 4 && same > GROUP) /* four rows by WIDE registers keep it busy */
        return smaller(GROUP, (same + 1) / 2);
    return smaller(GROUP, same);
}

/* Add to the sums of a block's target what they read of its source.

   values: of all layers but the last; sums: of all that is computed. */
static void read_source(
    const Network *net, const real *values, real *sums, const Block *block, const real *weights)
{
    const int64_t target = block->target, source = block->source;
    const int64_t rows = units(net, target), length = units(net, source);
    const real *read = values + net->tops[source] * COLUMNS;
    real *own = sums + computed_row(net, target, 0) * COLUMNS;
    for (int64_t begin = 0; begin < length; begin += DEPTH)
        for (int64_t first = 0, count; first < rows; first += count) {
            count = together(net, target, first, rows - first);
            const int64_t shared = seen(net, source, degree(net, target, first));
            if (shared > begin)
                accumulate_rows(
                    own + first * COLUMNS, count, weights + first * length + begin, length, 1,
                    read + begin * COLUMNS, smaller(DEPTH, shared - begin));
            if (begin > 0)
                continue;
            for (int64_t unit = first + 1; unit < first + count; unit++) {
                const int64_t more = seen(net, source, degree(net, target, unit)) - shared;
                if (more > 0)
                    accumulate(
                        own + unit * COLUMNS, 1, weights + unit * length + shared, length, 1,
                        read + shared * COLUMNS, more);
            }
        }
}

/* Add to the cotangents of a block's source what comes from those of its target.

   bars: of all that is computed; read: of what was read of the features. */
static void pull_target(
    const Network *net, real *bars, real *read, const Block *block, const real *weights)
{
    const int64_t target = block->target, source = block->source;
    const int64_t rows = units(net, source), length = units(net, target);
    const real *from = bars + computed_row(net, target, 0) * COLUMNS;
    real *own = source == 0 ? read : bars + computed_row(net, source, 0) * COLUMNS;
    for (int64_t begin = 0; begin < length; begin += DEPTH)
        for (int64_t first = 0, count; first < rows; first += count) {
            const int64_t end = smaller(begin + DEPTH, length);
            count = together(net, source, first, rows - first);
            const int64_t shared = known(net, target, degree(net, source, first + count - 1));
            const int64_t low = larger(shared, begin);
            if (low < end)
                accumulate_rows(
                    own + first * COLUMNS, count, weights + low * rows + first, 1, rows,
                    from + low * COLUMNS, end - low);
            if (begin > 0)
                continue;
            for (int64_t unit = first; unit < first + count - 1; unit++) {
                const int64_t reached = known(net, target, degree(net, source, unit));
                if (reached < shared)
                    accumulate(
                        own + unit * COLUMNS, 1, weights + reached * rows + unit, 1, rows,
                        from + reached * COLUMNS, shared - reached);
            }
        }
}

#endif
