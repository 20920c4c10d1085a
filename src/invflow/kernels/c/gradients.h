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

/* One matrix of one transform: where its gradient goes, and what that is made of. */
typedef struct {
    int64_t transform, target, source;
    real *result;       /* [units of the target, units of the source] */
    const int64_t *order;
    const real *noise;  /* [batch, features] */
} Matrix;

/* Write the sums over all tiles of what `sums` holds for each, [tiles, transforms, units]. */
static void bias_gradients(const Network *net, const Record *record, int64_t k, real *result)
{
    const int64_t width = net->bottom - net->features, count = tiles(record);
    const real *sums = (const real *)record->sums + k * width;
    for (int64_t unit = 0; unit < width; unit++) {
        double whole = 0; /* there may be many tiles */
        for (int64_t t = 0; t < count; t++)
            whole += sums[t * record->transforms * width + unit];
        result[unit] = (real)whole;
    }
}

/* Fill rows with what units low .. high - 1 of the source gave. */
static void source_values(
    const Network *net, const Record *record, const Matrix *matrix, int64_t tile, int64_t low,
    int64_t high, real *out)
{
    if (matrix->source == 0) {
        gather(
            out, matrix->noise, matrix->order, low, high - low, net->features,
            rows_of(record, tile));
        clip(out, net->input_bound, (high - low) * COLUMNS);
        return;
    }
    const real *hidden = hidden_of(net, record, record->kept, matrix->transform, tile);
    copy(out, hidden + hidden_row(net, matrix->source, low) * COLUMNS, high - low);
    activate(net->activation, out, (high - low) * COLUMNS);
}

/* The target's cotangents in a tile. */
static const real *target_cotangents(
    const Network *net, const Record *record, const Matrix *matrix, int64_t tile)
{
    if (matrix->target == net->last)
        return params_of(net, record, record->bars, matrix->transform, tile);
    const real *hidden = hidden_of(net, record, record->bars, matrix->transform, tile);
    return hidden + hidden_row(net, matrix->target, 0) * COLUMNS;
}

/* Write the gradients of how a target reads units of a source, `first` and on.

   sums: room for a row for each unit of the target; values, turned: for a tile's square. */
static void source_panel(
    const Network *net, const Record *record, const Matrix *matrix, int64_t first, real *sums,
    real *values, real *turned)
{
    const int64_t rows = units(net, matrix->target), length = units(net, matrix->source);
    const int64_t beyond = smaller(first + COLUMNS, length);
    const int64_t low = known(net, matrix->target, degree(net, matrix->source, first));
    clear(sums, rows - low);
    for (int64_t t = 0; t < tiles(record); t++) {
        const int64_t count = rows_of(record, t).count;
        const real *cotangents = target_cotangents(net, record, matrix, t);
        source_values(net, record, matrix, t, first, beyond, values);
        transpose(values, beyond - first, turned);
        int64_t i = low;
        for (; i + GROUP <= rows; i += GROUP) {
            const int64_t last = degree(net, matrix->target, i + GROUP - 1);
            const int64_t right = seen(net, matrix->source, last) - first;
            accumulate_group(
                sums + (i - low) * COLUMNS, cotangents + i * COLUMNS, COLUMNS, 1, turned, count, 0,
                smaller(right, COLUMNS));
        }
        accumulate(
            sums + (i - low) * COLUMNS, rows - i, cotangents + i * COLUMNS, COLUMNS, 1, turned,
            count);
    }
    for (int64_t i = 0; i < rows; i++) {
        real *row = matrix->result + i * length;
        const int64_t sees = seen(net, matrix->source, degree(net, matrix->target, i));
        const int64_t visible = i < low ? first : larger(first, smaller(sees, beyond));
        for (int64_t j = first; j < visible; j++)
            row[j] = sums[(i - low) * COLUMNS + j - first];
        for (int64_t j = visible; j < beyond; j++)
            row[j] = 0;
    }
}

/* Write the gradients of how units of a target, `first` and on, read a source; `values`: room for a
   row for each unit of the source. */
static void target_panel(
    const Network *net, const Record *record, const Matrix *matrix, int64_t first, real *sums,
    real *values, real *turned)
{
    const int64_t rows = units(net, matrix->target), length = units(net, matrix->source);
    const int64_t beyond = smaller(first + COLUMNS, rows);
    const int64_t high = seen(net, matrix->source, degree(net, matrix->target, beyond - 1));
    clear(sums, high);
    for (int64_t t = 0; t < tiles(record); t++) {
        const int64_t count = rows_of(record, t).count;
        source_values(net, record, matrix, t, 0, high, values);
        transpose(
            target_cotangents(net, record, matrix, t) + first * COLUMNS, beyond - first, turned);
        int64_t i = 0;
        for (; i + GROUP <= high; i += GROUP) {
            const int64_t left = known(net, matrix->target, degree(net, matrix->source, i)) - first;
            accumulate_group(
                sums + i * COLUMNS, values + i * COLUMNS, COLUMNS, 1, turned, count,
                larger(left, 0), COLUMNS);
        }
        accumulate(
            sums + i * COLUMNS, high - i, values + i * COLUMNS, COLUMNS, 1, turned, count);
    }
    for (int64_t i = first; i < beyond; i++) {
        real *row = matrix->result + i * length;
        const int64_t visible = seen(net, matrix->source, degree(net, matrix->target, i));
        for (int64_t j = 0; j < visible; j++)
            row[j] = sums[j * COLUMNS + i - first];
        for (int64_t j = visible; j < length; j++)
            row[j] = 0;
    }
}

#endif
