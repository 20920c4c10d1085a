/* The gradients of biases and of masked matrices, over the whole batch.

   Those of biases are sums of cotangents. Those of matrices are products of cotangents and
   activations, taken in panels, which threads share: as many units of the source as a tile has
   columns, with all units of the target that see any of them; or as many units of the target, with
   all that they see, where that leaves less of a panel empty. */
#ifndef INVFLOW_GRADIENTS_H
#define INVFLOW_GRADIENTS_H

#include "activations.h"
#include "clip.h"
#include "masked.h"

/* One matrix of one transform, and where its gradient goes, [units of target, units of source]. */
typedef struct {
    int64_t transform, target, source;
    real *result;
    const int64_t *order;
} Matrix;

/* Write the sums over all tiles of what `sums` holds for each, [tiles, transforms, units]. */
static void bias_gradients(const Network *net, const Record *record, int64_t k, real *result)
{
    const real *sums = record->sums;
    for (int64_t unit = 0; unit < net->computed; unit++) {
        double whole = 0; /* there may be many tiles */
        for (int64_t t = 0; t < tiles(record); t++)
            whole += sums[(t * record->transforms + k) * net->computed + unit];
        result[unit] = (real)whole;
    }
}

/* Fill rows with what units low .. high - 1 of the source gave. */
static void source_values(
    const Network *net, const Record *record, const Matrix *matrix, int64_t tile, int64_t low,
    int64_t high, real *out)
{
    const int64_t k = matrix->transform, count = (high - low) * COLUMNS;
    if (matrix->source == 0) {
        arrange(out, noise_of(record, k, tile), matrix->order, low, high - low);
        clip(out, net->input_bound, count);
        return;
    }
    const real *sums = rows_at(net, record, record->kept, k, tile);
    const int64_t row = computed_row(net, matrix->source, low);
    activate(net->activation, sums + row * COLUMNS, out, count);
}

/* The target's cotangents in a tile. */
static const real *target_cotangents(
    const Network *net, const Record *record, const Matrix *matrix, int64_t tile)
{
    const real *bars = rows_at(net, record, record->bars, matrix->transform, tile);
    return bars + computed_row(net, matrix->target, 0) * COLUMNS;
}

/* Tiles that are taken in one product: all but a last one that is not full go in pairs. */
typedef struct {
    int64_t first, count, columns;
} Tiles;

enum { PAIR = 2 };

static Tiles tiles_from(const Record *record, int64_t first)
{
    const int64_t full = record->batch / COLUMNS;
    if (first >= full)
        return (Tiles){first, 1, rows_of(record, first).count};
    return (Tiles){first, smaller(PAIR, full - first), COLUMNS};
}

/* Write the gradients of how a target reads units of a source, `first` and on.

   sums: room for a row for each unit of the target; values: for a tile's square; turned: for PAIR
   of them. */
static void source_panel(
    const Network *net, const Record *record, const Matrix *matrix, int64_t first, real *sums,
    real *values, real *turned)
{
    const int64_t rows = units(net, matrix->target), length = units(net, matrix->source);
    const int64_t beyond = smaller(first + COLUMNS, length);
    const int64_t low = known(net, matrix->target, degree(net, matrix->source, first));
    clear(sums, rows - low);
    for (Tiles of = tiles_from(record, 0); of.first < tiles(record);
         of = tiles_from(record, of.first + of.count)) {
        const real *bars = target_cotangents(net, record, matrix, of.first);
        for (int64_t t = 0; t < of.count; t++) {
            source_values(net, record, matrix, of.first + t, first, beyond, values);
            transpose(
                values, COLUMNS, beyond - first, COLUMNS, turned + t * COLUMNS * COLUMNS, COLUMNS);
        }
        Product product = {
            bars, COLUMNS, 1, turned, of.columns,
            of.count, net->computed * COLUMNS, COLUMNS * COLUMNS,
        };
        for (int64_t i = low, count; i < rows; i += count) {
            count = smaller(GROUP, rows - i);
            product.weights = bars + i * COLUMNS;
            const int64_t last = degree(net, matrix->target, i + count - 1);
            const int64_t right = smaller(seen(net, matrix->source, last) - first, COLUMNS);
            real *out = sums + (i - low) * COLUMNS;
            if (count == GROUP)
                accumulate_group(out, product, 0, right);
            else
                accumulate_columns(out, count, product, 0, right);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        real *row = matrix->result + i * length;
        const int64_t sees = seen(net, matrix->source, degree(net, matrix->target, i));
        const int64_t visible = i < low ? first : larger(first, smaller(sees, beyond));
        if (visible > first)
            memcpy(row + first, sums + (i - low) * COLUMNS, (size_t)(visible - first) * sizeof(real));
        memset(row + visible, 0, (size_t)(beyond - visible) * sizeof(real));
    }
}

/* Write the gradients of how units of a target, `first` and on, read a source; `values`: room for a
   row for each unit of the source, PAIR times. */
static void target_panel(
    const Network *net, const Record *record, const Matrix *matrix, int64_t first, real *sums,
    real *values, real *turned)
{
    const int64_t rows = units(net, matrix->target), length = units(net, matrix->source);
    const int64_t beyond = smaller(first + COLUMNS, rows);
    const int64_t high = seen(net, matrix->source, degree(net, matrix->target, beyond - 1));
    clear(sums, high);
    for (Tiles of = tiles_from(record, 0); of.first < tiles(record);
         of = tiles_from(record, of.first + of.count)) {
        for (int64_t t = 0; t < of.count; t++) {
            const real *bars = target_cotangents(net, record, matrix, of.first + t);
            source_values(net, record, matrix, of.first + t, 0, high, values + t * high * COLUMNS);
            transpose(
                bars + first * COLUMNS, COLUMNS, beyond - first, COLUMNS,
                turned + t * COLUMNS * COLUMNS, COLUMNS);
        }
        Product product = {
            values, COLUMNS, 1, turned, of.columns, of.count, high * COLUMNS, COLUMNS * COLUMNS,
        };
        for (int64_t i = 0, count; i < high; i += count) {
            count = smaller(GROUP, high - i);
            product.weights = values + i * COLUMNS;
            const int64_t reach = known(net, matrix->target, degree(net, matrix->source, i));
            real *out = sums + i * COLUMNS;
            if (count == GROUP)
                accumulate_group(out, product, larger(reach - first, 0), beyond - first);
            else
                accumulate_columns(out, count, product, 0, beyond - first);
        }
    }
    for (int64_t i = first; i < beyond; i++) {
        real *row = matrix->result + i * length;
        const int64_t visible = seen(net, matrix->source, degree(net, matrix->target, i));
        for (int64_t j = 0; j < visible; j++)
            row[j] = sums[j * COLUMNS + i - first];
        memset(row + visible, 0, (size_t)(length - visible) * sizeof(real));
    }
}

#endif
