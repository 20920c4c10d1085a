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

/* A product: out[i] += sum_k weights[i * across + k * along] values[k], summed over several parts,
   such as tiles. */
typedef struct {
    const real *weights;
    int64_t across, along;
    const real *values;
    int64_t count;
    int64_t parts, next_weights, next_values; /* numbers from one part to the next */
} Product;

INLINE void group(const int rows, const int registers, real *out, int64_t column, Product of)
{
    Vector sums[GROUP][STRIPS];
    out += column, of.values += column;
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int v = 0; v < registers; v++)
            sums[i][v] = load(out + i * COLUMNS + v * LANES);
    for (; of.parts > 0; of.parts--, of.weights += of.next_weights, of.values += of.next_values)
        for (int64_t k = 0; k < of.count; k++) {
            Vector read[STRIPS];
            UNROLL
            for (int v = 0; v < registers; v++)
                read[v] = load(of.values + k * COLUMNS + v * LANES);
            UNROLL
            for (int i = 0; i < rows; i++) {
                const Vector weight = spread(of.weights[i * of.across + k * of.along]);
                UNROLL
                for (int v = 0; v < registers; v++)
                    sums[i][v] += weight * read[v];
            }
        }
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int v = 0; v < registers; v++)
            store(out + i * COLUMNS + v * LANES, sums[i][v]);
}

/* Registers across a group: more of them where it has fewer rows, as each step of a sum waits for
   the one before, and other sums must fill the time. */
#define ACROSS(rows)                                                    \
    ((rows) >= 4 || WIDE == STRIPS ? WIDE                               \
     : WIDE * ((rows) == 1 ? 4 : 2) < STRIPS ? WIDE * ((rows) == 1 ? 4 : 2) \
                                             : STRIPS)

#define ROWS(rows)                                                        \
    case rows:                                                            \
        for (int64_t c = left; c < right; c += ACROSS(rows) * LANES)      \
            group(rows, ACROSS(rows), out, c, of);                        \
        break

/* Add a product to up to GROUP rows, from column `left`, where a register must begin, to column
   `right` or beyond. */
INLINE void accumulate_columns(real *out, int64_t rows, Product of, int64_t left, int64_t right)
{
    switch (rows) {
        ROWS(1);
        ROWS(2);
        ROWS(3);
        ROWS(4);
        ROWS(5);
        ROWS(6);
    }
}

/* Add a product to up to GROUP rows, of up to DEPTH rows that are read. */
INLINE void accumulate_rows(
    real *out, int64_t rows, const real *weights, int64_t across, int64_t along,
    const real *values, int64_t count)
{
    const Product of = {weights, across, along, values, count, 1, 0, 0};
    accumulate_columns(out, rows, of, 0, COLUMNS);
}

/* Add a product to rows of a tile: out[i] += sum_k weights[i * across + k * along] values[k]. */
static void accumulate(
    real *out, int64_t rows, const real *weights, int64_t across, int64_t along,
    const real *values, int64_t total)
{
    for (int64_t begin = 0; begin < total; begin += DEPTH) {
        const int64_t count = total - begin < DEPTH ? total - begin : DEPTH;
        const real *from = weights + begin * along;
        int64_t i = 0;
        for (; i + GROUP < rows; i += GROUP)
            accumulate_rows(
                out + i * COLUMNS, GROUP, from + i * across, across, along,
                values + begin * COLUMNS, count);
        accumulate_rows(
            out + i * COLUMNS, rows - i, from + i * across, across, along,
            values + begin * COLUMNS, count);
    }
}

/* Add a product to GROUP rows, from column `left` or before to column `right` or beyond. */
INLINE void accumulate_group(real *out, Product of, int64_t left, int64_t right)
{
    enum { HALF = WIDE / 2 * LANES };
    int64_t c = left / HALF * HALF;
    for (; c + HALF < right; c += 2 * HALF)
        group(GROUP, WIDE, out, c, of);
    if (c < right)
        group(GROUP, WIDE / 2, out, c, of);
}

/* Return the sum of a row. */
static real total(const real *row)
{
    Vector whole = load(row);
    for (int c = LANES; c < COLUMNS; c += LANES)
        whole += load(row + c);
    return sum(whole);
}

#endif
