"""The kernels for NVIDIA GPUs: their sources (.cuh), the sizes they are compiled with, the compiler, the launch."""
