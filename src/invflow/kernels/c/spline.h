/* A monotone rational-quadratic spline on an interval, the identity outside; its inverse, and the
   gradients of both, of a register of one feature. The formulas of a bin and of its inverse are at
   the top of univariate/rational_quadratic.py.

   In a bin with lower corner (X, Y), width w and height t, let s = t / w, p = (z - X) / w be the
   fraction of the width, q = 1 - p, r0 and r1 the slopes at both knots over s,

   T = p (p + r0 q), U = q (q + r1 p), S = r1 p^2 + 2 p q + r0 q^2, V = T + U:

   x = Y + t T / V, l = log s + log S - 2 log V. With cotangents a of x and b of l:

   p' = a t S / V^2 + b E, where E = 2 (r1 p - r0 q + q - p) / S - 2 (q - p) (r0 + r1 - 2) / V,
   r0' = a t p q U / V^2 + b (q^2 / S - 2 p q / V),
   r1' = -a t p q T / V^2 + b (p^2 / S - 2 p q / V),
   w' = (r0' r0 + r1' r1 - p' p - b) / w, t' = a T / V + (b - r0' r0 - r1' r1) / t,
   z' = p' / w, X' = -p' / w, Y' = a.

   A position is the sum of the sizes of all bins below. For the inverse, with cotangents g of z and
   h of its log-derivative: x' = (g - h E / w) / (s S / V^2), and the parameters get what the
   spline's would with a = -x' and b = -h; then p' = -g w.

   Parameters, a row each: logits of the widths, logits of the heights, the log-slopes inside. */
#ifndef INVFLOW_SPLINE_H
#define INVFLOW_SPLINE_H

#include "elementary.h"

enum { MOST_BINS = 32 };

typedef struct {
    int64_t bins;
    real low, high;    /* ends of the interval */
    real middle, half; /* its middle, and half its length */
    real smallest_bin; /* relative to bins of equal size */
    real bound;        /* of log-slopes */
} Spline;

/* What fraction of the interval each bin takes, but for the smallest size. */
typedef struct {
    Vector of_width[MOST_BINS], of_height[MOST_BINS];
} Shares;

/* The bin that a point lies in. */
typedef struct {
    Mask number;
    Vector x, y, width, height;
    Vector tanh0, tanh1; /* of its log-slopes, over their bound */
    Vector r0, r1;       /* slopes at both knots, over the bin's */
} Bin;

INLINE void write_shares(Vector *shares, const real *logits, int64_t bins)
{
    Vector most = load(logits), whole = spread(0);
    for (int64_t j = 1; j < bins; j++) {
        const Vector logit = load(logits + j * COLUMNS);
        most = choose(logit > most, logit, most);
    }
    for (int64_t j = 0; j < bins; j++) {
        shares[j] = exponential(load(logits + j * COLUMNS) - most);
        whole += shares[j];
    }
    for (int64_t j = 0; j < bins; j++)
        shares[j] /= whole;
}

/* Find the bin of points between the ends, relative to the middle, along x or along y. */
INLINE Bin find(const Spline *of, const Shares *shares, const real *raw, Vector point, int along_y)
{
    const real scale = 1 - of->smallest_bin, least = of->smallest_bin / (real)of->bins;
    const real half = of->half;
    const Vector zero = spread(0);
    Vector x = spread(-half), y = x, slope = zero, to_x = zero, to_y = zero;
    Vector x1 = x, y1 = y, slope0 = zero, slope1 = zero;
    Bin bin = {.number = (Mask){0} - 1, .x = x, .y = y};
    for (int64_t j = 0; j < of->bins; j++) {
        Vector next_x = spread(half), next_y = next_x, next_slope = zero;
        if (j + 1 < of->bins) {
            to_x += shares->of_width[j] * scale + least;
            to_y += shares->of_height[j] * scale + least;
            next_x = (to_x * 2 - 1) * half;
            next_y = (to_y * 2 - 1) * half;
            next_slope = load(raw + j * COLUMNS);
        }
        const Mask above = along_y ? point >= y : point >= x;
        bin.number -= above;
        bin.x = choose(above, x, bin.x);
        bin.y = choose(above, y, bin.y);
        x1 = choose(above, next_x, x1);
        y1 = choose(above, next_y, y1);
        slope0 = choose(above, slope, slope0);
        slope1 = choose(above, next_slope, slope1);
        x = next_x, y = next_y, slope = next_slope;
    }
    bin.width = x1 - bin.x;
    bin.height = y1 - bin.y;
    bin.tanh0 = hyperbolic_tangent(slope0 / of->bound);
    bin.tanh1 = hyperbolic_tangent(slope1 / of->bound);
    const Vector over = bin.width / bin.height;
    bin.r0 = exponential(of->bound * bin.tanh0) * over;
    bin.r1 = exponential(of->bound * bin.tanh1) * over;
    return bin;
}

