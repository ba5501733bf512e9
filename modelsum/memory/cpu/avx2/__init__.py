"""The kernels that oneDNN has for convolutions in float32 with AVX2: which it takes, and their memory."""
