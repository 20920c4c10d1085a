"""The kernels for the CPU, in Numba: each thread takes tiles of a batch through all transforms."""
