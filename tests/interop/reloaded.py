"""A program for a process of its own: runs every program exported into a folder; jrnn is not there."""

import sys
from pathlib import Path

import jax
import numpy as np
from jax import export

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
for path in Path(sys.argv[1]).glob("*.exported"):
    program = export.deserialize(bytearray(path.read_bytes()))
    with np.load(path.with_suffix(".given.npz")) as given:
        arguments = [given[f"arr_{i}"] for i in range(len(given))]
    positional, named = jax.tree.unflatten(program.in_tree, arguments)
    results = program.call(*positional, **named)
    np.savez(path.with_suffix(".made.npz"), *jax.tree.leaves(results))
assert "jrnn" not in sys.modules
