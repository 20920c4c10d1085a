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

/* Return the number of a piece of work that no other thread takes. */
static int64_t take(Record *record)
{
    return __atomic_fetch_add(&record->taken, 1, __ATOMIC_RELAXED);
}

/* Count a piece of work as done: who has waited for it can read what it wrote. */
static void finish(Record *record)
{
    __atomic_fetch_add(&record->done, 1, __ATOMIC_RELEASE);
}

/* Stop all threads from waiting for a piece that this one has taken but cannot do. */
static void fail(Record *record)
{
    __atomic_store_n(&record->failed, 1, __ATOMIC_RELEASE);
}

/* Wait until the first pieces of work are done, and return whether they are.

   Pieces are taken in order and wait only for earlier ones, so at least one thread can always
   continue, however many there are. */
static int await(Record *record, int64_t pieces)
{
    for (int64_t turns = 0; __atomic_load_n(&record->done, __ATOMIC_ACQUIRE) < pieces; turns++) {
        if (__atomic_load_n(&record->failed, __ATOMIC_ACQUIRE))
            return 0;
        if (turns > 1000)
            sched_yield();
    }
    return 1;
}

/* Return memory for rows of a tile, null where there is none. */
static real *room(int64_t rows)
{
    return aligned_alloc(ROW, (size_t)(rows > 0 ? rows : 1) * ROW);
}

/* Whether all orders are permutations: other numbers would lead out of a tile. */
static int checked(const Record *record)
{
    int64_t *met = malloc((size_t)record->features * sizeof(int64_t));
    const int holds = met && orders_hold(record, met);
    free(met);
    return holds;
}

/* Memory that a thread works in when it maps z to x, or x to z: rows of a tile. */
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
        real *sums = record->keep ? kept_at(net, record, k, t) : in.sums;
        real *after = record->keep ? step(record, k + 1, t) : in.features;
        arrange(in.point, before, of.order, 0, net->features);
        (record->inverse ? sweep : parallel)(net, &of, in.point, sums, in.values, in.ladj, rows);
        rearrange(after, in.point, of.order, net->features);
        before = after;
    }
    leave(before, record->result, net->features, rows);
    memcpy((real *)record->ladj + rows.begin, in.ladj, (size_t)rows.count * sizeof(real));
}

/* The kernel `map`: a piece of work is a tile. */
static void map_batch(Record *record)
{
    int64_t t = take(record);
    if (t >= tiles(record))
        return;
    const Network net = network(record);
    const int64_t features = net.features, hidden = net.tops[net.last];
    real *first = room(2 * features + net.computed + hidden + 1);
    if (first && checked(record)) {
        real *point = first + features * COLUMNS, *sums = point + features * COLUMNS;
        real *values = sums + net.computed * COLUMNS, *ladj = values + hidden * COLUMNS;
        for (; t < tiles(record); t = take(record)) {
            map_tile(&net, record, t, (Rooms){first, point, sums, values, ladj});
            finish(record);
        }
    } else
        fail(record);
    free(first);
}

/* Memory for the features of a tile, FEATURES times, and for the row of log-determinants. */
typedef struct {
    real *ordered, *z, *read, *ladj;
} Features;

enum { FEATURES = 3 };

static Features features_in(const Network *net, real *first)
{
    const int64_t size = net->features * COLUMNS;
    return (Features){first, first + size, first + 2 * size, first + FEATURES * size};
}

/* Turn cotangents of what came out of transform k in a tile into those of what went in, and of all
   that was computed.

   bar: in the order of the batch, replaced; bars: filled; sums: filled with their sums. */
