/* The kernels: many transforms over the tiles of a batch, the reverse, and the gradients.

   A tile goes through all transforms while it is in the processor's cache. Threads that are called
   with the same record share its work: each takes tiles, one after another, until none is left; so
   results do not depend on the number of threads.

   Compiled once for each kind of processor and each precision: with the flags of its instructions,
   and -DREAL=float -DREAL_BITS=32 -DNAME=invflow_avx2_f32, say. */

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "gradients.h"
#include "parallel.h"
#include "sweep.h"

static int64_t take(int64_t *counter)
{
    return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void finish(int64_t *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELEASE);
}

/* Return room for rows of a tile, null where there is none. */
static real *room(int64_t rows)
{
    return aligned_alloc(ROW, (size_t)(rows > 0 ? rows : 1) * ROW);
}

/* Whether a thread can begin: the orders are permutations. */
static int checked(Record *record)
{
    int64_t *met = malloc((size_t)record->features * sizeof(int64_t));
    const int holds = met && orders_hold(record, met);
    free(met);
    return holds;
}

static void map_tile(
    const Network *net, const Record *record, int64_t t, real *tile, real *values)
{
    const Rows rows = rows_of(record, t);
    real *result = record->result, *ladj = tile + net->bottom * COLUMNS;
    clear(ladj, 1);
    for (int64_t k = 0; k < record->transforms; k++) {
        const Transform of = transform(record, k);
        const real *given = k == 0 ? record->value : result;
        real *hidden = 0;
        if (record->keep)
            hidden = hidden_of(net, record, record->kept, k, t);
        else if (net->residual) /* the layer before is read where it is kept */
            hidden = hidden_of(net, record, record->kept, 0, t);
        gather(tile, given, of.order, 0, net->features, net->features, rows);
        (record->inverse ? sweep : parallel)(net, &of, tile, hidden, values, rows);
        scatter(tile, result, of.order, net->features, rows);
        if (record->keep) {
            scatter(tile, out_of(record, k), of.order, net->features, rows);
            copy(
                params_of(net, record, record->kept, k, t), row_of(net, tile, net->last, 0),
                units(net, net->last));
        }
    }
    memcpy((real *)record->ladj + rows.begin, ladj, (size_t)rows.count * sizeof(real));
}

static void map_batch(Record *record)
{
    const int64_t count = tiles(record);
    int64_t t = take(&record->taken);
    if (t >= count)
        return;
    const Network net = network(record);
    real *tile = room(net.bottom + 1), *values = room(net.features);
    if (tile && values && checked(record)) {
        clear(tile, net.bottom + 1);
        for (; t < count; t = take(&record->taken)) {
            map_tile(&net, record, t, tile, values);
            finish(&record->done);
        }
    } else
        __atomic_store_n(&record->failed, 1, __ATOMIC_RELEASE);
    free(tile), free(values);
}

static void pull_tile(
    const Network *net, const Record *record, int64_t t, real *tile, real *point, real *values)
{
    const Rows rows = rows_of(record, t);
    const int64_t width = net->bottom - net->features;
    real *bar_value = record->bar_value;
    for (int64_t k = record->transforms - 1; k >= 0; k--) {
        const Transform of = transform(record, k);
        const real *bar = k == record->transforms - 1 ? record->bar : bar_value;
        const real *noise = record->inverse ? out_of(record, k) : given_to(record, k);
        const real *params = params_of(net, record, record->kept, k, t);
        const real *hidden = hidden_of(net, record, record->kept, k, t);
        clear(tile, net->bottom + 1);
        gather(tile, bar, of.order, 0, net->features, net->features, rows);
        memcpy(
            tile + net->bottom * COLUMNS, (const real *)record->bar_ladj + rows.begin,
            (size_t)rows.count * sizeof(real));
        gather(point, noise, of.order, 0, net->features, net->features, rows);
        (record->inverse ? reverse_sweep : reverse_parallel)(
            net, &of, tile, point, params, hidden, values);
        clear_beyond(tile, net->bottom, rows.count); /* zero times infinity is not zero */
        scatter(tile, bar_value, of.order, net->features, rows);
        copy(
            hidden_of(net, record, record->bars, k, t), row_of(net, tile, 1, 0),
            net->tops[net->last] - net->features);
        copy(
            params_of(net, record, record->bars, k, t), row_of(net, tile, net->last, 0),
            units(net, net->last));
        real *sums = (real *)record->sums + (t * record->transforms + k) * width;
        for (int64_t unit = 0; unit < width; unit++)
            sums[unit] = total(row_of(net, tile, 1, unit));
    }
}

