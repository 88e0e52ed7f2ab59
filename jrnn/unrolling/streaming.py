"""A cell step by step, as a stream comes in."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import kernels
from jrnn.cells import Stack, Wrapper, advance, check_cell, draw_noise, is_causal
from jrnn.kernels.recurrences import Sloped
from jrnn.types import Array, InputError, Inputs, Params, State
from jrnn.unrolling.checks import as_arrays, check_leaves, check_noise, check_time
from jrnn.unrolling.choice import known_facts
from jrnn.unrolling.kernel_calls import projects
from jrnn.unrolling.states import batch_of, check_state


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
    plain = hasattr(cell, "kernel") and not (isinstance(cell, Wrapper) or projects(cell)) and x is not None
    if not plain or not has_slopes(cell, params):
        return advance(cell, params, state, x)
    jax.eval_shape(cell.step, params, state, x)  # checks them
    weights: Any = cell.kernel(params)
    after = kernels.step(weights, tuple(jax.tree.leaves(state)), jnp.asarray(x))
    after = jax.tree.unflatten(jax.tree.structure(state), after)
    return after, cell.output(params, after, x)


def has_slopes(cell: Any, params: Params) -> bool:
    """Whether the cell's recurrence has a step that takes few products."""
    facts = known_facts(cell, params, None)
    return not isinstance(facts, str) and isinstance(facts.recurrence, Sloped)
