/* What goes into a tile, and what comes out of it. */
#ifndef INVFLOW_TILE_H
#define INVFLOW_TILE_H

#include "network.h"

/* Fill rows, one for each feature of an order, from rows of the batch, the rest with zeros. */
static void gather(
    real *tile, const real *values, const int64_t *order, int64_t first, int64_t count,
    int64_t features, Rows rows)
{
    const real *part = values + rows.begin * features;
    for (int64_t d = 0; d < count; d++) {
        const int64_t feature = order ? order[first + d] : first + d;
        real *row = tile + d * COLUMNS;
        for (int64_t c = 0; c < rows.count; c++)
            row[c] = part[c * features + feature];
        for (int64_t c = rows.count; c < COLUMNS; c++)
            row[c] = 0;
    }
}

/* Write rows to rows of the batch. */
static void scatter(
    const real *tile, real *values, const int64_t *order, int64_t features, Rows rows)
{
    real *part = values + rows.begin * features;
    for (int64_t d = 0; d < features; d++) {
        const int64_t feature = order ? order[d] : d;
        for (int64_t c = 0; c < rows.count; c++)
            part[c * features + feature] = tile[d * COLUMNS + c];
    }
}

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
    for (int64_t i = 0; i < rows * COLUMNS; i += LANES)
        store(to + i, load(to + i) + load(from + i));
}

/* Set the columns to zero that stand for nothing. */
static void clear_beyond(real *tile, int64_t rows, int64_t count)
{
    for (int64_t row = 0; row < rows; row++)
        for (int64_t c = count; c < COLUMNS; c++)
            tile[row * COLUMNS + c] = 0;
}

/* Let units low .. high - 1 of a layer start from their biases, and from what a context adds. */
static void start(
    const Network *net, const Transform *of, real *tile, int64_t layer, int64_t low, int64_t high,
    Rows rows)
{
    const real *bias = of->bias + hidden_row(net, layer, 0);
    const real *offset = layer == 1 ? of->offset : 0;
    const int64_t width = units(net, layer);
    for (int64_t unit = low; unit < high; unit++) {
        real *row = row_of(net, tile, layer, unit);
        for (int c = 0; c < COLUMNS; c += LANES)
            store(row + c, spread(bias[unit]));
        if (offset)
            for (int64_t c = 0; c < rows.count; c++)
                row[c] += offset[(rows.begin + c) * width + unit];
    }
}

#endif
