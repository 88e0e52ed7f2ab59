"""Gates opened in place: biases raised until the time constants reach a lag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells import Gates, bare_cells, check_cell, check_key, check_number
from jrnn.cells.initializers import chrono
from jrnn.types import Array, InputError, Params


def open_gates(cell: Any, params: Params, lag: float, *, key: Array) -> Params:
    """Raises the biases of the gates that keep the state, so that their time constants reach `lag`; closes none.

    b <- max(b, ln U[1, lag - 1]), one draw a unit: the law of `jrnn.initializers.chrono` (Tallec, Ollivier 2018), with
    1 / (1 - sigmoid(b)) from 2 to lag steps, as a mend of parameters that exist, trained ones too. It is b_f of an
    LSTM, b_z of a GRU; chrono's second half, b_i = -b_f, would lower an input gate and is left out. Where what keeps
    is what a gate does not admit, that gate's bias falls, b <- min(b, -ln U): b_z of `jrnn.min_gru`, and b_i beside b_f
    of `jrnn.min_lstm`, which divides both by their sum. What the gate reads besides its bias stays as it is, and may
    close it again.

    Helps an LSTM or GRU that is to bridge a lag it loses: opened at 200, both learnt the marked bit of that lag in 100
    to 250 updates, 3 of 3 each, which they did not in 1,000 as they were. Hurts a model that forgets on purpose:
    measure the loss again, and train on. A lag ten times the one needed costs resolution.

    Args:
      cell: with gates, such as jrnn.lstm, jrnn.gru and jrnn.min_gru; stacks, directions and wrappers are gone through.
      params: its parameters. For Flax's and PyTorch's weights: `jrnn.interop.open_gates`.
      lag: steps, above 2.
      key: draws the biases.
    Returns:
      Parameters like `params`; all but those biases are the same arrays.
    Raises:
      InputError: no cell in it has a gate that keeps the state, or lag is no number above 2.
    """
    check_cell(cell)
    check_lag(lag)
    check_key(key)
    leaves, treedef = jax.tree.flatten(params)
    count = 0
    for bare, own in bare_cells(cell, treedef.unflatten(range(len(leaves)))):
        gates = getattr(bare, "gates", None)
        number = own.get("bias") if isinstance(own, Mapping) else None
        if isinstance(gates, Gates) and (gates.keeps or gates.admits) and isinstance(number, int):
            leaves[number] = opened(leaves[number], lag, jax.random.fold_in(key, count), gates)
            count += 1
    if not count:
        needed = "one with a gate that keeps the state: jrnn.lstm, jrnn.gru, min_gru; jrnn.leaky(cell, t_max) gives one"
        raise InputError("cell", type(cell).__name__, needed)
    return treedef.unflatten(leaves)


def opened(bias: Any, lag: float, key: Array, gates: Gates) -> Array:
    """bias [gates*H] with the block that keeps raised, and the one that admits lowered where it decides what stays."""
    blocks = dict(zip(gates, jnp.split(jnp.asarray(bias), len(gates)), strict=True))
    block = blocks[gates[0]]
    drawn = chrono(lag).for_gates(key, Gates("keep", keeps="keep"), len(block), block.dtype)
    if gates.keeps is not None:
        blocks[gates.keeps] = jnp.maximum(blocks[gates.keeps], drawn)
    if gates.admits is not None and (gates.keeps is None or gates.shared):
        blocks[gates.admits] = jnp.minimum(blocks[gates.admits], -drawn)
    return jnp.concatenate(list(blocks.values()))


def check_lag(lag: Any) -> None:
    """InputError unless it is a number of steps that biases can be drawn for."""
    check_number("lag", lag, lambda steps: 2 < steps < float("inf"), "a number of steps above 2, not a traced one")
