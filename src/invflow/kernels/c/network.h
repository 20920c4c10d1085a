/* What a record says, as the kernels use it: the network that all transforms have in common, the
   tensors of one of them, and memory laid out by tiles. kernels/README.md draws a tile and explains
   the words.

   Layer 0 holds the features, the last one the outputs, which are the parameters of the univariate
   map, feature by feature. The units of a layer are sorted by degree, and see units of the same
   degree or a lower one: features 0, 1, ... have degrees 1, 2, ..., their outputs 0, 1, ...
   (with groups of features: the number of features before the group).
   starts[layer][d] is the number of units that a sweep has computed when it reaches feature d: of
   layer 0 the features before d, of the others the units of degrees below d.

   A tile holds COLUMNS elements of the batch and has a row for each unit: the layers lie below each
   other, layer l from row tops[l] on. Memory comes in two kinds:

   - "values" have the rows of all layers but the last: what is read of the features, and
     activations.
   - "sums" and "bars" have the rows of all layers but the features, so that they begin with layer 1
     (see `computed_row`): pre-activations and parameters, and the cotangents of these. */
#ifndef INVFLOW_NETWORK_H
#define INVFLOW_NETWORK_H

#include "maps.h"
#include "record.h"

typedef struct {
    int64_t features;
    int64_t outputs;  /* of each feature */
    int64_t last;     /* layer */
    int64_t computed; /* rows: the units of all layers but the features */
    int64_t panel;    /* features in a panel of a sweep */
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

/* The rows of the batch that one tile holds. */
typedef struct {
    int64_t begin, count;
} Rows;

enum { PANEL = 32 /* units of the widest hidden layer that belong to a panel of features */ };

/* The number of a layer's units that a sweep has computed when it reaches a feature. */
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
        .input_bound = record->input_bound,
    };
    int64_t widest = 0;
    for (int64_t layer = 1; layer < last; layer++)
        widest = units(&net, layer) > widest ? units(&net, layer) : widest;
    net.outputs = units(&net, last) / features;
    net.map = (Univariate){
        record->map, (real)record->bound,
        {
            (net.outputs + 1) / 3, (real)record->low, (real)record->high,
            (real)(record->low / 2 + record->high / 2), (real)(record->high / 2 - record->low / 2),
            (real)record->smallest_bin, (real)record->bound,
        },
    };
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

/* The sums of a transform in a tile, which the forward pass has kept. */
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
