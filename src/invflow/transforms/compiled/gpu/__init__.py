"""The compiled sweeps for CUDA, in Triton: each program takes some columns of the batch."""
