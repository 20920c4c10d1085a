/* The one product of matrices that everything is made of.

   Rows of a tile are added to in groups, up to six rows by WIDE registers: a group's sums stay in
   registers while the product runs over the rows read, so that each number loaded from the tile
   serves all rows of the group, and each weight all registers. Matrices are read where they lie in
   memory, as they are or transposed. */
#ifndef INVFLOW_PRODUCT_H
#define INVFLOW_PRODUCT_H

#include "vector.h"

enum {
    GROUP = 6,  /* rows in a group */
    DEPTH = 128 /* rows read at a time, so that they stay in the nearest cache */
};

/* Registers across a group: where rows are few, more of them, as each sum waits for the one of the
   row before. */
#define ACROSS(rows) (WIDE * ((rows) < 4 ? 4 / (rows) : 1) < STRIPS ? WIDE * ((rows) < 4 ? 4 / (rows) : 1) : STRIPS)

INLINE void group(
    const int rows, const int across_group, real *out, const real *weights, int64_t across,
    int64_t along, const real *values, int64_t count)
{
    Vector sums[GROUP][STRIPS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < across_group; v++)
            sums[i][v] = load(out + i * COLUMNS + v * LANES);
    for (int64_t k = 0; k < count; k++) {
        Vector read[STRIPS];
#pragma GCC unroll 8
        for (int v = 0; v < across_group; v++)
            read[v] = load(values + k * COLUMNS + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            const Vector weight = spread(weights[i * across + k * along]);
#pragma GCC unroll 8
            for (int v = 0; v < across_group; v++)
                sums[i][v] += weight * read[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int v = 0; v < across_group; v++)
            store(out + i * COLUMNS + v * LANES, sums[i][v]);
}

#define STRIP(rows)                                                                     \
    for (int c = 0; c < COLUMNS; c += ACROSS(rows) * LANES)                             \
        group(rows, ACROSS(rows), out + c, weights, across, along, values + c, count)

/* Add a product to rows of a tile: out[i] += sum_k weights[i * across + k * along] values[k]. */
static void accumulate(
    real *out, int64_t rows, const real *weights, int64_t across, int64_t along,
    const real *values, int64_t total)
{
    for (int64_t begin = 0; begin < total; begin += DEPTH) {
        const int64_t count = total - begin < DEPTH ? total - begin : DEPTH;
        real *const first = out;
        const real *const top = weights;
        int64_t left = rows;
        for (; left >= GROUP; left -= GROUP, out += GROUP * COLUMNS, weights += GROUP * across)
            STRIP(GROUP);
        if (left & 4) {
            STRIP(4);
            out += 4 * COLUMNS, weights += 4 * across;
        }
        if (left & 2) {
            STRIP(2);
            out += 2 * COLUMNS, weights += 2 * across;
        }
        if (left & 1)
            STRIP(1);
        out = first, weights = top + count * along, values += count * COLUMNS;
    }
}

/* Add a product to a whole group of rows, from column `left` to `right` at least; at most DEPTH
   rows are read. */
static void accumulate_group(
    real *out, const real *weights, int64_t across, int64_t along, const real *values,
    int64_t count, int64_t left, int64_t right)
{
    const int64_t wide = WIDE * LANES;
    for (int64_t c = left / wide * wide; c < right; c += wide)
        group(GROUP, WIDE, out + c, weights, across, along, values + c, count);
}

/* Return the sum of a row, in an order that is the same on every processor with such registers. */
static real total(const real *row)
{
    Vector sum = load(row);
    for (int v = 1; v < STRIPS; v++)
        sum += load(row + v * LANES);
    real lanes[LANES];
    store(lanes, sum);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* Fill row c of `out` with column c of rows of a tile, at most COLUMNS of them. */
static void transpose(const real *tile, int64_t rows, real *out)
{
    enum { BLOCK = 8 };
    for (int64_t i = 0; i < rows; i += BLOCK) {
        const int64_t end = i + BLOCK < rows ? i + BLOCK : rows;
        for (int c = 0; c < COLUMNS; c++)
            for (int64_t row = i; row < end; row++)
                out[c * COLUMNS + row] = tile[row * COLUMNS + c];
    }
}

#endif
