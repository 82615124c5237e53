"""Fast kernels for MLX's CPU device, built with LLVM at the user's.

The only importer of llvmlite. Knows MLX arrays and modules, no ranks and no sequences. Nothing here
is imported on a GPU.
"""
