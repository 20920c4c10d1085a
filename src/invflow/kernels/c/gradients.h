/* The gradients of biases and of masked matrices, over some tiles of the batch.

   Those of biases are sums of cotangents. Those of matrices are products of cotangents and
   activations, computed in panels: COLUMNS units of the source, with all units of the target that
   see any of them; or COLUMNS units of the target, with all that they see. The caller chooses. */
#ifndef INVFLOW_GRADIENTS_H
#define INVFLOW_GRADIENTS_H

#include "activations.h"
#include "clip.h"
#include "masked.h"

/* What the gradients of one transform are made of: the tiles first .. end - 1 of the batch, their
   bars, [tiles, units, columns], and the sums of those over columns, [tiles, units]. */
typedef struct {
    int64_t transform, first, end;
    const real *bars, *sums;
} Pulled;

/* Memory for panels: rows for the units of a layer, and for transposed squares. */
typedef struct {
    real *sums, *values, *turned;
} Panels;

/* One matrix, and where its gradient goes, [units of target, units of source]. */
typedef struct {
    int64_t target, source;
    real *result;
} Matrix;

/* Write the sums over the tiles. */
static void bias_gradients(const Network *net, const Pulled *of, real *result)
{
    for (int64_t unit = 0; unit < net->computed; unit++) {
        double whole = 0; /* in double precision, as there may be many tiles */
        for (int64_t t = 0; t < of->end - of->first; t++)
            whole += of->sums[t * net->computed + unit];
        result[unit] = (real)whole;
    }
}

/* Fill rows with the values of units low .. high - 1 of a source, as its targets read them. */
static void source_values(
    const Network *net, const Record *record, int64_t k, int64_t source, int64_t tile, int64_t low,
    int64_t high, real *out)
{
    const int64_t count = (high - low) * COLUMNS;
    if (source == 0) {
        const int64_t *order = transform(record, k).order;
        arrange(out, noise_of(record, k, tile), order, low, high - low);
        clip(out, net->input_bound, count);
        return;
    }
    const real *sums = kept_at(net, record, k, tile) + computed_row(net, source, low) * COLUMNS;
    activate(net->activation, sums, out, count);
}

/* The cotangents of a layer in a tile. */
INLINE const real *bars_of(const Network *net, const Pulled *of, int64_t layer, int64_t tile)
{
    return of->bars + ((tile - of->first) * net->computed + computed_row(net, layer, 0)) * COLUMNS;
}

/* Tiles that are taken in one product: full ones in pairs, a partial one alone. */
typedef struct {
    int64_t first, count, columns;
} Tiles;

enum { PAIR = 2 };

static Tiles tiles_from(const Record *record, int64_t first, int64_t end)
{
    const int64_t full = smaller(record->batch / COLUMNS, end);
    if (first >= full)
        return (Tiles){first, 1, first < end ? rows_of(record, first).count : 0};
    return (Tiles){first, smaller(PAIR, full - first), COLUMNS};
}

