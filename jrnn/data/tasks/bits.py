"""Tasks that ask for a bit at the end: the marked bit, the latch, the exclusive or of two marked bits."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jrnn.data.tasks.generated import GeneratedTask, checked_lag, marks, signs
from jrnn.types import Array

LN2 = math.log(2)
NOISE = 0.5  # the latch's


def marked_bit(lag: int) -> GeneratedTask:
    """The marked bit: which sign was shown at the marked step, `lag` steps ago?

    T = lag + 1, x [T, 2]: channel 0 is -1 or 1 at random at every step, channel 1 is the marker, 1 at t = 0 and 0
    elsewhere. Asked at the last step: class 1 where x[0, 0] = 1, else 0. No shorter lag carries information, so there
    is no short-lag gradient to climb: the task tells whether a network learns from `lag` steps back, and nothing else.
    Plateau ln 2 = .6931: the other bits are independent of the one asked for.

    Raises:
      InputError: lag is no whole number from 1 to 100,000.
    """
    lag = checked_lag(lag, 1)
    return GeneratedTask(
        f"marked-bit:{lag}", lag, lag + 1, 2, "classify", 2, LN2, "ln 2, a guess between two equally likely bits",
        f"the bit is shown at step 0 and asked for at step {lag}", "Random bits, the first one marked.", draw_marked,
    )  # fmt: skip


def draw_marked(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    bits = signs(key, steps)
    return jnp.stack([bits, marks(steps, 0)], axis=-1), (bits[0] > 0).astype(jnp.int32)


def latch(lag: int) -> GeneratedTask:
    """The latch: a bit, then noise (after Bengio, Simard, Frasconi 1994).

    T = lag + 1, x [T, 2]: channel 0 is -1 or 1 at t = 0 and 0 elsewhere, channel 1 is 0 at t = 0 and then normal noise
    of deviation .5. Asked at the last step: class 1 where x[0, 0] = 1, else 0. Easier than the marked bit: nothing of
    the bit's own channel comes later, and a network that saturates on the bit solves it. Plateau ln 2 = .6931.

    Raises:
      InputError: lag is no whole number from 1 to 100,000.
    """
    lag = checked_lag(lag, 1)
    return GeneratedTask(
        f"latch:{lag}", lag, lag + 1, 2, "classify", 2, LN2, "ln 2, a guess between two equally likely bits",
        f"the bit is shown at step 0 and asked for at step {lag}", "A random bit, then noise of deviation .5.",
        draw_latch,
    )  # fmt: skip


def draw_latch(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_bit, of_noise = jax.random.split(key)
    bit, first = signs(of_bit, 1)[0], marks(steps, 0)
    noise = NOISE * jax.random.normal(of_noise, (steps,), jnp.float32)
    return jnp.stack([bit * first, noise * (1 - first)], axis=-1), (bit > 0).astype(jnp.int32)


def delayed_xor(lag: int) -> GeneratedTask:
    """The exclusive or of two marked bits: do the signs shown `lag` and lag // 2 steps ago differ?

    T = lag + 1, x [T, 2]: channel 0 is -1 or 1 at random at every step, channel 1 is 1 at t = 0 and at
    t = lag - lag // 2, and 0 elsewhere. Asked at the last step: class 1 where the two marked signs differ. Either bit
    alone says nothing, so the near one does not teach the far one. Plateau ln 2 = .6931.

    Raises:
      InputError: lag is no whole number from 1 to 100,000.
    """
    lag = checked_lag(lag, 1)
    return GeneratedTask(
        f"delayed-xor:{lag}", lag, lag + 1, 2, "classify", 2, LN2, "ln 2: one of the two bits alone says nothing",
        f"the bits are shown at steps 0 and {lag - lag // 2} and asked for at step {lag}",
        "Random bits, two of them marked.", draw_xor,
    )  # fmt: skip


def draw_xor(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    bits, second = signs(key, steps), lag - lag // 2
    return jnp.stack([bits, marks(steps, 0, second)], axis=-1), (bits[0] != bits[second]).astype(jnp.int32)
