/* What a record says, as the kernels use it: the network that all transforms have in common, the
   tensors of one of them, and memory laid out by tiles.

   Layer 0 holds the features, the last one the outputs. Units are sorted by degree, and
   starts[layer][d] of a layer's units are known when all features before d are, those of degree d
   not counted. A tile holds a row for each unit: the layers lie below each other, layer l from row
   tops[l] on. Where only what is computed is held, rows begin with layer 1. */
#ifndef INVFLOW_NETWORK_H
#define INVFLOW_NETWORK_H

#include "maps.h"
#include "record.h"

typedef struct {
    int64_t features, outputs, last, computed, panel;
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

/* The row of a layer's unit among those that are computed. */
INLINE int64_t computed_row(const Network *net, int64_t layer, int64_t unit)
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
    net.computed = net.tops[last] - features + units(&net, last);
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

/* Pre-activations and parameters of a transform in a tile. */
INLINE real *kept_at(const Network *net, const Record *record, int64_t k, int64_t tile)
{
    return (real *)record->kept + (k * tiles(record) + tile) * net->computed * COLUMNS;
}

/* The features in a tile after k transforms, in the order of the batch. */
INLINE real *step(const Record *record, int64_t k, int64_t tile)
{
    return (real *)record->steps + (k * tiles(record) + tile) * record->features * COLUMNS;
}

/* What was z of transform k, in a tile. */
INLINE const real *noise_of(const Record *record, int64_t k, int64_t tile)
{
    return step(record, record->inverse ? k + 1 : k, tile);
}

#endif
