"""The inputs of `teacher_forced`, and the alpha that bounds a gradient, measured."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import TeacherForced, check_number
from jrnn.cells._advance import state_shapes
from jrnn.types import Array, InputError, Params, ravel_state, size_of, unravel_state, widened
from jrnn.unrolling import unroll
from jrnn.unrolling.checks import as_array, check_count

MEANS = ("largest", "geometric")


def forcing(series: Any, *, every: int | None = None, alpha: float | None = None) -> Array:
    """Inputs of `jrnn.cures.teacher_forced`: the series with a column of alpha_t.

    Args:
      series: u [T, *B, M], time-major: what is known before each step; the targets are the series one step on.
      every: alpha_t is 1 at t = 0, every, 2 every, ..., and 0 between; 1 forces always, T only at the start, which is
        free running from the first observation. Published: ln 2 / lambda_1 steps, lambda_1 the series' exponent.
      alpha: one number for every step, from 0 to 1, such as `measured_alpha`'s.
    Returns:
      [T, *B, M + 1].
    Raises:
      InputError: not exactly one of `every` and `alpha` is given, or one is out of range.
    """
    series = as_array("series", series)
    if series.ndim < 2 or not jnp.issubdtype(series.dtype, jnp.floating):
        raise InputError("series", f"{series.dtype}{list(series.shape)}", "floating-point numbers [T, *B, M]")
    if (every is None) == (alpha is None):
        raise InputError("every", f"{every} beside alpha={alpha}", "one of the two")
    times = jax.lax.broadcasted_iota(jnp.int32, (*series.shape[:-1], 1), 0)
    if every is not None:
        column = times % check_count("every", every, 1, "a number of steps, 1 or more") == 0
    elif isinstance(alpha, jax.Array):  # measured, perhaps under jit
        column = jnp.broadcast_to(alpha, times.shape)
    else:
        column = jnp.full(times.shape, check_number("alpha", alpha, lambda a: 0 <= a <= 1, "a number from 0 to 1"))
    return jnp.concatenate([series, column.astype(series.dtype)], axis=-1)


def measured_alpha(cell: TeacherForced, params: Params, xs: Any, *, mean: str = "largest") -> Array:
    """alpha = max(0, 1 - 1 / N), N the largest (or geometric mean) ||J_F|| along a batch (Hess et al. 2023).

    J_F is the bare step's derivative at the states that it reads, ||.|| the spectral norm. Where all units are
    observed, J_t = (1 - alpha) J_F has a norm of 1 at most at those states ("largest"), and so has every product of
    them; the geometric mean holds their product over the whole batch to 1, and forces less. Another alpha leads to
    other states: published, it is measured anew every 5 updates.

    Args:
      cell: from `teacher_forced`.
      xs: [T, *B, M + 1 + F] from `forcing`, with the alpha in use.
      mean: "largest" or "geometric".
    Returns:
      a scalar in [0, 1); 0 without steps.
    Raises:
      InputError: the cell is no `teacher_forced` one, or mean is neither.
    """
    if not isinstance(cell, TeacherForced):
        raise InputError("cell", type(cell).__name__, "a cell from jrnn.cures.teacher_forced")
    if mean not in MEANS:
        raise InputError("mean", repr(mean), f"one of {MEANS}")
    xs = as_array("xs", xs)
    states = unroll(cell, params, xs, return_states=True).states
    if not xs.size:
        return jnp.zeros((), widened(ravel_state(states)).dtype)
    read = cell.forced(jax.tree.map(lambda h: h[:-1], states), xs)
    like = state_shapes(cell, params)
    rest = xs.reshape(size_of(xs.shape[:-1]), xs.shape[-1])
    flat = ravel_state(read, xs.ndim - 1).reshape(len(rest), -1)

    def norm(h: Array, x: Array) -> Array:
        step = lambda h: ravel_state(cell.cell.step(params, unravel_state(h, like), cell.rest(x)), 0)  # noqa: E731
        return jnp.linalg.norm(widened(jax.jacfwd(step)(h)), 2)

    logs = jnp.log(jax.vmap(norm)(flat, rest))
    size = jnp.exp(jnp.max(logs) if mean == "largest" else jnp.mean(logs))
    return jnp.maximum(0, 1 - 1 / size)
