/* Transposition: what lies by rows of the batch, laid out by units, and the reverse. */
#ifndef INVFLOW_TRANSPOSE_H
#define INVFLOW_TRANSPOSE_H

#include "vector.h"

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (Mask){__VA_ARGS__})
#endif

/* Swap the off-diagonal parts of pairs of rows that are HALF apart, in ever larger squares. */
#define SWAP(half, first, second)                             \
    UNROLL for (int i = 0; i < LANES; i++)                    \
        if (!(i & (half))) {                                  \
            const Vector a = rows[i], b = rows[i + (half)];   \
            rows[i] = SHUFFLE(a, b, first);                   \
            rows[i + (half)] = SHUFFLE(a, b, second);         \
        }
#define LIST(...) __VA_ARGS__

/* Write the transpose of a square of LANES by LANES numbers; `across`: numbers from row to row. */
INLINE void square(const real *from, int64_t across, real *to, int64_t across_to)
{
    Vector rows[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++)
        rows[i] = load(from + i * across);
#if REGISTER * 8 / REAL_BITS == 16
    SWAP(
        1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
        LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
    SWAP(
        2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
        LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    SWAP(
        4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
        LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    SWAP(
        8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
        LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#elif REGISTER * 8 / REAL_BITS == 8
    SWAP(1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))
    SWAP(2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
    SWAP(4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
#elif REGISTER * 8 / REAL_BITS == 4
    SWAP(1, LIST(0, 4, 2, 6), LIST(1, 5, 3, 7))
    SWAP(2, LIST(0, 1, 4, 5), LIST(2, 3, 6, 7))
#elif REGISTER * 8 / REAL_BITS == 2
    SWAP(1, LIST(0, 2), LIST(1, 3))
#endif
    UNROLL
    for (int i = 0; i < LANES; i++)
        store(to + i * across_to, rows[i]);
}

#undef SWAP
#undef LIST

/* Write the transpose of some rows and columns. */
static void transpose(
    const real *from, int64_t across, int64_t rows, int64_t columns, real *to, int64_t across_to)
{
    const int64_t whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (int64_t i = 0; i < whole_rows; i += LANES)
        for (int64_t j = 0; j < whole_columns; j += LANES)
            square(from + i * across + j, across, to + j * across_to + i, across_to);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = i < whole_rows ? whole_columns : 0; j < columns; j++)
            to[j * across_to + i] = from[i * across + j];
}

#endif
