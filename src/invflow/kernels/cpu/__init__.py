"""The kernels of the CPU: the C library, and the tensors that it reads and writes."""
