"""Which output's gradient reaches which state, and what it leaves in the parameters on its way, lag by lag."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jrnn.boundary import as_arrays, check_count, is_count
from jrnn.cells import clips_on_the_way_back, gate_leaves
from jrnn.flow.arrival import Arrival, arrival
from jrnn.flow.jacobian import check_causal
from jrnn.flow.judging import LEVEL, Verdict, judge, stays_bounded
from jrnn.flow.lags import follow
from jrnn.flow.layout import in_order
from jrnn.flow.pulls import carrying, check_finite, check_output_times, check_pull, output_pull, sample_outputs
from jrnn.types import Array, InputError, Inputs, Params, State, ravel_state
from jrnn.unrolling import Unrolled, unroll

MAX_PAIRS = 2**22  # (output, state, sequence) triples followed by default
CHUNK_ELEMENTS = 2**25  # of an array that nobody asked for


class GradientFlow(NamedTuple):
    """dL/dh_k split by output, part(t, k) = (dy_t/dh_k)^T g_t with g_t = dL/dy_t taken once; dL/dparams split by lag.

    R outputs were followed: all T, or some. "Unit of L" over the unit of what it is differentiated by, throughout.
    """

    state_gradients: Float[Array, "T+1 *B N"]
    """delta_k = dL/dh_k = sum_t part(t, k), [T+1, *B, N], by one backward pass of its own."""
    credit: Float[Array, "R T+1 *B"]
    """||part(t, k)||_2, [R, T+1, *B]: row i is output t = output_times[i], column k; zero for k > t. With reverse the
    columns are laid out like `Unrolled.states`: output t reads column t - 1, and the part is zero for k < t - 1."""
    output_times: Int[Array, " R"]
    """[R] of int, 1..T: the outputs that were followed; all of them if they fit, so row i is output t = i + 1."""
    exact: Bool[Array, ""]
    """Whether every output that carries gradient was followed. If not, the figures by lag below are estimates: those
    of the outputs followed, times the number that carry gradient over the number followed."""
    sum_error: Float[Array, ""]
    """How well the parts sum up, relative to the sum of their norms: the larger of ||sum_tau G_tau - dL/dparams|| over
    sum_tau ||G_tau|| and (all outputs followed) the same for delta_k, at the worst k. Rounding where `exact`; otherwise
    the measured error of the estimate."""
    lag_norms: Float[Array, " T+1"]
    """||G_tau||_2, [T+1]. G_tau = sum_t (d+h_{t-tau}/dparams)^T part(t, t - tau): what the outputs leave in the
    parameters as used tau steps before (d+: this step alone; the output's own use counts at lag 0, a learnt initial
    state where the sequence or segment begins). sum_tau G_tau = dL/dparams."""
    lag_cosines: Float[Array, " T+1"]
    """[T+1], of the angle between G_tau and dL/dparams; 0 where either is zero."""
    lag_shares: Float[Array, " T+1"]
    """<G_tau, dL/dparams> / ||dL/dparams||^2, [T+1]: the signed share of lag tau; they sum to 1."""
    lag_gradients: Params | None
    """G_tau, like the parameters with a leading lag axis [T+1, ...] (None for integer leaves); None where that is too
    large to keep unasked."""
    credit_by_state: State
    """||part(t, k)||_2 of each part of the state alone, [R, T+1, *B] in the state's own structure: of an LSTM, what
    arrives by way of h and what by way of c. Their squares sum to that of `credit`."""
    lag_norms_by_gate: dict[str, Float[Array, " T+1"]]
    """||G_tau||_2 of each gate's parameters alone, [T+1]; "0.f" is gate f of a stack's layer 0; {} without gates."""
    state_norms: Float[Array, "T+1 *B"]
    """||h_k||_2, [T+1, *B], laid out like `state_gradients`."""
    reverse: Bool[Array, ""]
    """Whether the run was read backwards, so that lags are counted the other way."""
    parts: Float[Array, "R T+1 *B N"] | None
    """part(t, k) itself, where asked for."""

    def effective_horizon(self, share: float = 0.95) -> Array:
        """The smallest lag by which the cumulated norm sum_{tau' <= tau} ||G_tau'|| reaches `share` of its total."""
        total = jnp.cumsum(self.lag_norms)
        return jnp.argmax(total >= share * total[-1]).astype(jnp.int32)

    def arrival(self) -> Arrival:
        """The credit by lag, with what can be said of it over sequences and outputs (on the host)."""
        return arrival(self.credit, self.output_times, bool(self.reverse))

    def verdict(self, lag: int, *, level: float = LEVEL) -> Verdict:
        """Whether the gradient reaches `lag` steps back, statistically, and what would change it (on the host).

        Computed from what arrives at that lag output by output, with a bootstrap over sequences and blocks of outputs;
        'undecided' where the interval of probability `level` holds a boundary.

        Raises:
          InputError: no output that was followed has a way back as long, or a level that is no probability.
        """
        found = self.arrival()
        longest = max(found.by_lag.shape[1] - 1, 0)
        reached = [tau for tau in range(longest + 1) if found.ratios(tau)[1].any()] if found.by_lag.size else []
        if not is_count(lag) or lag not in reached:
            needed = f"a lag from 0 to {reached[-1]}" if reached else "a run in which some output carries gradient"
            raise InputError("lag", repr(lag), needed)
        return judge(found, lag, stays_bounded(np.asarray(self.state_norms), bool(self.reverse)), level)


def gradient_flow(
    cell: Any,
    params: Params,
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    loss_params: Params = None,
    output_times: Any = None,
    max_pairs: int = MAX_PAIRS,
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
    max_pairs = check_count("max_pairs", max_pairs, 1, "a positive number of pairs")
    xs = as_arrays("xs", xs)
    run, g_outputs, g_final, final_row = output_pull(cell, params, xs, loss, loss_params, return_states=True, **options)
    steps, batch_shape = run.mask.shape[0], run.mask.shape[1:]
    states = jax.tree.leaves(run.states)
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in states):
        raise InputError("cell", f"a state of dtype {jnp.result_type(*states)}", "a real floating-point state")
    check_finite(run.states, len(batch_shape))
    carry = carrying(g_outputs, g_final, final_row)
    check_pull(carry, run.mask)
    times, exact, weight = None, jnp.ones((), bool), jnp.ones(())
    if output_times is not None:
        times = check_output_times(output_times, steps)
        exact = ~jnp.any(carry.at[times - 1].set(False))
    elif steps and final_row.size * (steps + 1) > max_pairs:
        most = max(1, min(steps, max_pairs // max((steps + 1) * final_row[0].size, 1)))
        times, exact, weight = sample_outputs(carry, most)
    fields = followed(
        cell, params, xs, run.states, (g_outputs, g_final, final_row), times, weight,
        keep_lags=lag_gradients, keep_parts=parts, **options,
    )  # fmt: skip
    times = jnp.arange(1, steps + 1, dtype=jnp.int32) if times is None else times
    return GradientFlow(**fields, output_times=times, exact=exact)


STATIC = ("length", "reverse", "remat", "truncate", "unroll", "keep_lags", "keep_parts")


@partial(jax.jit, static_argnums=0, static_argnames=STATIC)
def followed(
    cell: Any,
    params: Params,
    xs: Inputs,
    states: State,
    pulls: tuple,
    times: Array | None,
    weight: Array,
    keep_lags: bool | None,
    keep_parts: bool,
    **options: Any,
) -> dict[str, Any]:
    """The other fields of a `GradientFlow`; jitted as one, so that an eager call compiles once per shape."""
    g_outputs, g_final, final_row = pulls
    axes = final_row.ndim
    real, whole = floating(params)

    def tapped(real: list, tap: State) -> tuple[Any, Any]:
        out: Unrolled = unroll(cell, whole(real), xs, state_tap=tap, **options)
        return out.outputs, out.final_state

    gradient, delta = jax.vjp(tapped, real, jax.tree.map(jnp.zeros_like, states))[1]((g_outputs, g_final))
    size = norm_of(gradient)
    one = jnp.where(size > 0, size, jnp.ones_like(size))
    if keep_lags is None:
        keep_lags = len(states) * sum(g.size for g in gradient) <= CHUNK_ELEMENTS

    def account(D: State, G: list) -> dict[str, Any]:
        sizes = jax.tree.map(lambda d: norm(ravel_state(d, axes)), D)
        kept = {"sizes": sizes} | ({"parts": ravel_state(D, axes)} if keep_parts else {})
        kept = jax.tree.map(lambda a: jnp.concatenate([a, jnp.zeros((width - len(a), *a.shape[1:]), a.dtype)]), kept)
        gates = {gate: norm_of(own) for gate, own in gate_leaves(cell, whole(G)).items()}
        along = sum((jnp.vdot(a / one, b) for a, b in zip(gradient, G, strict=True)), jnp.zeros_like(one))
        return kept | {"norm": norm_of(G), "along": along, "gates": gates} | ({"G": G} if keep_lags else {})

    run, steps, layout = in_order(cell, real, whole, xs, states, pulls, times, options)
    width = len(steps.time) + 1 if times is None else len(times)
    if width == 1 and times is None:  # no steps: what there is passes through the initial state
        D_sum, G_sum = None, gradient
        found = jax.tree.map(lambda a: a[None], account(jax.tree.map(jnp.zeros_like, states), gradient))
    else:
        found, (D_sum, G_sum) = follow(run, steps, layout.rows, account)
    weight = weight.astype(one.dtype)
    norms, along = weight * found["norm"], weight * found["along"]
    by_state = jax.tree.map(layout.by_output, found["sizes"])
    credit = norm(jnp.stack(jnp.broadcast_arrays(*jax.tree.leaves(by_state)), axis=-1))
    gap = norm_of([weight * total - g for total, g in zip(G_sum, gradient, strict=True)])
    error = share_of(gap, jnp.sum(norms))
    delta = ravel_state(delta, axes)
    if D_sum is not None:
        gaps = norm(layout.by_state(ravel_state(D_sum, axes)) - delta)
        error = jnp.maximum(error, jnp.max(share_of(gaps, jnp.sum(credit, axis=0)), initial=0).astype(error.dtype))
    return {
        "state_gradients": delta,
        "credit": credit,
        "sum_error": error,
        "lag_norms": norms,
        "lag_cosines": share_of(along, norms),
        "lag_shares": along / one,
        "lag_gradients": whole([weight * G for G in found["G"]], None) if keep_lags else None,
        "credit_by_state": by_state,
        "lag_norms_by_gate": {gate: weight * of_gate for gate, of_gate in found["gates"].items()},
        "state_norms": norm(ravel_state(states, axes)),
        "reverse": jnp.asarray(layout.reverse),
        "parts": layout.by_output(found["parts"]) if keep_parts else None,
    }


def share_of(part: Array, whole: Array) -> Array:
    """part / whole, 0 where both are."""
    return jnp.where(part == 0, jnp.zeros_like(part), part / whole)


def floating(params: Params) -> tuple[list[Array], Callable[..., Params]]:
    """(the floating leaves, the function that puts such leaves back: among the others, or among Nones)."""
    leaves, treedef = jax.tree.flatten(params)
    chosen = [jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves]

    def whole(real: list[Array], others: Any = leaves) -> Params:
        own, others = iter(real), others or [None] * len(leaves)
        return treedef.unflatten([next(own) if real else other for real, other in zip(chosen, others, strict=True)])

    return [leaf for leaf, real in zip(leaves, chosen, strict=True) if real], whole


def norm(vectors: Array) -> Array:
    """||v||_2 over the last axis, without under- or overflow in the squares: a part of 1e-30 in float32 is not zero."""
    size = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True, initial=0)
    size = jnp.where((size > 0) & jnp.isfinite(size), size, jnp.ones_like(size))
    return size[..., 0] * jnp.linalg.norm(vectors / jnp.broadcast_to(size, vectors.shape), axis=-1)


def norm_of(leaves: list[Array]) -> Array:
    """||.||_2 of all arrays as one vector."""
    return norm(jnp.stack([norm(leaf.reshape(-1)) for leaf in leaves])) if leaves else jnp.zeros(())
