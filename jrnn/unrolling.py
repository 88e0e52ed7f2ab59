"""Time: a cell scanned over a sequence. Only this file and kernels/ scan over time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import kernels
from jrnn.boundary import (
    as_array,
    as_arrays,
    batch_of,
    check_count,
    check_leaves,
    check_noise,
    check_state,
    check_step,
    check_switch,
    check_time,
    move_axis,
    segment_of,
    steps_of,
)
from jrnn.cells import (
    Bidirectional,
    BidirectionalState,
    Stack,
    Wrapper,
    advance,
    check_cell,
    draw_noise,
    draws_noise,
    is_causal,
    merge,
)
from jrnn.loops import scan, scan_both
from jrnn.masking import schedule
from jrnn.plans import Plan, Run, Silent, Unrolled, explicitly_split
from jrnn.types import Array, InputError, Inputs, Params, State, size_of


def unroll(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    initial_state: State | None = None,
    reset_state: State | None = None,
    length: int | None = None,
    lengths: Any = None,
    resets: Any = None,
    mask: Any = None,
    reverse: bool = False,
    remat: bool | str | int | None = None,
    truncate: int | None = None,
    unroll: int = 1,
    return_states: bool = False,
    state_tap: State | None = None,
    time_axis: int = 0,
    key: Array | None = None,
    implementation: str | Sequence[str] | None = None,
) -> Unrolled:
    """Runs `cell` over a sequence: h_t = step(params, h_{t-1}, x_t), y_t = output(params, h_t, x_t).

    `jax.grad` of any loss of the result is backpropagation through time.

    Args:
      cell: a cell, a stack, or `Bidirectional`.
      params: its parameters.
      xs: [T, *B, F] with any number of batch axes or none, or a pytree of such; None for an autonomous cell.
      initial_state: h_0, leaves [*B, ...] in the cell's own state type; by default `cell.initial_state`. Cast to the
        cell's dtype.
      reset_state: what a reset goes to, like `initial_state`; by default the cell's own, `cell.initial_state`, also
        where `initial_state` was carried over from an earlier chunk.
      length: T, where xs is None.
      lengths: [*B] of int, 0..T: steps from there on are padding, whose values do not matter (the cell is shown zeros
        there): the state is held, the output is zero, no gradient flows.
      resets: [T, *B] of bool: True at the first step of a segment; the state entering it is the reset state, and no
        gradient passes. A learnt initial state hears all segments that begin with it.
      mask: [T, *B] of bool: where False the step did not happen: the state is held, the output is zero.
      reverse: read the valid prefix from its end; outputs stay at their original times; a reset then acts between t
        and t - 1, so that segments stay the same sets of steps.
      remat: recompute in the backward pass instead of storing: "step" (or True) keeps the states only, "sqrt" one
        state every sqrt(T) steps, an int one every so many steps.
      truncate: cut the gradient into the state every `truncate` steps, counted in reading order (truncated BPTT).
      unroll: steps per iteration of the reference's compiled loop.
      return_states: also return h_0..h_T.
      state_tap: zeros shaped like `states`, added to them: the gradient with respect to it is dL/dh_t. Padding, held
        by definition, gets zero.
      time_axis: where time is in xs, resets, mask, state_tap and in the results.
      key: a PRNG key for cells with noise (dropout), refused for others; None runs without noise.
      implementation: "native" (the compiled kernel, on CPUs), "associative" (a parallel prefix scan, of linear cells),
        "xla" (a scan with its own backward pass, anywhere), "reference" (the scan of the cell's step, any cell), or
        several names: the first that can run this call. None tries them all; `jrnn.kernels.explain` says which one that
        is. A call that draws noise takes the reference.
    Returns:
      An `Unrolled`.
    Raises:
      InputError: shapes, dtypes or options that do not fit; lengths out of range where their values are known.
    """
    check_cell(cell)
    check_leaves("params", params)
    check_noise(cell, key)
    axis = check_count("time_axis", time_axis, 0, "a non-negative axis")
    front, back = (partial(move_axis, source=a, to=b) for a, b in ((axis, 0), (0, axis)))
    silent = isinstance(state_tap, Silent)
    result = run(
        cell,
        params,
        front(as_arrays("xs", xs)),
        initial_state=initial_state,
        reset_state=reset_state,
        length=length,
        lengths=lengths,
        resets=front(None if resets is None else as_array("resets", resets)),
        mask=front(None if mask is None else as_array("mask", mask)),
        reverse=check_switch("reverse", reverse),
        remat=remat,
        truncate=truncate,
        unroll=unroll,
        return_states=check_switch("return_states", return_states),
        state_tap=front(state_tap.tap if isinstance(state_tap, Silent) else state_tap),
        silent=silent,
        key=key,
        implementation=implementation,
        beneath=False,
    )
    return result._replace(outputs=back(result.outputs), states=back(result.states), mask=back(result.mask))


def step(
    cell: Any, params: Params, state: State, x: Inputs, *, key: Array | None = None, t: Any = 0
) -> tuple[State, Any]:
    """One step of streaming: (h_{t-1}, x_t) -> (h_t, y_t); step after step it equals `unroll`.

    Args:
      cell, params: as for `unroll`, causal.
      state: h_{t-1}, leaves [*B, ...]; begin with `cell.initial_state(params, batch_shape)`.
      x: [*B, F].
      key, t: the key given to `unroll` and the index of this step, for cells with noise.
    Raises:
      InputError: the cell is not causal (`Bidirectional` reads the future).
    """
    check_cell(cell)
    if not is_causal(cell):
        raise InputError("cell", type(cell).__name__, "a causal cell: it reads the future, so it cannot be streamed")
    check_leaves("params", params)
    check_noise(cell, key)
    check_time(t)
    x = as_arrays("x", x)
    if state is None:
        raise InputError("state", "None", "h_{t-1}; begin with cell.initial_state(params, batch_shape)")
    batch_shape = batch_of(cell, params, x, state, None, time_axes=0)
    state = check_state("state", state, cell, params, batch_shape)
    noise = draw_noise(cell, params, key, t, batch_shape)
    return advance(cell, params, state, x, noise) if noise is not None else one_step(cell, params, state, x)


def one_step(cell: Any, params: Params, state: State, x: Inputs) -> tuple[State, Any]:
    """`advance` without noise. A plain cell with a kernel takes the step of `xla`, which has fewer products: on CPUs a
    small product costs as much as a large one."""
    if isinstance(cell, Stack):
        after = []
        for layer, own, before in zip(cell.cells, params, state, strict=True):
            new, x = one_step(layer, own, before, x)
            after.append(new)
        return tuple(after), x
    plain = hasattr(cell, "kernel") and not isinstance(cell, Wrapper) and x is not None
    if not plain or kernels.explain(cell, params, ("xla", "reference")).chosen != "xla":
        return advance(cell, params, state, x)
    jax.eval_shape(cell.step, params, state, x)  # checks them
    weights: Any = cell.kernel(params)
    after = kernels.step(weights, tuple(jax.tree.leaves(state)), jnp.asarray(x))
    after = jax.tree.unflatten(jax.tree.structure(state), after)
    return after, cell.output(params, after, x)


def run(cell: Any, params: Params, xs: Inputs, *, key: Array | None, **options: Any) -> Unrolled:
    """Time-major `unroll`: gives descriptions that are not causal their meaning, hands cells to the scan."""
    if isinstance(cell, Bidirectional):
        return run_both(cell, params, xs, key=key, **options)
    quiet = key is None or not draws_noise(cell)
    if not is_causal(cell) or (quiet and by_layers(cell, params, options["implementation"])):
        return run_layers(cell, params, xs, key=key, **options)
    return run_cell(cell, params, xs, key=key, **options)


def by_layers(cell: Any, params: Params, implementation: Any) -> bool:
    """Whether a stack is better run layer by layer: one of its layers has a kernel for it."""
    if not isinstance(cell, Stack):
        return False
    jax.eval_shape(lambda p: cell.initial_state(p, ()), params)  # checks them
    return kernels.explain(cell, params, implementation).chosen != "reference"


def run_both(
    cell: Bidirectional, params: Params, xs: Inputs, *, key: Array | None, reverse: bool, **options: Any
) -> Unrolled:
    """One direction reads forwards, the other backwards; each has its part of every state."""
    per_side = {name: options.pop(name) for name in ("initial_state", "reset_state", "state_tap")}
    for name, value in per_side.items():
        if value is not None and not isinstance(value, BidirectionalState):
            raise InputError(name, type(value).__name__, "BidirectionalState(forward, backward)")
    keys = (None, None) if key is None else jax.random.split(key)
    parts, sides = cell.parts(params), []
    for side, backwards, own_key in (("forward", reverse, keys[0]), ("backward", not reverse, keys[1])):
        own = {name: None if value is None else getattr(value, side) for name, value in per_side.items()}
        arguments = *parts[side], xs
        sides.append((arguments, dict(key=own_key, reverse=backwards, **own, **options)))
    if any(isinstance(arguments[0], Bidirectional | Stack) for arguments, _ in sides):
        one, other = (run(*arguments, **own) for arguments, own in sides)
    else:
        one, other = scan_both(*(run_of(*arguments, **own) for arguments, own in sides))
    return Unrolled(
        outputs=merge(one.outputs, other.outputs),
        final_state=BidirectionalState(one.final_state, other.final_state),
        states=None if one.states is None else BidirectionalState(one.states, other.states),
        mask=one.mask,
        last=merge(one.last, other.last),
    )


def run_layers(cell: Stack, params: Params, xs: Inputs, *, key: Array | None, **options: Any) -> Unrolled:
    """A stack with a layer that reads the future, or that has a kernel, runs layer by layer."""
    beneath = options.pop("beneath")
    per_layer = {name: options.pop(name) for name in ("initial_state", "reset_state", "state_tap")}
    for name, value in per_layer.items():
        if value is not None and not (isinstance(value, tuple) and len(value) == len(cell.cells)):
            given = f"{type(value).__name__} of {len(jax.tree.leaves(value))} arrays"
            raise InputError(name, given, f"a tuple of the {len(cell.cells)} layers' states")
    layers: list[Unrolled] = []
    for i, (layer, of_layer) in enumerate(cell.layers(params)):
        own = {name: None if value is None else value[i] for name, value in per_layer.items()}
        own_key = None if key is None else jax.random.fold_in(key, i)
        hands_on = beneath or (cell.causal and i < len(cell.cells) - 1)
        layers.append(run(layer, of_layer, xs, key=own_key, beneath=hands_on, **own, **options))
        xs = layers[-1].outputs
    return layers[-1]._replace(
        final_state=tuple(layer.final_state for layer in layers),
        states=tuple(layer.states for layer in layers) if options["return_states"] else None,
    )


def run_cell(cell: Any, params: Params, xs: Inputs, **options: Any) -> Unrolled:
    """One cell, or a stack as one."""
    return scan(*run_of(cell, params, xs, **options))


def run_of(
    cell: Any,
    params: Params,
    xs: Inputs,
    *,
    initial_state: State | None,
    reset_state: State | None,
    length: int | None,
    lengths: Any,
    resets: Any,
    mask: Any,
    reverse: bool,
    remat: bool | str | int | None,
    truncate: int | None,
    unroll: int,
    return_states: bool,
    state_tap: State | None,
    silent: bool,
    key: Array | None,
    implementation: str | Sequence[str] | None,
    beneath: bool,
) -> Run:
    """Checks what was given against the cell, and plans."""
    steps = steps_of(xs, length)
    given = (flags for flags in (mask, resets) if flags is not None and flags.ndim and len(flags))
    shaped = next((flags[:1].reshape(flags.shape[1:]) for flags in given), None)
    batch_shape = batch_of(cell, params, xs, initial_state, shaped if lengths is None else lengths, time_axes=1)
    unroll = check_count("unroll", unroll, 1, "a positive number of steps")
    truncate = None if truncate is None else check_count("truncate", truncate, 1, "a positive number of steps, or None")
    start = check_state("initial_state", initial_state, cell, params, batch_shape)
    same = reset_state is None and (initial_state is None or resets is None)
    restart = start if same else check_state("reset_state", reset_state, cell, params, batch_shape)
    if state_tap is not None:
        state_tap = check_state("state_tap", state_tap, cell, params, (steps + 1, *batch_shape))
    check_step(cell, params, start, xs)
    when = schedule(steps, batch_shape, lengths, resets, mask, reverse, truncate)
    chosen = kernels.explain(cell, params, implementation).chosen
    split = explicitly_split((xs, start))
    if split and chosen == "native":
        chosen = "xla"  # types that say how arrays are split do not reach through a foreign call
    several = split and len(batch_shape) > 1  # they would have to be merged
    if steps == 0 or size_of(batch_shape) == 0 or (key is not None and draws_noise(cell)) or several:
        chosen = "reference"
    plan = Plan(steps, batch_shape, reverse, segment_of(remat, steps), unroll, return_states, silent, chosen, beneath)
    return Run(cell, params, xs, start, restart, when, state_tap, key, plan)
