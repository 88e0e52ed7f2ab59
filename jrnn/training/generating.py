"""How a saved network goes on with a text: a character at a time, each drawn and read again."""

import math
from functools import partial
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import jit_by_cell
from jrnn.training.objectives import Objective
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import step
from jrnn.unrolling.checks import check_count

READ = 1000
"""Characters of a prompt at most that are read, the last ones."""


def generate(saved: Any, prompt: str, steps: int, temperature: float, seed: int) -> str:
    """`Saved.generate`."""
    alphabet = saved.metadata.get("alphabet")
    if not isinstance(saved.objective, Objective) or not alphabet:
        raise InputError("model", "one that was not trained on a text", "a model of `jrnn train --data book.txt`")
    if not isinstance(prompt, str) or not prompt:
        raise InputError("prompt", f"{prompt!r:.60}", "a text of one character at least, to go on with")
    steps = check_count("steps", steps, 0, "a whole number of characters")
    if isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
        raise InputError("temperature", repr(temperature), "a number of at least 0")
    key = jax.random.key(check_count("seed", seed, 0, "a whole number of at least 0"))
    one = partial(next_symbol, saved.cell, saved.objective, saved.params, saved.loss_params)
    *read, symbol = np.array([alphabet.find(character) + 1 for character in prompt[-READ:]], np.int32)
    state, drawn, heat = saved.first_state(), [], np.float32(temperature)
    for each in read:
        state, _ = one(state, each, key, heat, 0)
    for t in range(steps):
        state, symbol = one(state, symbol, key, heat, t)
        drawn.append(symbol)
    return "".join(alphabet[int(each) - 1] for each in jax.device_get(drawn))


@partial(jit_by_cell, static_argnums=(0, 1))
def next_symbol(
    cell: Any,
    objective: Any,
    params: Params,
    loss_params: Params,
    state: Any,
    symbol: Any,
    key: Array,
    temperature: Any,
    t: Any,
) -> tuple[Any, Array]:
    """The state after a symbol, and the next one, drawn from softmax(z / temperature) without symbol 0."""
    dtype = jnp.result_type(*jax.tree.leaves(params))
    state, y = step(cell, params, state, jax.nn.one_hot(symbol, objective.outputs, dtype=dtype))
    z = objective.head(loss_params, y)[1:].astype(jnp.float32)
    # z / temperature + Gumbel noise has its maximum where z + temperature noise has it, for a temperature of 0 too
    noise = temperature * jax.random.gumbel(jax.random.fold_in(key, t), z.shape, z.dtype)
    return state, 1 + jnp.argmax(z + noise).astype(jnp.int32)
