"""Which output's gradient reaches which state, and what it leaves in the parameters on its way, lag by lag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import clips_on_the_way_back, gate_leaves, jit_by_cell
from jrnn.cells._advance import state_shapes
from jrnn.flow.credit.diagonal import diagonal_credit, has_factors
from jrnn.flow.credit.lag_recursion import Steps, follow
from jrnn.flow.credit.output_cotangents import (
    carrying,
    check_finite,
    check_output_times,
    check_pull,
    run_and_pull,
    sample_outputs,
)
from jrnn.flow.credit.reading_order import in_order
from jrnn.flow.credit.result import GradientFlow
from jrnn.numerics import norm, norm_of, share_of, split_floating
from jrnn.types import Array, InputError, Inputs, Params, State, ravel_state, widened
from jrnn.unrolling import Options, read, run
from jrnn.unrolling.checks import check_causal, check_count, check_switch
from jrnn.unrolling.schedule import zero_unless

LAG_FIELDS = ("lag_norms", "lag_errors", "lag_cosines", "lag_shares", "lag_gradients")
MAX_PAIRS = 2**22  # (output, state, sequence) triples followed by default
CHUNK_ELEMENTS = 2**25  # of the largest array that is kept by default


def gradient_flow(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    loss_params: Params = None,
    output_times: Any = None,
    max_pairs: int = MAX_PAIRS,
    by_lag: bool = True,
    lag_gradients: bool | None = None,
    parts: bool = False,
    **options: Any,
) -> GradientFlow:
    """Splits the gradient by output and by lag: which outputs' gradient reaches h_k, and which lags the weights hear.

    All pairs (output, state) with the same lag go one step back together, so it costs about T backward passes' work in
    T large products, and memory for one lag. Because g_t = dL/dy_t is taken once, the parts sum exactly to dL/dh_k for
    any differentiable loss.

    Args:
      cell, params, xs: as for `jrnn.unroll`, time-major; the cell must be causal.
      loss: `loss(unrolled) -> scalar` of outputs, last, final_state and mask, or `loss(loss_params, unrolled)`.
      loss_params: as for `jrnn.value_and_grads`.
      output_times: which outputs t to follow, ints in 1..T (output t is `outputs[t - 1]`); figures by lag are then of
        these outputs alone. By default all, or as many as `max_pairs` allows.
      max_pairs: the most elements of `credit`, R (T+1) B; above it an even sample of the outputs that carry gradient
        is followed, and `exact` tells whether that was all of them.
      by_lag: whether to split dL/dparams by lag, which takes one product with the inputs a lag. Without it the fields
        lag_* are None, and where the cell says that its Jacobians are diagonal (`factors`: min_gru, min_lstm, rg_lru,
        lru, linear; also within a wrapper that leaves the step alone) no step is differentiated: the credit is all of a
        few matrix products. Of an lru these are sums that cancel: `credit_by_state` is then exact to about the root of
        the dtype's rounding (3e-4 in float32) of re and im together.
      lag_gradients: whether to keep G_tau itself; by default where it has no more than 2^25 elements.
      parts: whether to keep the parts themselves, R (T+1) B N elements.
      options: any other option of `unroll` but time_axis, return_states and state_tap; with `truncate` the parts are
        those that truncated backpropagation leaves.
    Returns:
      A `GradientFlow`.
    Raises:
      InputError: the cell is not causal, its state is not real, an output time is out of range, the loss is not a real
        scalar or (seen outside jit only) depends on no output, a state is not finite, or as `unroll`.
    """
    check_causal(cell)
    if clips_on_the_way_back(cell):
        needed = "the cell without it: its parts do not add up; `jrnn.clipping_proof` has the lags under such a clip"
        raise InputError("cell", "one with `clip_state_gradient`", needed)
    for name in ("time_axis", "return_states", "state_tap"):
        if name in options:
            raise InputError(name, f"{options[name]!r:.60}", f"no {name}: xs is time-major, the states are tapped here")
    by_lag = check_switch("by_lag", by_lag)
    if lag_gradients and not by_lag:
        raise InputError("lag_gradients", "True beside by_lag=False", "by_lag=True, which finds them")
    max_pairs = check_count("max_pairs", max_pairs, 1, "a positive number of pairs")
    xs, read_once = read(cell, params, xs, **options)
    states = jax.tree.leaves(state_shapes(cell, params))
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in states):
        needed = "a real floating-point state (keep counters out of it, or give them as inputs)"
        raise InputError("cell", f"a state of dtypes {sorted({str(leaf.dtype) for leaf in states})}", needed)
    unrolled, pulls = run_and_pull(cell, params, xs, read_once, loss, loss_params)
    g_outputs, g_final, final_row = pulls
    steps = read_once.steps
    check_finite(unrolled.states, len(read_once.batch_shape))
    carry = carrying(g_outputs, g_final, final_row)
    check_pull(carry, unrolled.mask)
    times, exact, weight = None, jnp.ones((), bool), None
    if output_times is not None:
        times = check_output_times(output_times, steps)
        exact = ~jnp.any(carry.at[times - 1].set(False))
    elif steps >= 4 and final_row.size * (steps + 1) > max_pairs:
        pairs_of_outputs = max_pairs // max((steps + 1) * final_row[0].size, 1) // 2
        times, exact, weight = sample_outputs(carry, 2 * max(1, min(steps // 2, pairs_of_outputs)))
    fields = compute_fields(
        cell, params, xs, unrolled.states, pulls, times, exact, weight, read_once, by_lag, lag_gradients, parts
    )
    times = jnp.arange(1, steps + 1, dtype=jnp.int32) if times is None else times
    return GradientFlow(**fields, output_times=times, exact=exact)


@partial(jit_by_cell, static_argnums=(0, 9, 10, 11))
def compute_fields(
    cell: Any,
    params: Params,
    xs: Inputs,
    states: State,
    pulls: tuple,
    times: Array | None,
    exact: Array,
    weight: Array | None,
    options: Options,
    by_lag: bool,
    keep_lags: bool | None,
    keep_parts: bool,
) -> dict[str, Any]:
    """The other fields of a `GradientFlow`; jitted as one, so that an eager call compiles once per shape."""
    g_outputs, g_final, final_row = pulls
    axes = final_row.ndim
    real, whole = split_floating(params)

    def tapped(real: list, tap: State) -> tuple[Any, Any]:  # by the pass that training takes
        out = run(cell, whole(real), xs, replace(options, state_tap=tap, tap_is_zero=True))
        return out.outputs, out.final_state

    gradient, delta = jax.vjp(tapped, real, jax.tree.map(jnp.zeros_like, states))[1]((g_outputs, g_final))
    size = norm_of(gradient)
    unit = jnp.where(size > 0, size, jnp.ones_like(size))
    sampled = weight is not None
    if keep_lags is None:
        keep_lags = len(states) * sum(g.size for g in gradient) <= CHUNK_ELEMENTS

    def account(D: State, G: list) -> dict[str, Any]:
        sizes = jax.tree.map(lambda d: norm(ravel_state(d, axes)), D)
        rows = {"sizes": sizes} | ({"parts": ravel_state(D, axes)} if keep_parts else {})
        rows = jax.tree.map(lambda a: jnp.concatenate([a, jnp.zeros((width - len(a), *a.shape[1:]), a.dtype)]), rows)
        if not by_lag:
            return rows
        # of a sample, G is that of one half; `both` adds the other
        both = jax.lax.psum(G, "half") if sampled else G
        other = jax.tree.map(jnp.subtract, both, G) if sampled else None

        def size_of(pick: Callable[[list], list]) -> Array:
            if other is None:
                return norm_of(pick(G))
            return jnp.where(exact, norm_of(pick(both)), 2 * root_of_product(pick(G), pick(other)))

        gates = {
            gate: size_of(lambda G, gate=gate: gate_leaves(cell, whole(G))[gate]) for gate in gate_leaves(cell, params)
        }
        pairs = zip(gradient, both, strict=True)
        along = sum((jnp.vdot(widened(a) / unit, widened(b)) for a, b in pairs), jnp.zeros_like(unit))
        of_lag = {"norm": size_of(lambda G: G), "along": along, "gates": gates, "error": jnp.zeros_like(unit)}
        if other is not None:
            of_lag["error"] = jnp.where(exact, of_lag["error"], norm_of(jax.tree.map(jnp.subtract, G, other)))
        return rows | of_lag | ({"G": both} if keep_lags else {})

    lag_run, steps, layout = in_order(cell, real, whole, xs, states, pulls, times, options)
    width = len(steps.time) + 1 if times is None else len(times) // (2 if sampled else 1)
    if has_factors(cell) and len(steps.time) and not (by_lag or keep_parts):
        sizes, D_sum = diagonal_credit(lag_run, steps, layout.rows)
        accounts, G_sum, D_sum = {"by_output": sizes}, [], D_sum if times is None else None
    elif width == 1 and times is None:  # no steps: what there is passes through the initial state
        D_sum, G_sum = None, gradient
        accounts = jax.tree.map(lambda a: a[None], account(jax.tree.map(jnp.zeros_like, states), gradient))
    elif sampled:
        accounts, (D_sum, G_sum) = in_halves(lambda rows: follow(lag_run, steps, rows, account), layout.rows)
    else:
        accounts, (D_sum, G_sum) = follow(lag_run, steps, layout.rows, account)
    if "by_output" in accounts:
        by_state = jax.tree.map(layout.placed, accounts["by_output"])
    else:
        by_state = jax.tree.map(layout.by_output, accounts["sizes"])
    weight = jnp.ones_like(unit) if weight is None else weight.astype(unit.dtype)
    credit = norm(jnp.stack(jnp.broadcast_arrays(*jax.tree.leaves(by_state)), axis=-1))
    lags: dict[str, Any] = dict.fromkeys(LAG_FIELDS)
    error = jnp.zeros_like(unit)
    if by_lag:
        lags, error = fields_by_lag(accounts, weight, unit, G_sum, gradient)
        lags["lag_gradients"] = whole(lags["lag_gradients"], None) if keep_lags else None
    delta = ravel_state(delta, axes)
    if D_sum is not None:
        gaps = norm(layout.by_state(ravel_state(D_sum, axes)) - widened(delta))
        error = jnp.maximum(error, jnp.max(share_of(gaps, jnp.sum(credit, axis=0)), initial=0).astype(error.dtype))
    return {
        "state_gradients": delta,
        "credit": credit,
        "sum_error": error,
        **lags,
        "credit_by_state": by_state,
        "lag_norms_by_gate": {gate: weight * of_gate for gate, of_gate in accounts.get("gates", {}).items()},
        "state_norms": zero_unless(layout.in_place(layout.inside), norm(ravel_state(states, axes))),
        "segments": layout.in_place(jnp.where(layout.inside, segments_of(steps, layout.inside.shape), -1)),
        "reverse": jnp.asarray(layout.reverse),
        "parts": layout.by_output(accounts["parts"]) if keep_parts else None,
    }


def fields_by_lag(
    of_lag: dict, weight: Array, unit: Array, G_sum: list, gradient: list
) -> tuple[dict[str, Any], Array]:
    """(the fields of `LAG_FIELDS`, how far the sum of all G_tau is from the gradient)."""
    norms, along = weight * of_lag["norm"], weight * of_lag["along"]
    gap = norm_of([weight * widened(total) - widened(g) for total, g in zip(G_sum, gradient, strict=True)])
    gradients = [(weight * widened(G)).astype(G.dtype) for G in of_lag.get("G", ())]
    cosines = jnp.clip(share_of(along, norms), -1, 1)
    values = norms, weight * of_lag["error"], cosines, along / unit, gradients
    return dict(zip(LAG_FIELDS, values, strict=True)), share_of(gap, jnp.sum(norms))


def segments_of(steps: Steps, shape: tuple[int, ...]) -> Array:
    """[T+1, *B] of int32 in reading order: how many resets and cuts come before each state."""
    count = jnp.zeros(shape, jnp.int32)
    for flags in (steps.schedule.resets, steps.schedule.cuts):
        if flags is not None:
            wide = flags.reshape(flags.shape + (1,) * (len(shape) - flags.ndim)).astype(jnp.int32)
            count = count.at[1:].add(jnp.broadcast_to(jnp.cumsum(wide, axis=0, dtype=jnp.int32), count[1:].shape))
    return count


def in_halves(follow_rows: Callable[[Array], tuple], rows: Any) -> tuple:
    """`follow_rows` of every second output and of the others, side by side; what lies along outputs is put in order."""
    accounts, (_, G_sum) = jax.vmap(follow_rows, axis_name="half")(rows.reshape(-1, 2).T)
    for name in accounts.keys() & {"sizes", "parts"}:  # [2, lag, R / 2, ...] -> [lag, R, ...]
        accounts[name] = jax.tree.map(
            lambda a: jnp.moveaxis(a, 0, 2).reshape(a.shape[1], 2 * a.shape[2], *a.shape[3:]), accounts[name]
        )
    for name in accounts.keys() - {"sizes", "parts"}:  # the same in both
        accounts[name] = jax.tree.map(lambda a: a[0], accounts[name])
    return accounts, (None, jax.tree.map(lambda a: jnp.sum(a, axis=0), G_sum))


def root_of_product(a: list[Array], b: list[Array]) -> Array:
    """sqrt(<a, b>), 0 where that is negative, of all arrays as one vector."""
    sizes = [jnp.where(size > 0, size, jnp.ones_like(size)) for size in (norm_of(a), norm_of(b))]
    cosine = sum(jnp.vdot(widened(x) / sizes[0], widened(y) / sizes[1]) for x, y in zip(a, b, strict=True))
    positive = cosine > 0
    root = jnp.sqrt(jnp.where(positive, cosine, jnp.ones_like(cosine)))
    return jnp.where(positive, root * jnp.sqrt(sizes[0]) * jnp.sqrt(sizes[1]), jnp.zeros_like(root))
