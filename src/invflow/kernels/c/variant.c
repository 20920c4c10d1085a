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

/* What a thread works in: rows of a tile. */
typedef struct {
    real *features; /* in the order of the batch, where they are not kept */
    real *point;    /* in a transform's order */
    real *sums;     /* pre-activations and parameters, where they are not kept */
    real *values;   /* of all layers but the last */
    real *ladj;
} Rooms;

static void map_tile(const Network *net, const Record *record, int64_t t, Rooms in)
{
    const Rows rows = rows_of(record, t);
    real *before = record->keep ? step(record, 0, t) : in.features;
    enter(before, record->value, net->features, rows);
    clear(in.ladj, 1);
    for (int64_t k = 0; k < record->transforms; k++) {
        const Transform of = transform(record, k);
        real *sums = record->keep ? rows_at(net, record, record->kept, k, t) : in.sums;
        real *after = record->keep ? step(record, k + 1, t) : in.features;
        arrange(in.point, before, of.order, 0, net->features);
        (record->inverse ? sweep : parallel)(net, &of, in.point, sums, in.values, in.ladj, rows);
        rearrange(after, in.point, of.order, net->features);
        before = after;
    }
    leave(before, record->result, net->features, rows);
    memcpy((real *)record->ladj + rows.begin, in.ladj, (size_t)rows.count * sizeof(real));
}

static void map_batch(Record *record)
{
    const int64_t count = tiles(record);
    int64_t t = take(&record->taken);
    if (t >= count)
        return;
    const Network net = network(record);
    const int64_t features = net.features, hidden = net.tops[net.last];
    real *first = room(2 * features + net.computed + hidden + 1);
    if (first && checked(record)) {
        real *point = first + features * COLUMNS, *sums = point + features * COLUMNS;
        real *values = sums + net.computed * COLUMNS, *ladj = values + hidden * COLUMNS;
        for (; t < count; t = take(&record->taken)) {
            map_tile(&net, record, t, (Rooms){first, point, sums, values, ladj});
            finish(&record->done);
        }
    } else
        __atomic_store_n(&record->failed, 1, __ATOMIC_RELEASE);
    free(first);
}

static void pull_tile(const Network *net, const Record *record, int64_t t, real *first)
{
    const Rows rows = rows_of(record, t);
    const int64_t features = net->features;
    real *bar = first, *ordered = bar + features * COLUMNS, *z = ordered + features * COLUMNS;
    real *read = z + features * COLUMNS, *ladj = read + features * COLUMNS;
    enter(bar, record->bar, features, rows);
    clear(ladj, 1);
    memcpy(
        ladj, (const real *)record->bar_ladj + rows.begin, (size_t)rows.count * sizeof(real));
    for (int64_t k = record->transforms - 1; k >= 0; k--) {
        const Transform of = transform(record, k);
        const real *kept = rows_at(net, record, record->kept, k, t);
        real *bars = rows_at(net, record, record->bars, k, t);
        arrange(ordered, bar, of.order, 0, features);
        arrange(z, noise_of(record, k, t), of.order, 0, features);
        (record->inverse ? reverse_sweep : reverse_parallel)(
            net, &of, ordered, bars, read, ladj, z, kept);
        /* Where columns stand for nothing, as zero times infinity is not zero. */
        clear_beyond(bars, net->computed, rows.count);
        clear_beyond(ordered, features, rows.count);
        rearrange(bar, ordered, of.order, features);
        real *sums = (real *)record->sums + (t * record->transforms + k) * net->computed;
        for (int64_t unit = 0; unit < net->computed; unit++)
            sums[unit] = total(bars + unit * COLUMNS);
    }
    leave(bar, record->bar_value, features, rows);
}

static void pull_batch(Record *record)
{
    const int64_t count = tiles(record);
    int64_t t = take(&record->taken);
    if (t >= count)
        return;
    const Network net = network(record);
    real *first = room(4 * net.features + 1);
    if (first && checked(record))
        for (; t < count; t = take(&record->taken)) {
            pull_tile(&net, record, t, first);
            finish(&record->done);
        }
    else
        __atomic_store_n(&record->failed, 1, __ATOMIC_RELEASE);
    free(first);
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
    const int64_t size = last->place + units(net, last->target) * units(net, last->source);
    const int64_t k = task->transform;
    real *result = (real *)record->gradients + k * (net->computed + size);
    if (task->matrix == net->matrices) {
        bias_gradients(net, record, k, result);
        return;
    }
    const Block *block = net->blocks + task->matrix;
    const Matrix matrix = {
        k, block->target, block->source, result + net->computed + block->place,
        transform(record, k).order,
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
    real *sums = room(widest), *values = room(PAIR * widest), *turned = room(PAIR * COLUMNS);
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
