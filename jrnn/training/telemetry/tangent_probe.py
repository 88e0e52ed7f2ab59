"""A growth probe for training: random tangents pushed forward along a few sequences of the batch."""

import inspect
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells import check_cell, check_key, is_causal
from jrnn.cells._advance import state_shapes
from jrnn.cells._base import static_cell
from jrnn.cells._carrying import Carrying
from jrnn.numerics import norm, split_floating
from jrnn.training.telemetry.state_gradient_metrics import is_real
from jrnn.types import Array, InputError, Inputs, Params, Shape, State, size_of
from jrnn.unrolling import read, run, unroll
from jrnn.unrolling.checks import check_count
from jrnn.unrolling.states import start_and_reset

SEQUENCES = 4
EVERY = 50
BACKWARD = ("state_tap", "truncate", "remat", "return_states", "implementation")
"""Options on which a forward tangent does not depend."""


class Followed(NamedTuple):
    """What is carried along a run."""

    state: State
    tangent: tuple[Array, ...]
    """v, one array for each floating-point leaf of the state; ||v|| = 1 over all of them."""
    growth: Array
    """ln ||J_t v|| of the last step [*B]."""


@static_cell
class Follow(Carrying):
    """A cell that carries one tangent along: (h, v) -> (step(h), J v / ||J v||); its output is ln ||J v||."""

    cell: Any

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Followed:
        return with_tangent(self.cell.initial_state(params, batch_shape), len(batch_shape))

    def step(self, params: Params, before: Followed, x: Any) -> Followed:
        real, whole = split_floating(before.state)

        def advance(real: tuple[Array, ...]) -> tuple[tuple[Array, ...], State]:
            after = self.cell.step(params, whole(real), x)
            return tuple(split_floating(after)[0]), after

        _, moved, after = jax.jvp(advance, (tuple(real),), (before.tangent,), has_aux=True)
        return Followed(after, *unit(moved, before.growth.ndim))

    def output(self, params: Params, followed: Followed, x: Any) -> Array:
        return followed.growth


def tangent_growth(
    cell: Any, params: Params, xs: Inputs, key: Array, *, sequences: int = SEQUENCES, **options: Any
) -> Array:
    """Mean log growth per step of random tangents pushed forward along a few sequences; nats per step, jit-able.

    v_0 is a random unit vector of the state space, one for each sequence; r_t = ||J_t v_{t-1}||, v_t = J_t v_{t-1} /
    r_t, and the result is sum ln r_t / (number of steps), over all valid steps of the sequences. For long sequences
    it tends to the largest Lyapunov exponent (Benettin et al. 1980); in a finite one the first steps, in which v
    still turns, make it a little smaller. One jvp of `step` a step, rescaled at each: no overflow. -inf if a
    direction dies (J v = 0).

    Args:
      cell, params, xs: as for `unroll`; causal. Followed without noise (dropout).
      key: of the random directions.
      sequences: how many of the batch, its first ones, are followed at most.
      options: other options of `unroll`. Those that only concern the backward pass change nothing; a reset starts
        again with v_0.
    Returns:
      a scalar, float32 (float64 for float64 states); 0 if no step happened.
    Raises:
      InputError: the cell is not causal, or its state is not real.
    """
    check_cell(cell)
    if not is_causal(cell):
        raise InputError("cell", type(cell).__name__, "a causal cell; for Bidirectional, the cell of one direction")
    check_key(key)
    if unknown := set(options) - set(inspect.signature(unroll).parameters):
        raise InputError("options", f"the keys {sorted(unknown)}", "options of `unroll`")
    sequences = check_count("sequences", sequences, 1, "a positive number of sequences")
    forward = {name: value for name, value in options.items() if name not in BACKWARD}
    xs, read_once = read(cell, params, xs, **forward)
    first = tuple(slice(sequences if i == 0 else 1) for i in range(len(read_once.batch_shape)))
    xs, resets, mask = jax.tree.map(lambda a: a[(slice(None), *first)], (xs, read_once.resets, read_once.mask))
    start, reset_state = start_and_reset(cell, params, read_once)
    if not is_real(start):
        dtypes = [str(leaf.dtype) for leaf in jax.tree.leaves(start)]
        raise InputError("cell", f"a state of dtypes {dtypes}", "a real floating-point state")
    lengths, start, reset_state = jax.tree.map(lambda a: a[first], (read_once.lengths, start, reset_state))
    own = replace(
        read_once,
        batch_shape=tuple(len(range(n)[cut]) for n, cut in zip(read_once.batch_shape, first, strict=True)),
        lengths=lengths,
        resets=resets,
        mask=mask,
        initial_state=with_tangent(start, len(first), key),
        reset_state=with_tangent(reset_state, len(first), key),
        key=None,
    )
    followed = run(Follow(cell), params, xs, own)
    return followed.outputs.sum() / jnp.maximum(followed.mask.sum(), 1).astype(followed.outputs.dtype)


