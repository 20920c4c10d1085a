/* What the library exports: the kernels of the best variant that the processor can run.

   VARIANTS lists those that are compiled in, as VARIANT(name) each. */

#include <stdlib.h>
#include <string.h>

#include "record.h"

#define EXPORT __attribute__((visibility("default")))

#define VARIANT(name) extern const Kernels invflow_##name##_f32, invflow_##name##_f64;
VARIANTS
#undef VARIANT

typedef struct {
    const char *name;
    const Kernels *f32, *f64;
} Variant;

#define VARIANT(name) {#name, &invflow_##name##_f32, &invflow_##name##_f64},
static const Variant variants[] = {VARIANTS}; /* the best one first */
#undef VARIANT

/* Whether this processor has a variant's instructions. */
static int runs(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(name, "avx2"))
        return avx2;
    if (!strcmp(name, "avx512"))
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    return 0;
#else
    return !strcmp(name, "neon");
#endif
}

/* The variant to use: the requested one, or the best one; null for none. */
static const Variant *chosen(void)
{
    const char *wanted = getenv("INVFLOW_KERNELS");
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const int fits = !wanted || !*wanted || !strcmp(wanted, variants[i].name);
        if (fits && runs(variants[i].name))
            return variants + i;
    }
    return 0;
}

/* The size of a record, by which its writer can see that they mean the same. */
EXPORT int64_t invflow_abi(void)
{
    return sizeof(Record);
}

/* The name of the variant, null where this processor can run none, or not the requested one. */
EXPORT const char *invflow_variant(void)
{
    const Variant *variant = chosen();
    return variant ? variant->name : 0;
}

/* The kernels of the variant for numbers of some bits, null where there is none. */
EXPORT const Kernels *invflow_kernels(int64_t bits)
{
    const Variant *variant = chosen();
    if (!variant)
        return 0;
    return bits == 32 ? variant->f32 : bits == 64 ? variant->f64 : 0;
}
