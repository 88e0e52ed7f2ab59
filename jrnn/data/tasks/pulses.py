"""Answers to pulses at every step: the last pulse is held, the interval between two is told again."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.data.tasks.generated import GeneratedTask, checked_lag, marks
from jrnn.types import Array

CHANNELS = 3
GAINS = (1.0, 1.5)


def flip_flop(lag: int) -> GeneratedTask:
    """The 3-bit flip-flop of Sussillo and Barak (2013): which sign had the last pulse of each channel?

    T = 4 lag, x [T, 3]: each channel shows pulses of -1 or 1, at t = 0 and then at each step with probability 1 / lag,
    and 0 between. Asked at every step: y [T, 3], the last pulse of each channel. A bit is held for `lag` steps on
    average; the solution has a stable fixed point for each of the eight states (`jrnn.flow.fixed_points`).
    Plateau 3/4 (1 - 1/lag)^lag, about .27: the mean squared error of who knows the pulses of the last `lag` steps
    alone, that of 0 where there were none.

    Raises:
      InputError: lag is no whole number from 2 to 25,000.
    """
    lag = checked_lag(lag, 2, ": pulses come with probability 1 / lag", most=25_000)
    return GeneratedTask(
        f"flip-flop:{lag}", lag, 4 * lag, CHANNELS, "regress_each", CHANNELS, 0.75 * (1 - 1 / lag) ** lag,
        f"the last {lag} steps are known, and 0 is said where they hold no pulse",
        f"a pulse is held for {lag} steps on average", "Random pulses in three channels, each the bit until the next.",
        draw_flips,
    )  # fmt: skip


def draw_flips(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_times, of_signs = jax.random.split(key)
    there = jax.random.uniform(of_times, (steps, CHANNELS), jnp.float32) < 1 / lag
    there = there.at[0].set(True)
    signs = (2 * jax.random.randint(of_signs, (steps, CHANNELS), 0, 2, jnp.int32) - 1).astype(jnp.float32)
    times = jnp.broadcast_to(jnp.arange(steps, dtype=jnp.int32)[:, None], (steps, CHANNELS))
    last = jax.lax.cummax(jnp.where(there, times, 0), axis=0)
    return jnp.where(there, signs, 0), jnp.take_along_axis(signs, last, axis=0)


def ready_set_go(lag: int) -> GeneratedTask:
    """Ready, set, go (Jazayeri, Shadlen 2010): tell an interval again, once or one and a half times as long.

    x [T, 3]: channel 0 is 1 at the step r of "ready", channel 1 at the step r + s of "set", both 0 elsewhere; channel 2
    is the gain g, 1 or 1.5 in the whole case (the two contexts of Remington et al. 2018). r is uniform in
    0..lag // 2, the interval s in lag..3 lag // 2. Asked at every step: y [T, 1] is 0 until "set" and then rises in a
    straight line, min(1, (t - r - s) / (g s)), which reaches 1 when it is time to go, g s steps after "set".
    T = lag // 2 + S + ceil(1.5 S) + 1 with S = 3 lag // 2, the longest. "Ready" stands at least `lag` steps before
    every answer that hangs on it.
    Plateau: the mean squared error of who knows gain and pulses of the last `lag` steps alone: from "set" on the
    interval is unknown, and without a pulse the mean of all that may be is said.

    Raises:
      InputError: lag is no whole number from 2 to 5,000.
    """
    lag = checked_lag(lag, 2, ": there is more than one interval", most=5000)
    return GeneratedTask(
        f"ready-set-go:{lag}", lag, longest_case(lag), 3, "regress_each", 1, unmeasured_error(lag),
        f"the last {lag} steps and the gain are known, but not how long ago ready was",
        f"the interval began {lag} or more steps before every answer that hangs on it",
        "Two pulses, and the interval between them told again.", draw_interval,
    )  # fmt: skip


def longest_case(lag: int) -> int:
    """T: the latest "ready", the longest interval, and that at the larger gain, with the step of "go" itself."""
    longest = 3 * lag // 2
    return lag // 2 + longest + -(-3 * longest // 2) + 1


def draw_interval(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_ready, of_interval, of_gain = jax.random.split(key, 3)
    ready = jax.random.randint(of_ready, (), 0, lag // 2 + 1, jnp.int32)
    interval = jax.random.randint(of_interval, (), lag, 3 * lag // 2 + 1, jnp.int32)
    gain = jnp.asarray(GAINS, jnp.float32)[jax.random.randint(of_gain, (), 0, 2, jnp.int32)]
    since = (jnp.arange(steps, dtype=jnp.int32) - ready - interval).astype(jnp.float32)
    ramp = jnp.clip(since / (gain * interval.astype(jnp.float32)), 0, 1)
    read = [marks(steps, ready), marks(steps, ready + interval), jnp.broadcast_to(gain, (steps,))]
    return jnp.stack(read, axis=-1), ramp[:, None]


@cache
def unmeasured_error(lag: int) -> float:
    """The variance of the answer given gain and pulses of the last `lag` steps, in the mean over all steps.

    With "ready" in sight the answer is 0. d < lag steps after "set" it is d / (g s), s unknown. Where the last `lag`
    steps hold no pulse it is 0, before "set", or what the ramp has reached `lag` or more steps after it; where they
    reach back to the start there is no doubt.
    """
    steps, foreperiod, intervals = longest_case(lag), lag // 2, np.arange(lag, 3 * lag // 2 + 1)
    total, blank = 0.0, steps - 2 * lag - foreperiod / 2
    for gain in GAINS:
        sums = np.zeros(2)  # of the answer and of its square, over the steps without a pulse, in the mean over cases
        for interval in intervals:
            ramp = np.minimum((lag + np.arange(steps)) / (gain * interval), 1.0)
            most = steps - lag - interval  # such steps after "set", if "ready" came at once
            reached = np.cumsum([ramp, ramp**2], axis=1)[:, most - foreperiod - 1 : most]
            sums += reached.mean(axis=1) / len(intervals)
        total += np.sum(np.arange(lag) ** 2) / gain**2 * np.var(1 / intervals) + sums[1] - sums[0] ** 2 / blank
    return float(total / len(GAINS) / steps)
