"""The machine that the rules for CPU kernels were measured on: x86 with AVX-512, two threads."""

BLOCK = 16  # channels that oneDNN keeps together: a vector of float32
THREADS = 2
