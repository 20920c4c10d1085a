/* Exponentials and what is made of them, a register at a time, correct to a few roundings.

   x = n log 2 + r with an integer n and the smallest r; e^x = 2^n e^r, and e^r - 1 is a polynomial
   in r: the Taylor series, with as many terms as the precision can hold. */
#ifndef INVFLOW_ELEMENTARY_H
#define INVFLOW_ELEMENTARY_H

#include "vector.h"

#if REAL_BITS == 32
#define MAGIC 12582912.0f /* 1.5 * 2^23: added to a smaller number, it leaves the nearest integer */
#define LOW -87.3f
#define HIGH 88.3f
#define SMALLEST 1.17549435e-38f /* normal number */
#define LOG2_HIGH 0.693359375f /* multiples of it are exact; with the next, it is log 2 */
#define LOG2_LOW -2.12194440e-4f
enum { EXPONENT = 23, BIAS = 127, TERMS = 8, ATANH_TERMS = 8, LOG_TERMS = 6 };
#else
#define MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
#define LOW -708.0
#define HIGH 709.0
#define SMALLEST 2.2250738585072014e-308
#define LOG2_HIGH 0.6931471803691238
#define LOG2_LOW 1.9082149292705877e-10
enum { EXPONENT = 52, BIAS = 1023, TERMS = 14, ATANH_TERMS = 17, LOG_TERMS = 11 };
#endif

static const real FACTORIALS[] = {
    1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320,
    1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
};

/* 2^n, and e^r - 1; x is clamped to where neither 2^n nor its inverse overflows. */
typedef struct {
    Vector scale, rest;
} Powers;

INLINE Powers powers(Vector x)
{
    x = choose(x < (real)LOW, spread(LOW), x);
    x = choose(x > (real)HIGH, spread(HIGH), x);
    const Vector shifted = x * (real)1.4426950408889634 + (real)MAGIC;
    const Vector n = shifted - (real)MAGIC;
    const Vector r = (x - n * (real)LOG2_HIGH) - n * (real)LOG2_LOW;
    Vector series = spread(FACTORIALS[TERMS - 1]);
    UNROLL
    for (int k = TERMS - 2; k > 1; k--)
        series = series * r + FACTORIALS[k];
    const Bits bits = ((Bits)shifted + BIAS) << EXPONENT;
    return (Powers){(Vector)bits, r * r * series + r};
}

/* e^x; infinity or zero where it or its inverse would overflow. */
INLINE Vector exponential(Vector x)
{
    const Powers p = powers(x);
    Vector value = p.scale * p.rest + p.scale;
    value = choose(x > (real)HIGH, spread((real)__builtin_inf()), value);
    return choose(x < (real)LOW, spread(0), value);
}

/* e^x - 1, as accurate near zero; finite, as x is clamped. */
INLINE Vector exponential_less_one(Vector x)
{
    const Powers p = powers(x);
    return p.scale * p.rest + (p.scale - 1);
}

INLINE Vector hyperbolic_tangent(Vector x)
{
    const Vector e = exponential_less_one(x + x);
    return e / (e + 2);
}

INLINE Vector logistic(Vector x)
{
    const Powers p = powers(-x);
    return 1 / (1 + (p.scale * p.rest + p.scale));
}

/* log(1 + e) for e from 0 to 1: 2 artanh(e / (2 + e)), whose terms are all positive. */
INLINE Vector log_of_one_and(Vector e)
{
    const Vector t = e / (e + 2), square = t * t;
    Vector series = spread((real)1 / (2 * ATANH_TERMS - 1));
    UNROLL
    for (int k = ATANH_TERMS - 2; k >= 0; k--)
        series = series * square + (real)1 / (2 * k + 1);
    return 2 * t * series;
}

/* log x for x > 0: n log 2 + 2 artanh((m - 1) / (m + 1)), where x = 2^n m with an integer n and m
   from sqrt(1/2) to sqrt(2); minus infinity below the smallest normal number. */
INLINE Vector logarithm(Vector x)
{
    const real smallest_m = (real)0.70710678118654752;
    natural offset, magic;
    const real magic_ = (real)MAGIC;
    memcpy(&offset, &smallest_m, sizeof(real));
    memcpy(&magic, &magic_, sizeof(real));
    const Mask whole = (Mask)((Bits)x - offset) >> EXPONENT;
    const Vector n = (Vector)((Bits)whole + magic) - (real)MAGIC;
    const Vector m = (Vector)((Bits)x - ((Bits)whole << EXPONENT));
    const Vector t = (m - 1) / (m + 1), square = t * t;
    Vector series = spread((real)1 / (2 * LOG_TERMS - 1));
    UNROLL
    for (int k = LOG_TERMS - 2; k > 0; k--)
        series = series * square + (real)1 / (2 * k + 1);
    const Vector rest = 2 * t * square * series + n * (real)LOG2_LOW;
    Vector value = n * (real)LOG2_HIGH + (2 * t + rest);
    value = choose(x < (real)SMALLEST, spread(-(real)__builtin_inf()), value);
    return choose(x < (real)__builtin_inf(), value, x);
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|). */
INLINE Vector softplus(Vector x)
{
    return choose(x > 0, x, spread(0)) + log_of_one_and(exponential(-magnitude(x)));
}

#endif
