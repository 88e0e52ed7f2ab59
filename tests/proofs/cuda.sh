#!/usr/bin/env bash
# Compiles the kernels for GPUs, for GPUs that are not here; where a package cannot be had it says so, and what needs it
# skips. Takes a Python to use. The packages lie beside the environment, not in it: with them JAX would look for a GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
jaxlib=$("$python" -c 'import jaxlib; print(jaxlib.__version__)')
nvidia="nvidia-cuda-nvrtc nvidia-nvjitlink nvidia-cuda-nvcc nvidia-nvvm"
# shellcheck disable=SC2086 # words
for packages in "$nvidia" "jax-cuda13-plugin==$jaxlib jax-cuda13-pjrt==$jaxlib"; do
  "$python" -m pip install -q --no-deps --target "$place" $packages || echo "GPU proofs: $packages cannot be had here"
done
PYTHONPATH=$place${PYTHONPATH:+:$PYTHONPATH} JAX_PLATFORMS=cpu "$python" -m pytest tests/proofs/test_cuda_*.py -rs
