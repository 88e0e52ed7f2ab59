"""Fixed and slow points of h -> F(h, x): a least-squares search from each start, then what came together is one."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jrnn.cells import jit_by_cell
from jrnn.cells._advance import flat_state, prepared, state_shapes
from jrnn.cells._mixed_precision import in_wide
from jrnn.flow.dynamics.levenberg import Descent, descend
from jrnn.flow.dynamics.result import FixedPoints
from jrnn.flow.jacobian.steps import has_closed_form, has_forward_mode
from jrnn.types import (
    Array,
    InputError,
    Inputs,
    Params,
    State,
    number_of,
    ravel_state,
    unravel_state,
    wide_dtype,
    widened,
)
from jrnn.unrolling.checks import as_array, as_arrays, check_causal, check_count, check_leaves
from jrnn.unrolling.states import batch_of, check_given, check_real

TOGETHER = 2**24
"""Numbers in the Jacobians of the starts that are searched from at once."""


def fixed_points(
    cell: Any,
    params: Params,
    x: Inputs,
    starts: State,
    *,
    tolerance: float | None = None,
    unique: float = 1e-3,
    iterations: int = 300,
) -> FixedPoints:
    """The states where a network rests, or moves slowly, under a constant input: F(h, x) = h (Sussillo, Barak 2013).

    From each start the speed q(h) = |F(h, x) - h|^2 / 2 is brought to a local minimum by Levenberg's and Marquardt's
    method, all starts in one program. A minimum at 0 is a fixed point, stable or not; one above 0 is a slow point, near
    which the state lingers. At each, the eigenvalues of dF/dh say what happens nearby. Points are found from where you
    look: start from states that the network visits (`sample_states`), and from more of them until no new point appears.
    The cell runs without noise. For the host: how many points there are depends on the numbers.

    Args:
      cell: any cell that steps: jrnn's, a stack, one of your own functions, a foreign one; the whole state counts.
      params: its parameters; 16-bit ones are taken as float32, and so is the arithmetic of `mixed_precision`.
      x: one input [F], the same at all times; None for an autonomous cell. Search anew for each input of interest.
      starts: S states, leaves [S, ...]; or [S, N] flattened as by `jrnn.ravel_state`.
      tolerance: a point is fixed if no component moves further than tolerance (1 + max |h|) in a step; what converges
        does so to rounding all the same. By default eps^(2/3): 2.4e-5 in float32, 3.7e-11 in float64. Raise it where a
        gate that is nearly shut holds the state almost anywhere.
      unique: points whose root-mean-square distance a component is at most this are one, the slower of them. Make it
        smaller where fixed points lie close; a line attractor gives as many points as fit on it at this distance.
      iterations: the most steps of a search. A start that has found no minimum by then is counted as unfinished.
    Returns:
      `FixedPoints`: fixed ones first, those that most starts went to first among them.
    Raises:
      InputError: x has axes of time or batch, starts are not states of the cell, S = 0, a number is out of its range.
    """
    check_causal(cell)
    check_leaves("params", params)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((params, x, starts))):
        raise InputError("starts", "values under a trace", "known values: how many points there are depends on them")
    cell = in_wide(cell)
    params, x = jax.tree.map(_wide, params), jax.tree.map(_wide, as_arrays("x", x))
    if x is not None and batch_of(cell, params, x, None, None, time_axes=0):
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(x)]
        raise InputError("x", f"shapes {shapes}", "one input [F], without axes of time or batch")
    iterations = check_count("iterations", iterations, 1, "a positive number of steps")
    eps = float(jnp.finfo(flat_state(cell, params).dtype).eps)
    limit = number_of(eps ** (2 / 3) if tolerance is None else tolerance)
    if not 0 < limit < np.inf:
        raise InputError("tolerance", repr(tolerance), "a positive number")
    apart = number_of(unique)
    if not 0 <= apart < np.inf:
        raise InputError("unique", repr(unique), "a distance, 0 or more")
    flat = flattened(cell, params, starts)
    one = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state_shapes(cell, params))
    rule = "closed" if has_closed_form(cell) else "forward" if has_forward_mode(cell, params, x, one) else "reverse"
    found = jax.tree.map(np.asarray, searched(cell, (rule, limit, iterations), params, x, flat))
    first, of_start = together(found.h, found.speed, found.done, apart * flat.shape[1] ** 0.5)

    several = np.resize(first, 2 ** int(np.ceil(np.log2(max(len(first), 8)))))  # so that few programs are compiled
    J, moved = (np.asarray(a)[: len(first)] for a in linearised(cell, rule, params, x, jnp.asarray(found.h[several])))
    fixed = np.abs(moved).max(1, initial=0) <= limit * (1 + np.abs(found.h[first]).max(1, initial=0))
    order = np.lexsort((-np.bincount(of_start[of_start >= 0], minlength=len(first)), ~fixed))
    points, place = found.h[first[order]], np.append(np.argsort(order), -1)
    states = jax.vmap(lambda row: unravel_state(row, state_shapes(cell, params)))(jnp.asarray(points))
    near = [np.sqrt(np.mean((np.asarray(flat) - point) ** 2, axis=1)).min() for point in points]
    return FixedPoints(
        jax.tree.map(np.asarray, states), points, found.speed[first[order]], fixed[order], J[order],
        sorted_eigenvalues(J[order]), np.array(near, points.dtype), place[of_start], found.steps,
    )  # fmt: skip


def sorted_eigenvalues(J: np.ndarray) -> np.ndarray:
    """[P, N] of [P, N, N], the largest first; NaN where J is not finite."""
    known = np.isfinite(J).all((1, 2))
    values = np.full(J.shape[:2], np.nan, np.complex128)
    values[known] = np.linalg.eigvals(J[known].astype(np.float64))
    return np.take_along_axis(values, np.argsort(-np.abs(values), axis=1, kind="stable"), axis=1)


def _wide(leaf: Any) -> Array:
    return widened(jnp.asarray(leaf))


def flattened(cell: Any, params: Params, starts: State) -> Array:
    """[S, N] in float32 at least, or InputError."""
    shapes, size = state_shapes(cell, params), flat_state(cell, params).size
    check_real(shapes)
    leaves = jax.tree.leaves(starts)
    flat = hasattr(starts, "shape") and np.shape(starts)[1:] == (size,)
    count = np.shape(leaves[0])[0] if leaves and np.ndim(leaves[0]) else 0
    if not count:
        needed = f"at least one: leaves [S, ...] as cell.initial_state makes them, or [S, {size}]"
        raise InputError("starts", "no states", needed)
    if flat:
        rows = as_array("starts", starts)
        if not jnp.issubdtype(rows.dtype, jnp.floating):
            raise InputError("starts", f"dtype {rows.dtype}", "real floating-point numbers")
    else:
        rows = ravel_state(check_given("starts", starts, cell, params, (count,)), 1)
    return rows.astype(wide_dtype(flat_state(cell, params).dtype))


def movement(cell: Any, rule: str, params: Params, x: Inputs) -> tuple[Any, Any]:
    """(r(h) = F(h, x) - h, its Jacobian) of a flattened state [N]."""
    params, like = prepared(cell, params), state_shapes(cell, params)

    def moved(h: Array) -> Array:
        return ravel_state(cell.step(params, unravel_state(h, like), x), 0).astype(h.dtype) - h

    def closed(h: Array) -> Array:
        return cell.jacobian(params, unravel_state(h, like), x)[0].astype(h.dtype) - jnp.eye(h.size, dtype=h.dtype)

    return moved, {"closed": closed, "forward": jax.jacfwd(moved), "reverse": jax.jacrev(moved)}[rule]


@partial(jit_by_cell, static_argnums=(0, 1))
def searched(cell: Any, plan: tuple[str, float, int], params: Params, x: Inputs, starts: Array) -> Descent:
    """A descent from each start [S, N]; so many at once as memory allows."""
    rule, tolerance, most = plan
    moved, slope = movement(cell, rule, params, x)
    at_once = max(TOGETHER // max(starts.shape[1] ** 2, 1), 1)
    return jax.lax.map(
        lambda h: descend(moved, slope, h, tolerance, most), starts, batch_size=min(at_once, len(starts))
    )


@partial(jit_by_cell, static_argnums=(0, 1))
def linearised(cell: Any, rule: str, params: Params, x: Inputs, points: Array) -> tuple[Array, Array]:
    """(dF/dh [P, N, N], F(h, x) - h [P, N]) at points [P, N]."""
    moved, slope = movement(cell, rule, params, x)
    eye = jnp.eye(points.shape[1], dtype=points.dtype)
    return jax.lax.map(lambda h: (slope(h) + eye, moved(h)), points)


def together(h: np.ndarray, speed: np.ndarray, done: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """(the points [P] that stand for all, as indices of starts; for each start its point, -1 where it has none).

    The slowest point takes all within the distance of it, then the slowest of those left, and so on.
    """
    left = done & np.isfinite(h).all(1) & np.isfinite(speed)
    first, of_start = [], np.full(len(h), -1)
    for i in np.argsort(speed, kind="stable"):
        if left[i]:
            near = left & (np.linalg.norm(h - h[i], axis=1) <= distance)
            near[i] = True
            of_start[near] = len(first)
            left &= ~near
            first.append(i)
    return np.array(first, int), of_start
