"""A cell over a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jrnn.types import Array, Inputs, Params, State
from jrnn.unrolling.layers import run
from jrnn.unrolling.reading import read
from jrnn.unrolling.records import Options, Unrolled
from jrnn.unrolling.states import move_axis
from jrnn.unrolling.watching import watched


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
      implementation: "native" (the compiled kernel, on CPUs), "tpu" (a kernel for TPUs, in float32 and bfloat16),
        "associative" (a parallel prefix scan, of linear cells), "xla" (a scan with its own backward pass, anywhere),
        "reference" (the scan of the cell's step, any cell), or several names: the first that can run this call. None
        tries them all but what waits to be named; `jrnn.kernels.explain` says which one that is, and why. A call that
        draws noise takes the reference.
    Returns:
      An `Unrolled`.
    Raises:
      InputError: shapes, dtypes or options that do not fit; lengths out of range where their values are known.
    """
    xs, options = read(
        cell,
        params,
        xs,
        initial_state=initial_state,
        reset_state=reset_state,
        length=length,
        lengths=lengths,
        resets=resets,
        mask=mask,
        reverse=reverse,
        remat=remat,
        truncate=truncate,
        unroll=unroll,
        return_states=return_states,
        state_tap=state_tap,
        time_axis=time_axis,
        key=key,
        implementation=implementation,
    )
    return laid_out(watched(run)(cell, params, xs, options), options)


def laid_out(result: Unrolled, options: Options) -> Unrolled:
    """The result with time where it was in what was given."""
    outputs, states, mask = (
        move_axis(tree, 0, options.time_axis) for tree in (result.outputs, result.states, result.mask)
    )
    return result._replace(outputs=outputs, states=states, mask=mask)