/* The bin of values along x or along y, which are replaced by points relative to the middle, moved
   to an end where they lie beyond it. */
INLINE Bin bin_of(
    const Spline *of, Shares *shares, const real *params, Vector *value, int along_y)
{
    const real *heights = params + of->bins * COLUMNS;
    const Vector low = spread(-of->half), high = spread(of->half), centred = *value - of->middle;
    write_shares(shares->of_width, params, of->bins);
    write_shares(shares->of_height, heights, of->bins);
    *value = choose(centred < low, low, choose(centred > high, high, centred));
    return find(of, shares, heights + of->bins * COLUMNS, *value, along_y);
}

/* Where the spline is not the identity. */
INLINE Mask within(const Spline *of, Vector value)
{
    return (value > of->low) & (value < of->high);
}

/* T, U, S and V of the formulas above. */
typedef struct {
    Vector p, q, t, u, s, v;
} Terms;

INLINE Terms terms(const Bin *bin, Vector p)
{
    const Vector q = 1 - p, t = p * (p + bin->r0 * q), u = q * (q + bin->r1 * p);
    return (Terms){p, q, t, u, bin->r1 * p * p + 2 * p * q + bin->r0 * q * q, t + u};
}

INLINE Vector log_slope(const Bin *bin, Terms at)
{
    return logarithm(bin->height / bin->width * at.s / (at.v * at.v));
}

/* Where z lies, and what its gradient needs. */
typedef struct {
    Mask inside;
    Shares shares;
    Bin bin;
    Terms at;
} Place;

INLINE void find_place(const Spline *of, const real *params, Vector z, Place *place)
{
    place->inside = within(of, z);
    place->bin = bin_of(of, &place->shares, params, &z, 0);
    place->at = terms(&place->bin, (z - place->bin.x) / place->bin.width);
}

INLINE void apply_spline(const Spline *of, real *row, const real *params, real *ladj)
{
    const Vector z = load(row);
    Place place;
    find_place(of, params, z, &place);
    const Vector share = place.at.t / place.at.v;
    const Vector x = place.bin.y + place.bin.height * share + of->middle;
    store(row, choose(place.inside, x, z));
    store(ladj, load(ladj) + choose(place.inside, log_slope(&place.bin, place.at), spread(0)));
}

INLINE void solve_spline(const Spline *of, real *row, const real *params, real *ladj)
{
    const Vector x = load(row);
    const Mask inside = within(of, x);
    Shares shares;
    Vector point = x;
    const Bin bin = bin_of(of, &shares, params, &point, 1);
    const Vector share = (point - bin.y) / bin.height, rest = 1 - share;
    const Vector b = bin.r0 * rest - bin.r1 * share;
    const Vector root = magnitude(b) + square_root(b * b + 4 * share * rest);
    const Vector above = choose(b >= 0, 2 * share, root), below = choose(b >= 0, root, 2 * rest);
    const Terms at = terms(&bin, above / (above + below));
    store(row, choose(inside, bin.x + bin.width * at.p + of->middle, x));
    store(ladj, load(ladj) - choose(inside, log_slope(&bin, at), spread(0)));
}

/* t S / V^2 of the formulas above. */
INLINE Vector value_by_fraction(const Bin *bin, Terms at)
{
    return bin->height * at.s / (at.v * at.v);
}

