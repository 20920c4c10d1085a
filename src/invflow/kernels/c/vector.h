/* Numbers in registers: the vector types of GCC and Clang, of the widest registers of a variant.

   REAL is the precision, float or double. A tile has rows of ROW bytes, which are COLUMNS elements
   of the batch, or STRIPS registers. */
#ifndef INVFLOW_VECTOR_H
#define INVFLOW_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define REGISTER 64 /* bytes of a register */
#define WIDE 4      /* registers across a group of six rows: the most of which 32 hold all sums */
#elif defined(__AVX2__)
#define REGISTER 32
#define WIDE 2 /* the same for 16 */
#else
#define REGISTER 16
#define WIDE 4
#endif

typedef REAL real;
enum {
    ROW = 256,
    COLUMNS = ROW / sizeof(real),
    LANES = REGISTER / sizeof(real),
    STRIPS = ROW / REGISTER
};

/* Aligned like single numbers, as tensors may begin anywhere, and allowed to alias them. */
typedef real Vector __attribute__((vector_size(REGISTER), aligned(sizeof(real)), may_alias));
#if REAL_BITS == 32
typedef int32_t integer;
typedef uint32_t natural;
#else
typedef int64_t integer;
typedef uint64_t natural;
#endif
typedef integer Mask __attribute__((vector_size(REGISTER), aligned(sizeof(real)), may_alias));
typedef natural Bits __attribute__((vector_size(REGISTER), aligned(sizeof(real)), may_alias));

/* Unroll the loop that follows completely, so that its arrays stay in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define INLINE static inline __attribute__((always_inline))
#define EACH_STRIP for (int c = 0; c < COLUMNS; c += LANES)

INLINE Vector load(const real *from)
{
    return *(const Vector *)from;
}

INLINE void store(real *to, Vector value)
{
    *(Vector *)to = value;
}

INLINE Vector spread(real number)
{
    return number - (Vector){0}; /* compilers drop this; adding 0 would change -0 */
}

INLINE Vector choose(Mask which, Vector yes, Vector no)
{
    return (Vector)((which & (Mask)yes) | (~which & (Mask)no));
}

INLINE Vector magnitude(Vector x)
{
    const integer sign = (integer)((uint64_t)1 << (8 * sizeof(real) - 1));
    return (Vector)((Mask)x & ~((Mask){0} + sign));
}

INLINE Vector square_root(Vector x)
{
    real numbers[LANES];
    memcpy(numbers, &x, REGISTER);
    UNROLL
    for (int i = 0; i < LANES; i++)
        numbers[i] = REAL_BITS == 32 ? (real)__builtin_sqrtf((float)numbers[i])
                                     : (real)__builtin_sqrt(numbers[i]);
    memcpy(&x, numbers, REGISTER);
    return x;
}

/* The sum of a register's numbers, always in the same order. */
INLINE real sum(Vector x)
{
    typedef real Quarter __attribute__((vector_size(16)));
    Quarter parts[REGISTER / 16];
    memcpy(parts, &x, REGISTER);
    for (int i = 1; i < REGISTER / 16; i++)
        parts[0] += parts[i];
    real whole = parts[0][0];
    for (int lane = 1; lane < 16 / (int)sizeof(real); lane++)
        whole += parts[0][lane];
    return whole;
}

/* Add numbers to others. */
INLINE void add_numbers(real *to, const real *from, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        store(to + i, load(to + i) + load(from + i));
    for (; i < count; i++)
        to[i] += from[i];
}

INLINE int any(Mask which)
{
    uint64_t parts[REGISTER / 8], found = 0;
    memcpy(parts, &which, REGISTER);
    for (int i = 0; i < REGISTER / 8; i++)
        found |= parts[i];
    return found != 0;
}

#endif
