"""One factor on the recurrent weights, found by measurement: the largest exponent along the inputs is the target."""

import math
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells import Gates, bare_cells, check_key, check_number, jit_by_cell
from jrnn.cells._numbers import check_positive
from jrnn.cures.exponents import growth_along, random_directions, read_inputs, real_state
from jrnn.numerics import split_floating
from jrnn.types import Array, InputError, Inputs, Params, widened
from jrnn.unrolling.checks import check_count, concrete
from jrnn.unrolling.states import own_state

TOLERANCE = 2e-3
TRIALS = 40
FURTHEST = 12
"""The factor is looked for from 2^-12 to 2^12."""
RECURRENT = "w_rec"


class Bracket(NamedTuple):
    """The search over x = log2 of the factor."""

    x: Array
    """The next to try."""
    low: Array
    """The largest known to have an exponent below the target; -inf while none is known."""
    high: Array
    best: Array
    """The x whose exponent came nearest to the target."""
    exponent: Array
    """Its exponent."""
    trials: Array


def tune_gain(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    target: float = 0.0,
    length: int | None = None,
    lengths: Any = None,
    warmup: int | None = None,
    tolerance: float = TOLERANCE,
    key: Array | None = None,
) -> Params:
    """Multiplies the recurrent weights by one factor, so that the largest exponent along the inputs is the target.

    lambda_1 = mean_t ln ||J_t v|| in nats per step, v the direction that the run has turned to; its median over the
    sequences is brought to the target by bisection on the factor, some ten runs with one tangent. For white input of
    variance s^2 (per pre-activation) mean-field theory has the factor in closed form: a tanh Elman with weights
    N(0, g^2 / H) is critical at g = 1.19 for s^2 = .01, 1.86 for 1 and 2.32 for 4 (Schoenholz et al. 2017, Chen et al.
    2018); this measures it for any cell and data.

    What is multiplied: `w_rec` of every layer; of a cell with gates the candidate's block alone (g of the LSTM, n of
    the GRU), for the gates' own weights decide how long, not how strongly, the state is kept.

    Helps a recurrence without gates at the start of training: a tanh Elman of 64 units brought .9 to 1.6 of its
    gradient over 200 steps where it had brought less than 1e-26. It promises no learning: on the marked bit (lag 200,
    Adam 5e-4, clip .1) none of 5 such networks was done in 300 updates; of those that `floss` had opened, by several
    exponents, 3 of 5 and in another run 5 of 5 were. Hurts a task that needs no long lag: the larger gain
    saturates units, and training is
    noisier. For gated cells `open_gates` is the stronger cure.

    Args:
      cell: a causal cell with a real state and weights `w_rec`.
      params: its parameters.
      xs: inputs [T, *B, F], time-major, such as those that it will be trained on; None for an autonomous cell.
      target: in nats per step.
      length: T, where xs is None.
      lengths: [*B], where the sequences are padded.
      warmup: steps at the start of each sequence that do not count; T // 4 by default.
      tolerance: how near to the target is near enough, in nats per step.
      key: draws the directions to begin with; a fixed draw by default.
    Returns:
      Parameters like `params`.
    Raises:
      InputError: the cell has no recurrent weights, is not causal or its state is not real; an argument is out of
        range.
    Warns:
      UserWarning: no factor from 2^-12 to 2^12 was found to reach the target (not seen under `jit` and `vmap`); the
        best is returned. So it is where the state is kept by something else (a forget gate near 1 holds lambda_1
        above), where ReLU units die, or where there are too few steps.
    """
    real_state(cell, params)
    factors = scaled_leaves(cell, params)
    target = check_number("target", target, math.isfinite, "a finite exponent in nats per step, not a traced one")
    need = "a number of nats per step above 0, not a traced one"
    tolerance = check_positive("tolerance", tolerance, need)
    key = jax.random.key(0) if key is None else key
    check_key(key)
    xs, valid = read_inputs(cell, params, xs, lengths, length)
    warmup = len(valid) // 4 if warmup is None else check_count("warmup", warmup, 0, "a number of steps")
    if warmup >= len(valid):
        raise InputError("warmup", warmup, f"fewer steps than the run has, T = {len(valid)}")
    plan = (factors, target, tolerance, warmup)
    params, exponent = tuned(cell, plan, params, xs, valid, key)
    exponent = concrete(exponent)
    if exponent is not None and not abs(exponent - target) <= tolerance:
        warning = f"tune_gain: the nearest exponent is {exponent:.4g} nats per step, not {target:.4g}"
        warnings.warn(warning, UserWarning, stacklevel=2)
    return params


