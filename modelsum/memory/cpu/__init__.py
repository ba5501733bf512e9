"""Memory that kernels allocate inside themselves on the CPU, a rule an op."""
