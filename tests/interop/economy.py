"""What keeps these tests cheap: programs compiled once, and data and parameters drawn by NumPy (a draw by JAX is a
program to compile for every shape)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

# halves the time to compile; later versions have no such choice
OPTIONS = {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else None
jit = partial(jax.jit, compiler_options=OPTIONS)


def drawn(shape, seed=0, dtype=np.float64):
    """Standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def filled(shapes, seed=0):
    """Random arrays, none like another, of the shapes and dtypes of a pytree; random states are those of seed 0."""
    leaves, structure = jax.tree.flatten(shapes)
    return jax.tree.unflatten(structure, [one_filled(leaf, seed + i) for i, leaf in enumerate(leaves)])


def one_filled(leaf, seed):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    return jnp.asarray(0.5 * drawn(leaf.shape, seed), leaf.dtype)


def module_of(make, seed=0):
    """The nnx module that `make(rngs)` makes, with other numbers."""
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    return nnx.merge(graphdef, filled(shapes, seed))


def variables_of(module, *args, seed=0):
    """Variables of a linen module, with other numbers than `module.init` draws."""
    return filled(jax.eval_shape(module.init, jax.random.key(0), *args), seed)


def params_of(cell, input_size, seed=0):
    """Parameters of a jrnn cell, with other numbers than `cell.init` draws."""
    return filled(jax.eval_shape(lambda key: cell.init(key, input_size), jax.random.key(0)), seed)