def can_follow(cell: Any, params: Params, xs: Inputs) -> bool:
    """Whether there is a tangent to follow: the cell is causal, its state real, its step has a forward derivative."""
    if not is_causal(cell):
        return False
    if not is_real(state_shapes(cell, params)):
        return False
    ndim = getattr(cell, "input_ndim", 1)
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a)[jnp.ndim(a) - ndim :], jnp.result_type(a)), xs)
    shapes, followed = jax.eval_shape(lambda p: (p, Follow(cell).initial_state(p)), params)
    try:
        jax.jit(Follow(cell).step).lower(shapes, followed, x)
    except TypeError as error:
        # a hand-written backward pass only; JAX says so no earlier than here
        if "custom_vjp" in str(error):
            return False
        raise
    return True


def tangent_metrics(cell: Any, params: Params, xs: Inputs, options: dict[str, Any], key: Array) -> dict[str, Array]:
    """{"tangent_growth": ...}; {} where there is none."""
    if not can_follow(cell, params, xs):
        return {}
    options = {name: value for name, value in options.items() if name != "key"}  # that one draws noise
    return {"tangent_growth": tangent_growth(cell, params, xs, key, **options)}


def with_tangent(state: State, batch_ndim: int, key: Array | None = None) -> Followed:
    """The state with a unit tangent: random, or without a key the same in all directions."""
    leaves = split_floating(state)[0]
    wide = jnp.float64 if any(leaf.dtype == jnp.float64 for leaf in leaves) else jnp.float32
    if key is None:
        drawn = [jnp.ones(leaf.shape, wide) for leaf in leaves]
    else:
        drawn = [jax.random.normal(jax.random.fold_in(key, i), leaf.shape, wide) for i, leaf in enumerate(leaves)]
    tangent, growth = unit(tuple(drawn), batch_ndim)
    tangent = tuple(v.astype(leaf.dtype) for v, leaf in zip(tangent, leaves, strict=True))
    return Followed(state, tangent, jnp.zeros_like(growth))


def unit(vector: tuple[Array, ...], batch_ndim: int) -> tuple[tuple[Array, ...], Array]:
    """(vector / norm, ln norm [*B]); zero and -inf for zero."""
    wide = jnp.float64 if any(leaf.dtype == jnp.float64 for leaf in vector) else jnp.float32
    lead = vector[0].shape[:batch_ndim]
    flat = [leaf.astype(wide).reshape(*lead, size_of(leaf.shape[batch_ndim:])) for leaf in vector]
    size = norm(jnp.stack([norm(a) for a in flat], axis=-1))
    divisor = jnp.where(size > 0, size, jnp.ones_like(size))[..., None]
    scaled = [
        (a / jnp.broadcast_to(divisor, a.shape)).reshape(leaf.shape).astype(leaf.dtype)
        for a, leaf in zip(flat, vector, strict=True)
    ]
    return tuple(scaled), jnp.log(size)