static void pull_tile(
    const Network *net, const Record *record, int64_t k, int64_t t, real *bar, real *bars,
    real *sums, Features in)
{
    const Rows rows = rows_of(record, t);
    const Transform of = transform(record, k);
    clear(in.ladj, 1);
    memcpy(
        in.ladj, (const real *)record->bar_ladj + rows.begin, (size_t)rows.count * sizeof(real));
    arrange(in.ordered, bar, of.order, 0, net->features);
    arrange(in.z, noise_of(record, k, t), of.order, 0, net->features);
    (record->inverse ? reverse_sweep : reverse_parallel)(
        net, &of, in.ordered, bars, in.read, in.ladj, in.z, kept_at(net, record, k, t));
    /* Cotangents of columns without an element are zero, but zero times infinity is not. */
    clear_beyond(bars, net->computed, rows.count);
    clear_beyond(in.ordered, net->features, rows.count);
    rearrange(bar, in.ordered, of.order, net->features);
    if (record->bar_offsets) {
        const int64_t width = units(net, 1);
        leave(bars, (real *)record->bar_offsets + k * record->batch * width, width, rows);
    }
    for (int64_t unit = 0; sums && unit < net->computed; unit++)
        sums[unit] = total(bars + unit * COLUMNS);
}

/* The kernel `pull`: cotangents of the batch alone; a piece of work is a tile. The bars of the
   first transform, which is the last one to be taken back, remain. */
static void pull_batch(Record *record)
{
    int64_t t = take(record);
    if (t >= tiles(record))
        return;
    const Network net = network(record);
    real *first = room((FEATURES + 1) * net.features + 1);
    if (first && checked(record)) {
        real *bar = first + (FEATURES * net.features + 1) * COLUMNS;
        for (; t < tiles(record); t = take(record)) {
            real *bars = (real *)record->bars + t * net.computed * COLUMNS;
            enter(bar, record->bar, net.features, rows_of(record, t));
            for (int64_t k = record->transforms - 1; k >= 0; k--)
                pull_tile(&net, record, k, t, bar, bars, 0, features_in(&net, first));
            leave(bar, record->bar_value, net.features, rows_of(record, t));
            finish(record);
        }
    } else
        fail(record);
    free(first);
}

/* The numbers of biases and weights of a transform. */
static int64_t size_of(const Network *net)
{
    const Block *last = net->blocks + net->matrices - 1;
    return net->computed + last->place + units(net, last->target) * units(net, last->source);
}

static int64_t widest(const Network *net)
{
    int64_t result = COLUMNS;
    for (int64_t layer = 0; layer <= net->last; layer++)
        result = larger(result, units(net, layer));
    return result;
}

static int64_t panel_rows(const Network *net)
{
    return (1 + PAIR) * widest(net) + PAIR * COLUMNS;
}

static Panels panels_in(const Network *net, real *first)
{
    real *values = first + widest(net) * COLUMNS;
    return (Panels){first, values, values + PAIR * widest(net) * COLUMNS};
}

/* Gradients of large networks. For each transform, the last one first, the pieces of work are all
   tiles, and then the panels of its gradients, each over the whole batch. record->bars holds the
   bars of one transform for all tiles, then their sums, then the cotangents of what goes in. */
static void pull_by_transform(Record *record)
{
    const int64_t per_transform = tiles(record) + record->pieces;
    int64_t n = take(record);
    if (n >= record->transforms * per_transform)
        return;
    const Network net = network(record);
    const int64_t features = net.features * COLUMNS, computed = net.computed * COLUMNS;
    real *bars = record->bars, *sums = bars + tiles(record) * computed;
    real *inputs = sums + tiles(record) * net.computed;
    real *first = room(FEATURES * net.features + 1 + panel_rows(&net));
    int going = first && checked(record);
    for (; going && n < record->transforms * per_transform; n = take(record)) {
        const int64_t before = n / per_transform * per_transform, piece = n - before;
        const int64_t k = record->transforms - 1 - n / per_transform, t = piece;
        if (piece < tiles(record)) {
            if (!(going = await(record, before)))
                break;
            real *bar = inputs + t * features;
            if (before == 0)
                enter(bar, record->bar, net.features, rows_of(record, t));
            pull_tile(
                &net, record, k, t, bar, bars + t * computed, sums + t * net.computed,
                features_in(&net, first));
            if (k == 0)
                leave(bar, record->bar_value, net.features, rows_of(record, t));
        } else {
            if (!(going = await(record, before + tiles(record))))
                break;
            const Pulled of = {k, 0, tiles(record), bars, sums};
            real *result = (real *)record->gradients + k * size_of(&net);
            real *panels = first + (FEATURES * net.features + 1) * COLUMNS;
            write_piece(
                &net, record, &of, record->tasks + piece - tiles(record), result,
                panels_in(&net, panels));
        }
        finish(record);
    }
    if (!going)
        fail(record);
    free(first);
}

