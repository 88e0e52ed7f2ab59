"""The two-lag coin: a coin whose bias two earlier tosses decide; its loss tells which lag was reached."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jrnn.data.tasks.generated import GeneratedTask, checked_lag
from jrnn.types import Array


def entropy(p: float) -> float:
    """Of a coin that shows 1 with probability p, in nats."""
    return -sum(q * math.log(q) for q in (p, 1 - p) if q)


NEITHER = entropy(0.625)  # .66156
LONG_ALONE = (entropy(0.75) + entropy(0.5)) / 2  # .62774
SHORT_ALONE = (entropy(0.375) + entropy(0.875)) / 2  # .51917
BOTH = (entropy(0.5) + entropy(1.0) + entropy(0.25) + entropy(0.75)) / 4  # .45445


def two_lag_coin(lag: int) -> GeneratedTask:
    """A coin whose bias two earlier inputs decide (the task of Marschall, Cho, Savin 2020).

    T = 2 lag, x [T, 1] is 0 or 1 at random at every step. Asked at every step from t = lag on (`warmup`): a coin y_t in
    {0, 1} that shows 1 with probability .5 + .5 x[t - s] - .25 x[t - lag], with the short lag s = lag - lag // 2.
    The loss is a ruler: .66156 nats knowing neither input, .62774 the long lag alone, .51917 the short lag alone,
    .45445 both, which is the best there is. Plateau .51917: all but the long lag.

    Raises:
      InputError: lag is no whole number from 2 to 50,000.
    """
    lag = checked_lag(lag, 2, ": there is a shorter one too", most=50_000)
    return GeneratedTask(
        f"two-lag-coin:{lag}", lag, 2 * lag, 1, "classify_each", 2, SHORT_ALONE,
        f"{SHORT_ALONE:.5f} with lag {lag - lag // 2} alone; {NEITHER:.5f} with neither, {BOTH:.5f} with both",
        f"the coin's bias hangs on the inputs {lag - lag // 2} and {lag} steps back",
        "Random bits, and coins whose bias they decide.", draw_coin, warmup=lag, best_loss=BOTH,
    )  # fmt: skip


def draw_coin(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_bits, of_coins = jax.random.split(key)
    x = jax.random.randint(of_bits, (steps,), 0, 2, jnp.int32).astype(jnp.float32)
    short = lag - lag // 2
    bias = 0.5 + 0.5 * x[lag - short : steps - short] - 0.25 * x[: steps - lag]
    bias = jnp.concatenate([jnp.full(lag, 0.5, jnp.float32), bias])
    tossed = jax.random.uniform(of_coins, (steps,), jnp.float32) < bias
    return x[:, None], tossed.astype(jnp.int32)
