"""Forecasts of the Lorenz system, which is chaotic: its largest exponent is .9056 a unit of time."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.data.tasks.generated import GeneratedTask, checked_lag
from jrnn.types import Array

DT = 0.02
SETTLE = 1000  # steps onto the attractor, 20 units of time
SHORTEST = 200  # steps of a sequence
MEAN = (0.0, 0.0, 23.55)  # over long runs at this dt; those of x and y are 0 by symmetry
DEVIATION = (7.92, 9.01, 8.62)


def lorenz(lag: int) -> GeneratedTask:
    """The Lorenz system of 1963: the state `lag` steps ahead, asked for at every step.

    dx/dt = 10 (y - x), dy/dt = x (28 - z) - y, dz/dt = x y - 8/3 z, by the classical Runge-Kutta rule of fourth order
    with dt = .02. T = max(200, 2 lag); x [T, 3] is the state s_t, less its mean (0, 0, 23.55) and over its deviation
    (7.92, 9.01, 8.62); y [T, 3] is s_{t+lag}. Sequences start on the attractor. `lag` is the distance between an answer
    and the input it is made from; the state is seen whole, so no memory is needed beyond it, and the difficulty is the
    other one: errors and gradients grow by e in 1/.9056 units of time, 55 steps.
    Plateau: the mean squared error of the best linear forecast from the present state, tr(C - C_l C^-1 C_l^T) / 3 with
    C = E s_t s_t^T and C_l = E s_{t+lag} s_t^T from 2.56 million states: about 1 % of itself exact.

    Raises:
      InputError: lag is no whole number from 1 to 5,000.
    """
    lag = checked_lag(lag, 1, most=5000)
    return GeneratedTask(
        f"lorenz:{lag}", lag, max(SHORTEST, 2 * lag), 3, "regress_each", 3, linear_forecast_error(lag),
        "the mean squared error of the best linear forecast from the present state",
        f"each answer is the state {lag} steps after the input it is made from",
        f"The Lorenz system of 1963 by a Runge-Kutta rule of fourth order, dt = {DT}, standardised.", draw_lorenz,
    )  # fmt: skip


def draw_lorenz(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    mean, deviation = jnp.array(MEAN, jnp.float32), jnp.array(DEVIATION, jnp.float32)
    start = mean + deviation * jax.random.normal(key, (3,), jnp.float32)
    settled = jax.lax.fori_loop(0, SETTLE, lambda _, s: onward(s, jnp), start)
    _, path = jax.lax.scan(lambda s, _: (onward(s, jnp), s), settled, None, length=steps + lag)
    path = (path - mean[None]) / deviation[None]
    return path[:steps], path[lag:]


def onward(s: Any, xp: Any) -> Any:
    """One step of dt from s [..., 3], in the arrays of `xp` (jnp or np)."""

    def slope(s: Any) -> Any:
        x, y, z = s[..., 0], s[..., 1], s[..., 2]
        return xp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)

    a = slope(s)
    b = slope(s + DT / 2 * a)
    c = slope(s + DT / 2 * b)
    return s + DT / 6 * (a + 2 * b + 2 * c + slope(s + DT * c))


@cache
def linear_forecast_error(lag: int) -> float:
    """tr(C - C_l C^-1 C_l^T) / 3 in float64, over 1,280 runs of 2,000 states and their futures."""
    runs, states = 1280, 2000
    s = np.random.default_rng(1963).normal(MEAN, DEVIATION, (runs, 3))
    for _ in range(SETTLE):
        s = onward(s, np)
    path = np.empty((states + lag, runs, 3))
    for t in range(len(path)):
        path[t] = s = onward(s, np)
    path = (path - MEAN) / DEVIATION
    now, later = path[:states].reshape(-1, 3), path[lag:].reshape(-1, 3)
    now, later = now - now.mean(0), later - later.mean(0)
    answer, residual, *_ = np.linalg.lstsq(now.T @ now, now.T @ later, rcond=None)
    return float(np.mean((later - now @ answer) ** 2))
