/* What a record says, as the kernels use it: the network that all transforms have in common, the
   tensors of one of them, and memory laid out by tiles.

   Layer 0 holds the features, the last one the outputs. Units are sorted by degree, and
   starts[layer][d] of a layer's units are known when all features before d are, those of degree d
   not counted. Within a tile the layers lie below each other, layer l from row tops[l] on, and
   below them one row of log-derivatives, at row `bottom`. */
#ifndef INVFLOW_NETWORK_H
#define INVFLOW_NETWORK_H

#include "maps.h"
#include "record.h"

typedef struct {
    int64_t features, outputs, last, bottom, panel;
    const int64_t *starts, *tops, *degrees;
    const Block *blocks;
    int64_t matrices, residual, activation;
    Univariate map;
    double input_bound;
} Network;

typedef struct {
    const int64_t *order;
    const real *bias, *weight, *offset;
} Transform;

/* Some rows of the batch, those of one tile. */
typedef struct {
    int64_t begin, count;
} Rows;

enum { PANEL = 32 /* hidden units that a panel of features brings with it */ };

INLINE int64_t known(const Network *net, int64_t layer, int64_t feature)
{
    return net->starts[layer * (net->features + 1) + feature];
}

INLINE int64_t units(const Network *net, int64_t layer)
{
    return known(net, layer, net->features);
}

INLINE int64_t degree(const Network *net, int64_t layer, int64_t unit)
{
    return net->degrees[net->tops[layer] + unit];
}

/* How many units of a layer a unit of this degree sees. */
INLINE int64_t seen(const Network *net, int64_t layer, int64_t degree)
{
    return layer == 0 ? degree : known(net, layer, degree + 1);
}

INLINE real *row_of(const Network *net, real *tile, int64_t layer, int64_t unit)
{
    return tile + (net->tops[layer] + unit) * COLUMNS;
}

/* The row of a hidden layer's unit in memory that holds the hidden layers alone. */
INLINE int64_t hidden_row(const Network *net, int64_t layer, int64_t unit)
{
    return net->tops[layer] - net->features + unit;
}

static Network network(const Record *record)
{
    const int64_t last = record->layers - 1, features = record->features;
    Network net = {
        .features = features, .last = last,
        .starts = record->starts, .tops = record->tops, .degrees = record->degrees,
        .blocks = record->blocks, .matrices = record->matrices,
        .residual = record->residual, .activation = record->activation,
        .map = {record->map, (real)record->bound}, .input_bound = record->input_bound,
    };
    int64_t widest = 0;
    for (int64_t layer = 1; layer < last; layer++)
        widest = units(&net, layer) > widest ? units(&net, layer) : widest;
    net.outputs = units(&net, last) / features;
    net.bottom = net.tops[last] + units(&net, last);
    net.panel = widest == 0 ? features : PANEL * features / widest;
    net.panel = net.panel < 1 ? 1 : net.panel;
    return net;
}

static Transform transform(const Record *record, int64_t k)
{
    const Tensors *of = record->tensors + k;
    return (Transform){of->order, of->bias, of->weight, of->offset};
}

static int64_t tiles(const Record *record)
{
    return (record->batch + COLUMNS - 1) / COLUMNS;
}

static Rows rows_of(const Record *record, int64_t tile)
{
    const int64_t begin = tile * COLUMNS, left = record->batch - begin;
    return (Rows){begin, left < COLUMNS ? left : COLUMNS};
}

/* Whether all orders are permutations; `met` is room for a number for each feature. */
static int orders_hold(const Record *record, int64_t *met)
{
    const int64_t features = record->features;
    for (int64_t k = 0; k < record->transforms; k++) {
        const int64_t *order = record->tensors[k].order;
        if (!order)
            continue;
        memset(met, 0, (size_t)features * sizeof(int64_t));
        for (int64_t d = 0; d < features; d++) {
            const int64_t feature = order[d];
            if (feature < 0 || feature >= features || met[feature]++)
                return 0;
        }
    }
    return 1;
}

/* Pre-activations and parameters of all transforms and tiles, or their cotangents: the hidden rows
   of all of them come first. */
INLINE real *hidden_of(const Network *net, const Record *record, void *at, int64_t k, int64_t tile)
{
    const int64_t rows = net->tops[net->last] - net->features;
    return (real *)at + (k * tiles(record) + tile) * rows * COLUMNS;
}

INLINE real *params_of(const Network *net, const Record *record, void *at, int64_t k, int64_t tile)
{
    real *first = hidden_of(net, record, at, record->transforms, 0);
    return first + (k * tiles(record) + tile) * units(net, net->last) * COLUMNS;
}

/* What goes into transform k, and what has come out of it, [batch, features]. */
INLINE const real *given_to(const Record *record, int64_t k)
{
    const int64_t size = record->batch * record->features;
    return k == 0 ? record->value : (const real *)record->steps + (k - 1) * size;
}

INLINE real *out_of(const Record *record, int64_t k)
{
    return (real *)record->steps + k * record->batch * record->features;
}

#endif