/* The first tile of a share. */
static int64_t share_begin(const Record *record, int64_t share)
{
    return share * tiles(record) / record->shares;
}

/* Take the tiles of a share back, and write its gradients: those of a tile while its bars are in
   the processor's cache. */
static void pull_share(
    const Network *net, const Record *record, int64_t share, real *bar, real *bars, real *sums,
    real *own, real *first)
{
    const int64_t size = size_of(net), end = share_begin(record, share + 1);
    real *partial = (real *)record->partial + share * record->transforms * size;
    const Panels panels = panels_in(net, first + (FEATURES * net->features + 1) * COLUMNS);
    for (int64_t t = share_begin(record, share); t < end; t++) {
        enter(bar, record->bar, net->features, rows_of(record, t));
        for (int64_t k = record->transforms - 1; k >= 0; k--) {
            pull_tile(net, record, k, t, bar, bars, sums, features_in(net, first));
            const Pulled of = {k, t, t + 1, bars, sums};
            const int again = t > share_begin(record, share);
            real *result_of_share = partial + k * size, *result = again ? own : result_of_share;
            for (int64_t piece = 0; piece < record->pieces; piece++)
                write_piece(net, record, &of, record->tasks + piece, result, panels);
            if (again)
                add_numbers(result_of_share, own, size);
        }
        leave(bar, record->bar_value, net->features, rows_of(record, t));
    }
}

/* Gradients of small networks. The pieces of work are shares of the tiles, which have gradients of
   their own, and then parts of the sum of these. */
static void pull_by_share(Record *record)
{
    const Network net = network(record);
    const int64_t numbers = record->transforms * size_of(&net), all = record->shares + record->sums;
    int64_t n = take(record);
    if (n >= all)
        return;
    const int64_t rows = (FEATURES + 1) * net.features + 1 + panel_rows(&net) + net.computed;
    const int64_t own = size_of(&net) / COLUMNS + 1, of_units = net.computed / COLUMNS + 1;
    real *first = room(rows + own + of_units);
    int going = first && checked(record);
    for (; going && n < all; n = take(record)) {
        if (n < record->shares) {
            real *bar = first + (FEATURES * net.features + 1 + panel_rows(&net)) * COLUMNS;
            real *bars = bar + net.features * COLUMNS, *units = bars + net.computed * COLUMNS;
            pull_share(
                &net, record, n, bar, bars, units, units + of_units * COLUMNS, first);
        } else {
            if (!(going = await(record, record->shares)))
                break;
            const real *partial = record->partial;
            real *result = record->gradients;
            const int64_t begin = (n - record->shares) * numbers / record->sums;
            const int64_t count = (n - record->shares + 1) * numbers / record->sums - begin;
            memcpy(result + begin, partial + begin, (size_t)count * sizeof(real));
            for (int64_t share = 1; share < record->shares; share++)
                add_numbers(result + begin, partial + share * numbers + begin, count);
        }
        finish(record);
    }
    if (!going)
        fail(record);
    free(first);
}

/* The kernel `gradients`: cotangents of the batch, and the gradients of all weights. */
static void pull_to_weights(Record *record)
{
    (record->shares > 0 ? pull_by_share : pull_by_transform)(record);
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
        const double seconds =
            (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        rate = 2.0 * ROWS * READ * COLUMNS * (double)repetitions / seconds;
        rate += out[0] > 1e30 ? 1 : 0; /* used, so that the compiler keeps the products */
    }
    free(weights), free(values), free(out);
    return rate;
}

const Kernels NAME = {map_batch, pull_batch, pull_to_weights, product_rate};
