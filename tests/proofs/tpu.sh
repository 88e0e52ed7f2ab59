#!/usr/bin/env bash
# Compiles the TPU kernels for TPUs that are not here; where libtpu cannot be had it says so. Takes a Python to use.
# libtpu lies beside the environment, not in it: with it JAX would look for a TPU in every program.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:-.venv/bin/python}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
wheel=$("$python" -m tests.proofs.tpu --wheel)
if "$python" -m pip install -q --no-deps --target "$place" "$wheel"; then
  PYTHONPATH=$place${PYTHONPATH:+:$PYTHONPATH} "$python" -m tests.proofs.tpu
else
  echo "TPU proofs skipped: $wheel cannot be installed here"
fi
