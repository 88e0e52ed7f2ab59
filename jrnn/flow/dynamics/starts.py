"""States to search from: those that a network visits, and others near them."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import check_key, jit_by_cell
from jrnn.types import Array, InputError, Inputs, Params, State, number_of
from jrnn.unrolling import Options, read, run
from jrnn.unrolling.checks import check_causal, check_count


def sample_states(
    cell: Any,
    params: Params,
    xs: Inputs,
    count: int,
    *,
    key: Array,
    noise: float = 0.0,
    initial_state: State | None = None,
    length: int | None = None,
    lengths: Any = None,
    mask: Any = None,
) -> State:
    """`count` states h_1..h_T drawn at random, with replacement, from runs of a network: starts for `fixed_points`.

    Args:
      cell, params, xs, initial_state, length, lengths, mask: as for `jrnn.unroll`; only steps that happened are drawn.
      count: S, a positive integer.
      key: a PRNG key.
      noise: the deviation of normal noise added to each component, in units of its own deviation over what was drawn; 0
        adds none. Points off the trajectories, saddles above all, are found from starts with .5 to 1.
    Returns:
      a state with leaves [S, ...].
    Raises:
      InputError: there is no step to draw from, a number is out of its range, or as `unroll`.
    """
    check_causal(cell)
    check_key(key)
    count = check_count("count", count, 1, "a positive number of states")
    if not 0 <= number_of(noise) < float("inf"):
        raise InputError("noise", repr(noise), "a deviation of 0 or more, in units of each component's own")
    given = {"initial_state": initial_state, "length": length, "lengths": lengths, "mask": mask}
    xs, options = read(cell, params, xs, **given, return_states=True)
    if options.steps and 0 not in options.batch_shape:
        drawn, there = draw(cell, count, params, xs, options, key, jnp.asarray(float(noise)))
        if there:
            return drawn
    raise InputError("xs", "no step that happened", "at least one, to draw states from")


@partial(jit_by_cell, static_argnums=(0, 1))
def draw(
    cell: Any, count: int, params: Params, xs: Inputs, options: Options, key: Array, noise: Array
) -> tuple[State, Array]:
    """(the states, whether there were any)."""
    unrolled = run(cell, params, xs, options)
    visited = jax.tree.map(lambda h: h[:-1] if options.reverse else h[1:], unrolled.states)
    happened = unrolled.mask.reshape(-1)
    of_index, of_noise = jax.random.split(key)
    ends = jnp.cumsum(happened.astype(jnp.int32))
    at = jax.random.randint(of_index, (count,), 0, jnp.maximum(ends[-1], 1), jnp.int32)
    index = jnp.searchsorted(ends, at, side="right")

    def one(leaf: Array, key: Array) -> Array:
        rows = leaf.reshape(happened.size, *leaf.shape[unrolled.mask.ndim :])[index]
        size = noise.astype(rows.dtype) * jnp.std(rows, axis=0, keepdims=True)
        return rows + size * jax.random.normal(key, rows.shape, rows.dtype)

    leaves, treedef = jax.tree.flatten(visited)
    keys = jax.random.split(of_noise, len(leaves))
    return treedef.unflatten([one(leaf, key) for leaf, key in zip(leaves, keys, strict=True)]), ends[-1] > 0
