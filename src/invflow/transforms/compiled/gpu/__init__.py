"""The compiled sweeps for CUDA, in Triton: each program runs them over some columns of the batch."""