/* Write the gradients of how a target reads units of a source, `first` and on. */
static void source_panel(
    const Network *net, const Record *record, const Pulled *of, Matrix matrix, int64_t first,
    Panels in)
{
    const int64_t rows = units(net, matrix.target), length = units(net, matrix.source);
    const int64_t beyond = smaller(first + COLUMNS, length);
    const int64_t low = known(net, matrix.target, degree(net, matrix.source, first));
    clear(in.sums, rows - low);
    for (Tiles part = tiles_from(record, of->first, of->end); part.first < of->end;
         part = tiles_from(record, part.first + part.count, of->end)) {
        const real *bars = bars_of(net, of, matrix.target, part.first);
        for (int64_t t = 0; t < part.count; t++) {
            source_values(
                net, record, of->transform, matrix.source, part.first + t, first, beyond,
                in.values);
            transpose(
                in.values, COLUMNS, beyond - first, COLUMNS, in.turned + t * COLUMNS * COLUMNS,
                COLUMNS);
        }
        Product product = {
            bars, COLUMNS, 1, in.turned, part.columns,
            part.count, net->computed * COLUMNS, COLUMNS * COLUMNS,
        };
        for (int64_t i = low, count; i < rows; i += count) {
            count = smaller(GROUP, rows - i);
            product.weights = bars + i * COLUMNS;
            const int64_t last = degree(net, matrix.target, i + count - 1);
            const int64_t right = smaller(seen(net, matrix.source, last) - first, COLUMNS);
            real *out = in.sums + (i - low) * COLUMNS;
            if (count == GROUP)
                accumulate_group(out, product, 0, right);
            else
                accumulate_columns(out, count, product, 0, right);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        real *row = matrix.result + i * length;
        const int64_t sees = seen(net, matrix.source, degree(net, matrix.target, i));
        const int64_t visible = i < low ? first : larger(first, smaller(sees, beyond));
        if (visible > first)
            memcpy(
                row + first, in.sums + (i - low) * COLUMNS,
                (size_t)(visible - first) * sizeof(real));
        memset(row + visible, 0, (size_t)(beyond - visible) * sizeof(real));
    }
}

/* Write the gradients of how units of a target, `first` and on, read a source. */
static void target_panel(
    const Network *net, const Record *record, const Pulled *of, Matrix matrix, int64_t first,
    Panels in)
{
    const int64_t rows = units(net, matrix.target), length = units(net, matrix.source);
    const int64_t beyond = smaller(first + COLUMNS, rows);
    const int64_t high = seen(net, matrix.source, degree(net, matrix.target, beyond - 1));
    clear(in.sums, high);
    for (Tiles part = tiles_from(record, of->first, of->end); part.first < of->end;
         part = tiles_from(record, part.first + part.count, of->end)) {
        for (int64_t t = 0; t < part.count; t++) {
            const real *bars = bars_of(net, of, matrix.target, part.first + t) + first * COLUMNS;
            source_values(
                net, record, of->transform, matrix.source, part.first + t, 0, high,
                in.values + t * high * COLUMNS);
            transpose(
                bars, COLUMNS, beyond - first, COLUMNS, in.turned + t * COLUMNS * COLUMNS, COLUMNS);
        }
        Product product = {
            in.values, COLUMNS, 1, in.turned, part.columns,
            part.count, high * COLUMNS, COLUMNS * COLUMNS,
        };
        for (int64_t i = 0, count; i < high; i += count) {
            count = smaller(GROUP, high - i);
            product.weights = in.values + i * COLUMNS;
            const int64_t reach = known(net, matrix.target, degree(net, matrix.source, i));
            real *out = in.sums + i * COLUMNS;
            if (count == GROUP)
                accumulate_group(out, product, larger(reach - first, 0), beyond - first);
            else
                accumulate_columns(out, count, product, 0, beyond - first);
        }
    }
    for (int64_t i = first; i < beyond; i++) {
        real *row = matrix.result + i * length;
        const int64_t visible = seen(net, matrix.source, degree(net, matrix.target, i));
        for (int64_t j = 0; j < visible; j++)
            row[j] = in.sums[j * COLUMNS + i - first];
        memset(row + visible, 0, (size_t)(length - visible) * sizeof(real));
    }
}

/* Write one piece of the gradients of a transform: `result` is [units + weights]. */
static void write_piece(
    const Network *net, const Record *record, const Pulled *of, const Task *task, real *result,
    Panels in)
{
    if (task->matrix == net->matrices) {
        bias_gradients(net, of, result);
        return;
    }
    const Block *block = net->blocks + task->matrix;
    const Matrix matrix = {block->target, block->source, result + net->computed + block->place};
    (task->of_target ? target_panel : source_panel)(net, record, of, matrix, task->first, in);
}

#endif