def scaled_leaves(cell: Any, params: Params) -> tuple[tuple[int, int, int], ...]:
    """(number of a leaf of params, blocks in its last axis, which of them is multiplied) for every one, or InputError.

    The leaves are told apart by their numbers: wrappers and stacks hand out parts of the tree."""
    leaves, treedef = jax.tree.flatten(params)
    scaled = []
    for bare, own in bare_cells(cell, treedef.unflatten(range(len(leaves)))):
        leaf = own.get(RECURRENT) if isinstance(own, Mapping) else None
        gates = getattr(bare, "gates", None)
        gates = gates if isinstance(gates, Gates) else Gates("h")
        if isinstance(leaf, int) and gates.candidate is not None:
            scaled.append((leaf, len(gates), gates.index(gates.candidate)))
    if not scaled:
        needed = "a cell with recurrent weights `w_rec` of its own, such as jrnn.elman(64), lstm, gru or linear"
        raise InputError("cell", type(cell).__name__, needed)
    return tuple(scaled)


@partial(jit_by_cell, static_argnums=(0, 1))
def tuned(cell: Any, plan: tuple, params: Params, xs: Inputs, valid: Array, key: Array) -> tuple[Params, Array]:
    """(the parameters, the exponent that they have)."""
    factors, target, tolerance, warmup = plan
    size, dtype = real_state(cell, params)
    lead = valid.shape[1:]
    q = random_directions(key, lead, 1, size, dtype)
    counted = valid & (jnp.cumsum(valid, axis=0) > warmup)
    measured = jnp.any(counted, axis=0)
    real, whole = split_floating(params)
    wide = whole([widened(leaf) for leaf in real])  # the factor is exact until the end

    def exponent(x: Array) -> Array:
        own = multiplied(wide, factors, x)
        growth = growth_along(cell, own, xs, own_state(cell, own, lead), q, counted, valid)[0][..., 0]
        growth = jnp.where(jnp.isnan(growth), jnp.inf, growth)  # the run diverged
        return jnp.nanmedian(jnp.where(measured, growth, jnp.nan))

    def searching(bracket: Bracket) -> Array:
        inside = (jnp.abs(bracket.x) <= FURTHEST) & (bracket.trials < TRIALS)
        return inside & ~(jnp.abs(bracket.exponent - target) <= tolerance)

    def attempt(bracket: Bracket) -> Bracket:
        x = bracket.x
        measured_exponent = exponent(x)
        low = jnp.where(measured_exponent < target, x, bracket.low)
        high = jnp.where(measured_exponent < target, bracket.high, x)
        nearer = jnp.abs(measured_exponent - target) < jnp.abs(bracket.exponent - target)
        best, nearest = jnp.where(nearer, x, bracket.best), jnp.where(nearer, measured_exponent, bracket.exponent)
        middle = jnp.where(jnp.isinf(low), high - 1, jnp.where(jnp.isinf(high), low + 1, (low + high) / 2))
        return Bracket(middle, low, high, best, nearest, bracket.trials + 1)

    zero, far = jnp.zeros((), dtype), jnp.full((), jnp.inf, dtype)
    first = Bracket(zero, -far, far, zero, far, jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(searching, attempt, first)
    tuned_params = multiplied(wide, factors, last.best)
    return jax.tree.map(lambda new, old: new.astype(jnp.result_type(old)), tuned_params, params), last.exponent


def multiplied(params: Params, factors: tuple, x: Array) -> Params:
    """The parameters with 2^x on the chosen blocks."""
    leaves, treedef = jax.tree.flatten(params)
    for number, blocks, chosen in factors:
        w = leaves[number]
        row = jnp.repeat(jnp.arange(blocks) == chosen, w.shape[-1] // blocks)
        factor = jnp.where(row, jnp.exp2(x), 1).astype(w.dtype)
        leaves[number] = w * jnp.broadcast_to(factor, w.shape)
    return treedef.unflatten(leaves)
