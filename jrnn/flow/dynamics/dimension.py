"""In how many directions a state moves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.numerics import share_of
from jrnn.types import Array, InputError, State, ravel_state, wide_dtype
from jrnn.unrolling.checks import as_array, as_arrays, check_flags


def participation_ratio(states: State, *, mask: Array | None = None) -> Float[Array, ""]:
    """The dimension of a cloud of states: (sum_i l_i)^2 / sum_i l_i^2 with l_i the eigenvalues of their covariance.

    n where n directions vary alike and no other does, between 1 and min(N, samples - 1); computed as (tr C)^2 / |C|^2,
    without eigenvalues. It counts directions by variance: a few large ones hide many small ones. A network driven by F
    inputs may show the dimension of these. (Gao et al. 2017; Mazzucato, Fontanini, La Camera 2016.)

    Args:
      states: [..., N], or a state pytree with such leaves, h_1..h_T of `jrnn.unroll(return_states=True)` for example;
        all leading axes are samples. `jax.vmap` over an ensemble gives one number a member.
      mask: bool, the leading axes: which samples count; by default all.
    Returns:
      a scalar, float32 at least; 0 where nothing varies.
    Raises:
      InputError: leaves without a common leading shape, or not real.
    """
    leaves = jax.tree.leaves(as_arrays("states", states))
    if not leaves or any(leaf.ndim < 1 or not jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        given = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves]
        raise InputError("states", given, "real floating-point arrays [..., N]")
    flat = ravel_state(states)
    lead = flat.shape[:-1]
    counted = jnp.ones(lead, bool) if mask is None else check_flags("mask", as_array("mask", mask), lead)
    return ratio_of(flat.reshape(-1, flat.shape[-1]).astype(wide_dtype(flat.dtype)), counted.reshape(-1, 1))


@jax.jit
def ratio_of(rows: Array, counted: Array) -> Array:
    """Of samples [n, N], of those that count [n, 1]."""
    count = jnp.maximum(jnp.sum(counted), 1).astype(rows.dtype)
    mean = jnp.sum(jnp.where(counted, rows, 0), axis=0, keepdims=True) / count
    rows = jnp.where(counted, rows - mean, 0)
    size = jnp.max(jnp.abs(rows), initial=0)  # a ratio: in units of the largest, nothing over- or underflows
    rows = share_of(rows, jnp.broadcast_to(size, rows.shape))
    covariance = jnp.matmul(rows.T, rows, precision="highest") / count
    return share_of(jnp.trace(covariance) ** 2, jnp.sum(covariance**2))
