/* What goes into a tile, and what comes out of it. */
#ifndef INVFLOW_TILE_H
#define INVFLOW_TILE_H

#include "network.h"
#include "transpose.h"

INLINE void copy(real *to, const real *from, int64_t rows)
{
    memcpy(to, from, (size_t)rows * ROW);
}

INLINE void clear(real *to, int64_t rows)
{
    memset(to, 0, (size_t)rows * ROW);
}

INLINE void add(real *to, const real *from, int64_t rows)
{
    add_numbers(to, from, rows * COLUMNS);
}

/* Set to zero the columns beyond `count`, which hold no element of the batch. */
static void clear_beyond(real *tile, int64_t rows, int64_t count)
{
    for (int64_t row = 0; row < rows && count < COLUMNS; row++)
        memset(tile + row * COLUMNS + count, 0, (size_t)(COLUMNS - count) * sizeof(real));
}

/* Fill a tile from rows of the batch, [batch, features]. */
static void enter(real *tile, const real *batch, int64_t features, Rows rows)
{
    transpose(batch + rows.begin * features, features, rows.count, features, tile, COLUMNS);
    clear_beyond(tile, features, rows.count);
}

/* Write a tile to rows of the batch. */
static void leave(const real *tile, real *batch, int64_t features, Rows rows)
{
    transpose(tile, COLUMNS, features, rows.count, batch + rows.begin * features, features);
}

/* Copy features from the order of the batch to an order of their own, from its place `first` on. */
static void arrange(
    real *to, const real *from, const int64_t *order, int64_t first, int64_t count)
{
    for (int64_t d = 0; d < count; d++)
        copy(to + d * COLUMNS, from + (order ? order[first + d] : first + d) * COLUMNS, 1);
}

/* Copy features from an order of their own back to that of the batch. */
static void rearrange(real *to, const real *from, const int64_t *order, int64_t features)
{
    for (int64_t d = 0; d < features; d++)
        copy(to + (order ? order[d] : d) * COLUMNS, from + d * COLUMNS, 1);
}

/* Set the sums of units low .. high - 1 of a layer to their biases and to what a context adds. */
static void start(
    const Network *net, const Transform *of, real *sums, int64_t layer, int64_t low, int64_t high,
    Rows rows)
{
    const real *bias = of->bias + computed_row(net, layer, 0);
    real *own = sums + computed_row(net, layer, low) * COLUMNS;
    const int varying = layer == 1 && of->offset;
    if (varying) {
        const int64_t width = units(net, 1);
        const real *offset = of->offset + rows.begin * width + low;
        transpose(offset, width, rows.count, high - low, own, COLUMNS);
        clear_beyond(own, high - low, rows.count);
    }
    for (int64_t unit = low; unit < high; unit++, own += COLUMNS)
        for (int c = 0; c < COLUMNS; c += LANES) {
            Vector from = spread(bias[unit]);
            if (varying)
                from += load(own + c);
            store(own + c, from);
        }
}

#endif
