"""The compiled sweeps for the CPU, in Numba: each thread runs them over tiles of the batch."""
