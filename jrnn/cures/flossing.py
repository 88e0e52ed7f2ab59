"""Gradient flossing: weights moved until the largest exponents along the user's inputs are the target."""

import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jrnn.cells import check_key, check_number, jit_by_cell
from jrnn.cells._numbers import check_positive
from jrnn.cures.clipping import skip_nonfinite
from jrnn.cures.exponents import FLOOR, growth_along, random_directions, read_inputs, real_state
from jrnn.cures.norm_keeping import check_weight
from jrnn.numerics import split_floating
from jrnn.types import Array, Inputs, Params, State, size_of, widened
from jrnn.unrolling import Unrolled
from jrnn.unrolling.checks import check_count, concrete

WARMUP = 10
"""The most steps that align state and directions before the first that counts; a quarter of a shorter sequence."""


class Floss(NamedTuple):
    """What is minimised: mean_{i<=k} (lambda_i - target)^2 along windows of so many steps."""

    k: int
    target: float
    window: int

    def loss(self, cell: Any, params: Params, xs: Inputs, valid: Array, states: State, key: Array) -> tuple:
        """(the loss along one window of one sequence, drawn by the key; whether a direction died in it).

        Args:
          xs, valid: [T, *B, F], and [T, *B] of bool: the steps that happen.
          states: [T, *B, ...], the states that the steps start from; None for the cell's own initial state.
        """
        size, dtype = real_state(cell, params)
        warmup = min(WARMUP, len(valid) // 4)
        span = min(warmup + self.window, len(valid))
        which, when, first = jax.random.split(key, 3)
        ends = jnp.max(jnp.where(flat(valid, valid), 1 + jnp.arange(len(valid))[:, None], 0), axis=0)
        sequence = jax.random.categorical(which, jnp.where(ends > 0, 0.0, -jnp.inf))
        start = jax.random.randint(when, (), 0, jnp.maximum(ends[sequence] - span, 0) + 1)

        def seen(a: Array) -> Array:
            """[span, ...]."""
            return jax.lax.dynamic_slice_in_dim(flat(a, valid)[:, sequence], start, span)

        h = cell.initial_state(params, ()) if states is None else jax.tree.map(lambda a: seen(a)[0], states)
        q = random_directions(first, (), min(self.k, size), size, dtype)
        happened = seen(valid)
        counted = happened & (jnp.arange(span) >= warmup)
        exponents, least = growth_along(cell, params, jax.tree.map(seen, xs), h, q, counted, happened)
        loss = jnp.mean((exponents - self.target) ** 2)
        return jnp.where(jnp.any(counted), loss, 0), least <= math.log(FLOOR)


def flat(a: Array, valid: Array) -> Array:
    """[T, *B, ...] -> [T, number of sequences, ...], as many batch axes as `valid` has."""
    return jnp.asarray(a).reshape(len(a), size_of(valid.shape[1:]), *a.shape[valid.ndim :])


def floss(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    k: int = 8,
    steps: int = 400,
    target: float = 0.0,
    window: int = 55,
    learning_rate: float = 1e-3,
    lengths: Any = None,
    key: Array | None = None,
) -> Params:
    """Gradient flossing: Adam on mean_{i<=k} (lambda_i - target)^2 before training (Engelken 2023, arXiv:2312.17306).

    lambda_i = mean_t ln |R_ii| is the i-th largest exponent along the inputs, in nats per step, Q_t R_t = J_t Q_{t-1};
    the gradient goes through the states, through J_t and through the QR. Each update runs one window of one sequence,
    both drawn by the key, from the cell's initial state and random directions; the first 10 steps (a quarter of a
    sequence shorter than 40) do not count. |R_ii| below 1e-12 counts as 1e-12, without a slope. All floating-point
    parameters move; where an update is not finite, none does.

    Helps a recurrence without gates on lags that it loses: a tanh Elman of 64 units brought .08 to .14 of its
    gradient over 200 steps where it had brought less than 1e-26, and 5 of 5 (in another run 3 of 5) then learnt the
    marked bit in 100 to 250 updates, at a small rate (Adam 5e-4, clip .1). Hurts with many exponents: with k = N
    arrival was 2e-6. The window may be shorter than the lag, and a network at the edge leaves it soon: look at
    `GradientFlow.verdict(lag)` afterwards, and keep the telemetry on. `lyapunov_penalty` is the same during training;
    `tune_gain` takes a tenth of the time. For gated cells `open_gates` is cheaper.

    Args:
      cell: a causal cell with a real state.
      params: its parameters.
      xs: inputs [T, *B, F], time-major, such as those that it will be trained on; None for an autonomous cell.
      k: how many exponents; all N where the state has fewer.
      steps: updates, 0 or more; all of them are one compiled program.
      target: in nats per step.
      window: steps that count; fewer where the sequence is shorter.
      learning_rate: Adam's.
      lengths: [*B], where the sequences are padded.
      key: draws windows and directions; a fixed draw by default.
    Returns:
      Parameters like `params`.
    Raises:
      InputError: an argument is out of range, the cell is not causal, its state is not real, or there is no step.
    Warns:
      UserWarning: directions died, or updates were not finite (not seen under `jit` and `vmap`).
    """
    real_state(cell, params)
    loss = checked(k, target, window)
    steps = check_count("steps", steps, 0, "a number of updates, 0 or more")
    rate = check_positive("learning_rate", learning_rate, "a finite number above 0, static")
    key = jax.random.key(0) if key is None else key
    check_key(key)
    xs, valid = read_inputs(cell, params, xs, lengths, WARMUP + window if xs is None else None)
    params, dead, skipped = flossed(cell, (loss, steps, rate), params, xs, valid, key)
    dead, skipped = concrete(dead), concrete(skipped)
    faults = []
    if dead is not None and dead:
        faults.append(f"in {dead} of {steps} updates a direction died (|R_ii| < {FLOOR:g}): a smaller k has fewer such")
    if skipped is not None and skipped:
        faults.append(f"{skipped} of {steps} updates were not finite and were not made")
    if faults:
        warnings.warn(f"floss: {'; '.join(faults)}", UserWarning, stacklevel=2)
    return params


@partial(jit_by_cell, static_argnums=(0, 1))
def flossed(cell: Any, plan: tuple[Floss, int, float], params: Params, xs: Inputs, valid: Array, key: Array) -> tuple:
    """(the parameters after all updates, the number of updates in which a direction died, that of skipped updates)."""
    objective, steps, rate = plan
    given, whole = split_floating(params)
    optimizer = skip_nonfinite(optax.adam(rate))

    def update(carry: tuple, key: Array) -> tuple[tuple, Array]:
        real, opt_state = carry

        def loss(real: list[Array]) -> tuple:
            return objective.loss(cell, whole(real), xs, valid, None, key)

        grads, dead = jax.grad(loss, has_aux=True)(real)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # Optax mixes both
            updates, opt_state = optimizer.update(grads, opt_state, real)
            return (optax.apply_updates(real, updates), opt_state), dead

    real = [widened(leaf) for leaf in given]  # a step of 1e-3 is lost to rounding in 16 bits
    opt_state: Any = optimizer.init(real)
    (real, opt_state), dead = jax.lax.scan(update, (real, opt_state), jax.random.split(key, steps))
    real = [leaf.astype(old.dtype) for leaf, old in zip(real, given, strict=True)]
    return whole(real), jnp.sum(dead), opt_state.skipped


def checked(k: Any, target: Any, window: Any) -> Floss:
    """What is minimised, or InputError."""
    target = check_number("target", target, math.isfinite, "a finite exponent in nats per step, not a traced one")
    k = check_count("k", k, 1, "a number of exponents, 1 or more")
    return Floss(k, target, check_count("window", window, 1, "a number of steps, 1 or more"))


@dataclass(frozen=True)
class lyapunov_penalty:  # noqa: N801 - used as a function: lyapunov_penalty(0.1) is hashable and compares by value
    """weight * mean_{i<=k} (lambda_i - target)^2 as a penalty of `fit`: flossing during training (Engelken 2023).

    As in `floss`, along one window of one sequence of the batch, both drawn by the key; it starts at the run's own
    state there, which is held fixed, and the first 10 steps align the directions. The gradient goes through the states
    of the window, through J_t and through the QR. Dropout is left out; it knows no `resets`, and runs on through them.

    Helps where training closes what was open. Marked bit, lag 50 (tanh Elman, 64 units, clip 1, 5 seeds): below .1
    after 50 to 150 updates in 5 of 5 at each of the rates .00067, .002 and .006 of Adam, where after 1,000 without it
    0, 0 and 2 of 5 are; weight .1 with every=4 takes 100 to 300 at the two larger ones. Lost at lag 200: none of 3
    after 400 updates, at .002 and at .006. Hurts where the task wants states to be forgotten, or kept by a latch, whose
    exponents are far below 0. Costs what `floss` costs an update, window steps with k directions.

    Args:
      weight: what the term is multiplied by, 0 or more.
      k: how many exponents; all N where the state has fewer.
      target: in nats per step.
      window: steps that count; fewer where the sequence is shorter.
      every: n takes the term in one update of n, drawn by the key, n times as large: the same mean at an n-th of the
        time.
    Raises:
      InputError: an argument is out of range; in training as `floss`.
    """

    weight: float = 1.0
    k: int = 8
    target: float = 0.0
    window: int = 55
    every: int = 1

    def __post_init__(self):
        check_weight(self.weight)
        checked(self.k, self.target, self.window)
        check_count("every", self.every, 1, "a number of updates, 1 or more")

    def __call__(self, cell: Any, params: Params, xs: Inputs, unrolled: Unrolled, deltas: Any, key: Array) -> Array:
        dtype = real_state(cell, params)[1]
        if not unrolled.mask.size:
            return jnp.zeros((), dtype)
        before = jax.tree.map(lambda h: jax.lax.stop_gradient(h[:-1]), unrolled.states)
        objective = Floss(self.k, self.target, self.window)
        turn, key = jax.random.split(key)

        def term(params: Params) -> Array:
            return self.weight * self.every * objective.loss(cell, params, xs, unrolled.mask, before, key)[0]

        if self.every == 1:
            return term(params)
        chosen = jax.random.bernoulli(turn, 1 / self.every)
        return jax.lax.cond(chosen, term, lambda params: jnp.zeros((), dtype), params)
