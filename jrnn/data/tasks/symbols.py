"""Tasks of symbols, one-hot: copy what was shown, say in which order two of them came."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jrnn.data.tasks.generated import GeneratedTask, checked_lag
from jrnn.types import Array

SYMBOLS, COPIED = 8, 10
BLANK, DELIMITER = 8, 9
ORDER = "abcdXYEB"
"""The symbols of the temporal order: four that mean nothing, the two asked for, the first and the last."""


def copy_memory(lag: int) -> GeneratedTask:
    """The copy task (Hochreiter, Schmidhuber 1997; as in Arjovsky, Shah, Bengio 2016): say ten symbols again.

    T = lag + 10, x one-hot [T, 10]: ten symbols of eight at t = 0..9, blanks (8), the delimiter (9) at t = lag - 1, and
    ten blanks. Asked at every step, nine classes: blank (8) for t < lag, then the ten symbols: the answer at
    t = lag + i is what stood at t = i, exactly `lag` steps back. The literature's "T" is lag - 10.
    Plateau 10 ln 8 / (lag + 10): the mean over all steps, of which ten ask for one of eight unknown symbols.

    Raises:
      InputError: lag is no whole number from 11 to 100,000.
    """
    lag = checked_lag(lag, 11, ": ten symbols and the delimiter come before the first is asked for")
    steps = lag + COPIED
    return GeneratedTask(
        f"copy:{lag}", lag, steps, 10, "classify_each", 9, COPIED * math.log(SYMBOLS) / steps,
        f"10 ln 8 / {steps}: blanks are known, the ten symbols are guessed",
        f"each of ten symbols is asked for {lag} steps after it was shown", "Ten random symbols, blanks, a delimiter.",
        draw_copy,
    )  # fmt: skip


def draw_copy(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    shown = jax.random.randint(key, (COPIED,), 0, SYMBOLS, jnp.int32)
    before = jnp.full(lag, BLANK, jnp.int32)
    read = jnp.concatenate([before.at[:COPIED].set(shown).at[lag - 1].set(DELIMITER), before[:COPIED]])
    return jax.nn.one_hot(read, 10, dtype=jnp.float32), jnp.concatenate([before, shown])


def temporal_order(lag: int) -> GeneratedTask:
    """Temporal order (Hochreiter, Schmidhuber 1997, task 6a): in which order did X and Y come?

    x one-hot [T, 8] over a, b, c, d, X, Y, E, B; T = lag + lag // 4 + 1. E at t = 0, B at the last step, at t1 and t2
    X or Y at random, elsewhere a, b, c or d at random. t1 is uniform in lag // 8 .. lag // 4, about T/10 to 2T/10, t2
    uniform in lag // 2 .. 5 lag // 8, about 4T/10 to 5T/10 (Pascanu, Mikolov, Bengio 2013). Asked at the last step: XX,
    XY, YX or YY as classes 0 to 3. The first of the two stands at least `lag` steps back in every case.
    Plateau ln 4 = 1.386: neither is known; ln 2 with the second one alone.

    Raises:
      InputError: lag is no whole number from 8 to 80,000.
    """
    lag = checked_lag(lag, 8, most=80_000)
    return GeneratedTask(
        f"temporal-order:{lag}", lag, lag + lag // 4 + 1, 8, "classify", 4, math.log(4),
        "ln 4, a guess among four equally likely orders; ln 2 with the second symbol alone",
        f"the first of the two symbols stands {lag} to {lag + lag // 4 - lag // 8} steps before the last step",
        "Random symbols, X or Y at two random places.", draw_order,
    )  # fmt: skip


def draw_order(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_filling, of_first, of_second, of_both = jax.random.split(key, 4)
    filling = jax.random.randint(of_filling, (steps,), 0, 4, jnp.int32)
    first = jax.random.randint(of_first, (), lag // 8, lag // 4 + 1, jnp.int32)
    second = jax.random.randint(of_second, (), lag // 2, 5 * lag // 8 + 1, jnp.int32)
    both = jax.random.randint(of_both, (2,), 0, 2, jnp.int32)
    read = filling.at[first].set(4 + both[0]).at[second].set(4 + both[1]).at[0].set(6).at[-1].set(7)
    return jax.nn.one_hot(read, len(ORDER), dtype=jnp.float32), 2 * both[0] + both[1]