static void pull_batch(Record *record)
{
    const int64_t count = tiles(record);
    int64_t t = take(&record->taken);
    if (t >= count)
        return;
    const Network net = network(record);
    real *tile = room(net.bottom + 1), *point = room(net.features), *values = room(net.features);
    if (tile && point && values && checked(record))
        for (; t < count; t = take(&record->taken)) {
            pull_tile(&net, record, t, tile, point, values);
            finish(&record->done);
        }
    else
        __atomic_store_n(&record->failed, 1, __ATOMIC_RELEASE);
    free(tile), free(point), free(values);
}

/* Wait for the tiles of other threads; return whether all are done. */
static int all_pulled(Record *record)
{
    for (int64_t turns = 0; __atomic_load_n(&record->done, __ATOMIC_ACQUIRE) < tiles(record);
         turns++) {
        if (__atomic_load_n(&record->failed, __ATOMIC_ACQUIRE))
            return 0;
        if (turns > 1000)
            sched_yield();
    }
    return 1;
}

static void write_gradients(
    const Network *net, const Record *record, const Task *task, real *sums, real *values,
    real *turned)
{
    const Block *last = net->blocks + net->matrices - 1;
    const int64_t width = net->bottom - net->features, k = task->transform;
    const int64_t size = last->place + units(net, last->target) * units(net, last->source);
    real *result = (real *)record->gradients + k * (width + size);
    if (task->matrix == net->matrices) {
        bias_gradients(net, record, k, result);
        return;
    }
    const Block *block = net->blocks + task->matrix;
    const Matrix matrix = {
        k, block->target, block->source, result + width + block->place,
        transform(record, k).order, record->inverse ? out_of(record, k) : given_to(record, k),
    };
    (task->of_target ? target_panel : source_panel)(
        net, record, &matrix, task->first, sums, values, turned);
}

static void pull_to_weights(Record *record)
{
    pull_batch(record);
    if (!all_pulled(record))
        return;
    int64_t piece = take(&record->tasks_taken);
    if (piece >= record->pieces)
        return;
    const Network net = network(record);
    int64_t widest = COLUMNS;
    for (int64_t layer = 0; layer <= net.last; layer++)
        widest = larger(widest, units(&net, layer));
    real *sums = room(widest), *values = room(widest), *turned = room(COLUMNS);
    if (sums && values && turned)
        for (; piece < record->pieces; piece = take(&record->tasks_taken)) {
            write_gradients(&net, record, record->tasks + piece, sums, values, turned);
            finish(&record->tasks_done);
        }
    else
        __atomic_store_n(&record->failed, 1, __ATOMIC_RELEASE);
    free(sums), free(values), free(turned);
}

/* Return floating-point operations per second of the product, 96 x 128 by a tile. */
static double product_rate(int64_t repetitions)
{
    enum { ROWS = 96, READ = 128 };
    real *weights = room(ROWS * READ / COLUMNS), *values = room(READ), *out = room(ROWS);
    double rate = 0;
    if (weights && values && out) {
        for (int64_t i = 0; i < ROWS * READ; i++)
            weights[i] = (real)(i % 7) / 7;
        for (int64_t i = 0; i < READ * COLUMNS; i++)
            values[i] = (real)(i % 5) / 5;
        clear(out, ROWS);
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int64_t i = 0; i < repetitions; i++)
            accumulate(out, ROWS, weights, READ, 1, values, READ);
        clock_gettime(CLOCK_MONOTONIC, &end);
        const double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        rate = 2.0 * ROWS * READ * COLUMNS * (double)repetitions / seconds;
        rate += out[0] > 1e30 ? 1 : 0; /* so that the products are not left out */
    }
    free(weights), free(values), free(out);
    return rate;
}

const Kernels NAME = {map_batch, pull_batch, pull_to_weights, product_rate};
