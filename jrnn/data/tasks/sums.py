"""The adding problem: the sum of two marked numbers."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jrnn.data.tasks.generated import GeneratedTask, checked_lag, marks
from jrnn.types import Array


def adding(lag: int) -> GeneratedTask:
    """The adding problem (Hochreiter, Schmidhuber 1997): the sum of two marked numbers, asked for at the last step.

    T = 2 lag, x [T, 2]: channel 0 is uniform on [0, 1) at every step, channel 1 is 1 at two steps, one uniform in the
    first half (0..lag-1), one uniform in the second (lag..2 lag-1), and 0 elsewhere. y [1] is the sum of the two marked
    numbers. The first one is at least `lag` steps back in every case, the second one less; the problem "of length
    2,000" is `adding(1000)`. It does not isolate the lag: its second mark lies at lags 0 to lag - 1, and a network that
    opens on the short ones may reach the long ones from there.
    Plateau 1/6 = .1667, the variance of the sum of two uniform numbers: the best constant. With the second number
    alone 1/12.

    Raises:
      InputError: lag is no whole number from 1 to 50,000.
    """
    lag = checked_lag(lag, 1, most=50_000)
    return GeneratedTask(
        f"adding:{lag}", lag, 2 * lag, 2, "regress", 1, 1 / 6,
        "1/6, the variance of the sum: the best constant; 1/12 with the second number alone",
        f"the first of the two numbers stands {lag} to {2 * lag - 1} steps before the last step",
        "Uniform numbers, two of them marked.", draw_adding,
    )  # fmt: skip


def draw_adding(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_values, of_first, of_second = jax.random.split(key, 3)
    values = jax.random.uniform(of_values, (steps,), jnp.float32)
    first = jax.random.randint(of_first, (), 0, lag, jnp.int32)
    second = jax.random.randint(of_second, (), lag, 2 * lag, jnp.int32)
    return jnp.stack([values, marks(steps, first, second)], axis=-1), (values[first] + values[second])[None]