/* E of the formulas above. */
INLINE Vector log_slope_by_fraction(const Bin *bin, Terms at)
{
    const Vector more = at.q - at.p;
    return 2 * (bin->r1 * at.p - bin->r0 * at.q + more) / at.s
        - 2 * more * (bin->r0 + bin->r1 - 2) / at.v;
}

/* Write the cotangents of logits: for those of a position in the bin, and of the bin's size. */
INLINE void pull_shares(
    const Spline *of, const Vector *shares, const Bin *bin, Vector position, Vector size,
    Mask inside, real *bar)
{
    const real scale = 2 * of->half * (1 - of->smallest_bin);
    position = choose(inside, position * scale, spread(0));
    size = choose(inside, size * scale, spread(0));
    Vector mean = spread(0);
    for (int64_t j = 0; j < of->bins; j++) {
        const integer number = (integer)j;
        const Vector own = choose(bin->number == number, size, spread(0));
        mean += shares[j] * choose(bin->number > number, position, own);
    }
    for (int64_t j = 0; j < of->bins; j++) {
        const integer number = (integer)j;
        const Vector own = choose(bin->number == number, size, spread(0));
        store(bar + j * COLUMNS, shares[j] * (choose(bin->number > number, position, own) - mean));
    }
}

/* Write the cotangents of the parameters: a, b and p' of the formulas above. */
INLINE void pull_params(
    const Spline *of, const Place *place, Vector a, Vector b, Vector by_p, real *bar)
{
    const Bin *bin = &place->bin;
    const Terms at = place->at;
    const Mask inside = place->inside;
    const Vector pq = at.p * at.q, over = 1 / at.v, flat = 2 * pq * over;
    const Vector bend = a * bin->height * pq * over * over;
    const Vector r0 = (bend * at.u + b * (at.q * at.q / at.s - flat)) * bin->r0;
    const Vector r1 = (b * (at.p * at.p / at.s - flat) - bend * at.t) * bin->r1;
    const Vector width = (r0 + r1 - by_p * at.p - b) / bin->width;
    const Vector height = a * at.t * over + (b - r0 - r1) / bin->height;
    const Vector slope0 = choose(inside, r0 - r0 * (bin->tanh0 * bin->tanh0), spread(0));
    const Vector slope1 = choose(inside, r1 - r1 * (bin->tanh1 * bin->tanh1), spread(0));
    pull_shares(of, place->shares.of_width, bin, -by_p / bin->width, width, inside, bar);
    bar += of->bins * COLUMNS;
    pull_shares(of, place->shares.of_height, bin, a, height, inside, bar);
    bar += of->bins * COLUMNS;
    for (int64_t j = 0; j + 1 < of->bins; j++) {
        const Mask below = bin->number == (integer)j, above = bin->number == (integer)(j + 1);
        store(bar + j * COLUMNS, choose(below, slope1, choose(above, slope0, spread(0))));
    }
}

INLINE void pull_apply_spline(
    const Spline *of, real *row, const real *z, const real *params, real *bar_params,
    const real *bar_ladj)
{
    const Vector g = load(row), h = load(bar_ladj);
    Place place;
    find_place(of, params, load(z), &place);
    const Vector by_x = value_by_fraction(&place.bin, place.at);
    const Vector by_p = g * by_x + h * log_slope_by_fraction(&place.bin, place.at);
    store(row, choose(place.inside, by_p / place.bin.width, g));
    pull_params(of, &place, g, h, by_p, bar_params);
}

INLINE void pull_solve_spline(
    const Spline *of, real *row, const real *z, const real *params, real *bar_params,
    const real *bar_ladj)
{
    const Vector g = load(row), h = load(bar_ladj);
    Place place;
    find_place(of, params, load(z), &place);
    const Vector by_x = value_by_fraction(&place.bin, place.at);
    const Vector by_l = log_slope_by_fraction(&place.bin, place.at), by_p = g * place.bin.width;
    const Vector bar = (by_p - h * by_l) / by_x;
    store(row, choose(place.inside, bar, g));
    pull_params(of, &place, -bar, -h, -by_p, bar_params);
}

#endif
