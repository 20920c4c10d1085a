/* What a kernel is given: one record of numbers and addresses. kernels/cpu/record.py writes it and
   says what each entry means; both must have the same entries in the same order. */
#ifndef INVFLOW_RECORD_H
#define INVFLOW_RECORD_H

#include <stdint.h>

_Static_assert(sizeof(void *) == 8, "addresses are written as 64-bit integers");

/* A weight matrix: the layer that it adds to, the layer that it reads, and its place among all
   weights of a transform. */
typedef struct {
    int64_t target, source, place;
} Block;

/* A piece of the gradients of a transform: a matrix (or, after the last one, the biases), the first
   unit of a panel, and whether that is a unit of the target. */
typedef struct {
    int64_t matrix, first, of_target;
} Task;

/* The tensors of one transform, of the kernel's precision. */
typedef struct {
    const int64_t *order;
    const void *bias, *weight, *offset;
} Tensors;

typedef struct {
    int64_t inverse, transforms, batch, keep;
    int64_t layers, features;
    const int64_t *starts, *tops, *degrees;
    const Block *blocks;
    int64_t matrices, residual, activation, map;
    const Tensors *tensors;
    const void *value;
    void *result, *ladj, *kept, *steps;
    const void *bar, *bar_ladj;
    void *bar_value, *bar_offsets, *bars, *gradients;
    const Task *tasks;
    int64_t pieces, shares;
    void *partial;
    int64_t sums;
    double bound, input_bound, low, high, smallest_bin;
    /* Changed by all threads, atomically: the numbers of pieces of work that are taken and done,
       and whether one could not be done. */
    int64_t taken, done, failed;
} Record;

typedef void Kernel(Record *);

/* The kernels of one variant and precision. */
typedef struct {
    Kernel *map, *pull, *gradients;
    double (*rate)(int64_t);
} Kernels;

#endif
