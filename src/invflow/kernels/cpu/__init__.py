"""The CPU kernels: the C library, and the tensors that it reads and writes."""
