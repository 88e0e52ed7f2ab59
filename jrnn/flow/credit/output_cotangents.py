"""What pulls on a run: dL/dy_t of every output, and which outputs are followed back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array, InputError, Inputs, Params, State
from jrnn.unrolling import Options, Unrolled, run
from jrnn.unrolling.checks import as_array, concrete
from jrnn.unrolling.gradients import loss_value
from jrnn.unrolling.schedule import schedule_of, zero_unless


def run_and_pull(
    cell: Any, params: Params, xs: Inputs, options: Options, loss: Callable, loss_params: Params
) -> tuple[Unrolled, tuple]:
    """(the run with its states, `output_pull` of it)."""
    unrolled = run(cell, params, xs, replace(options, return_states=True))
    return unrolled, output_pull(unrolled, options, loss, loss_params)


def output_pull(unrolled: Unrolled, options: Options, loss: Callable, loss_params: Params = None) -> tuple:
    """(g_outputs [T, *B, K], g_final, final_row [T, *B]): dL/dy_t for every output, and dL/d final_state.

    `last` counts at the step it came from, `final_state` at the last step inside the lengths (row 0 if there is none).
    """

    def of(outputs: Any, final_state: Any, last: Any) -> Array:
        return loss_value(loss, loss_params, unrolled._replace(outputs=outputs, final_state=final_state, last=last))

    pull, g_final, g_last = jax.grad(of, argnums=(0, 1, 2))(unrolled.outputs, unrolled.final_state, unrolled.last)
    inside, mask = schedule_of(options).inside, unrolled.mask
    last_row = end_of(mask, options.reverse)
    pull = jax.tree.map(
        lambda g, of_last: g + zero_unless(last_row, jnp.broadcast_to(of_last[None], g.shape)), pull, g_last
    )
    final_row = end_of(jnp.ones_like(mask) if inside is None else inside, options.reverse)
    if options.steps:
        final_row = final_row.at[0].set(final_row[0] | ~jnp.any(final_row, axis=0))
    return pull, g_final, final_row


def end_of(happened: Array, reverse: bool) -> Array:
    """[T, *B] of bool: True at the one step read last."""
    after = jnp.cumsum(happened.astype(jnp.int32), axis=0, dtype=jnp.int32)
    return happened & ((after == 1) if reverse else (after == after[-1:]))


def carrying(g_outputs: Any, g_final: State, final_row: Array) -> Array:
    """[T] of bool: the outputs that any gradient comes from."""
    carries = jnp.zeros(len(final_row), bool)
    for g in jax.tree.leaves(g_outputs):
        carries |= jnp.any(g != 0, axis=tuple(range(1, g.ndim)))
    for g in jax.tree.leaves(g_final):
        pulls = zero_unless(final_row, jnp.broadcast_to((g != 0)[None], (len(final_row), *g.shape)))
        carries |= jnp.any(pulls, axis=tuple(range(1, pulls.ndim)))
    return carries


def sample_outputs(carry: Array, most: int) -> tuple[Array, Array, Array]:
    """(output times [most] ascending, exact, weight): an even sample of the outputs that carry gradient.

    If there are no more than `most`, all of them (and others, which add nothing): then exact is True and weight 1.
    Otherwise each stands for `weight` of them.
    """
    count = jnp.sum(carry, dtype=jnp.int32)
    order = jnp.argsort(~carry, stable=True).astype(jnp.int32)
    first = jnp.arange(most, dtype=jnp.int32)
    exact = count <= most
    share = count.astype(jnp.float32) / most
    even = jnp.round((first + 1).astype(jnp.float32) * share).astype(jnp.int32) - 1  # the last one among them
    times = order[jnp.where(exact, first, jnp.minimum(even, len(carry) - 1))] + 1
    return jnp.sort(times), exact, jnp.maximum(share, 1.0)


def check_output_times(times: Any, steps: int) -> Array:
    """Output times as int32 [R]; InputError unless all are ints in 1..T (where their values can be seen)."""
    known = concrete(times)
    array = as_array("output_times", times)
    if array.size and not jnp.issubdtype(array.dtype, jnp.integer) or array.ndim != 1:
        raise InputError("output_times", f"{array.dtype}{list(array.shape)}", "a list of integers")
    bad = [] if known is None else [int(t) for t in known if not 1 <= t <= steps]
    if known is not None and len(set(known.tolist())) < known.size:
        raise InputError("output_times", known.tolist(), "each output once")
    if bad:
        raise InputError("output_times", bad[0], f"output times from 1 to T = {steps}")
    return array.astype(jnp.int32)


def check_finite(states: State, batch_ndim: int) -> None:
    """InputError that names the first time and unit where a state is not finite; nothing where it cannot be seen."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(states):
        values = concrete(leaf)
        if values is None or np.isfinite(values).all():
            continue
        time, *rest = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        where = f" of sequence {tuple(rest[:batch_ndim])}" if batch_ndim else ""
        unit = f"{jax.tree_util.keystr(path).lstrip('.') or 'h'}{rest[batch_ndim:]}"
        value = values[(time, *rest)]
        raise InputError("params, xs", f"{value} in the state: {unit}{where} at time {time}", "finite states")


def check_pull(carry: Array, mask: Array) -> None:
    """InputError if no output carries any gradient; nothing where it cannot be seen, or where no step happened."""
    known, happened = concrete(carry), concrete(mask)
    if known is not None and happened is not None and happened.any() and not known.any():
        raise InputError("loss", "a loss whose gradient is zero at every output", "a loss that depends on the outputs")
