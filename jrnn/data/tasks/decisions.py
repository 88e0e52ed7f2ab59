"""Decisions of the laboratory: was the same stimulus shown before, and which of two streams of evidence counts?"""

from __future__ import annotations

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.data.tasks.generated import GeneratedTask, checked_lag
from jrnn.types import Array

LN2 = math.log(2)
STIMULI = 4
WAITING_NOISE = 0.1  # of the channels between the two stimuli

EVIDENCE = 15  # steps of 50 ms: 750 ms
STRONGEST = 0.1875  # the largest drift of the evidence
EVIDENCE_NOISE = math.sqrt(1 / 50)  # white noise of deviation 1 in a step of 1 ms, averaged over 50 ms


def delayed_match(lag: int) -> GeneratedTask:
    """Delayed match to sample: is the stimulus now the one shown `lag` steps ago?

    T = lag + 1, x [T, 5]: channels 0 to 3 show one of four stimuli, one-hot, the sample at t = 0 and the test at
    t = lag, and normal noise of deviation .1 between; channel 4 is the cue to hold still, 1 until the test comes and 0
    there. The test matches in half of the cases, else it is one of the other three. Asked at the last step: class 1 for
    a match. The task of Miller, Erickson, Desimone (1996), without their distractors. Plateau ln 2 = .6931: sample and
    test are as likely to match whatever the test is.

    Raises:
      InputError: lag is no whole number from 1 to 100,000.
    """
    lag = checked_lag(lag, 1)
    return GeneratedTask(
        f"delayed-match:{lag}", lag, lag + 1, STIMULI + 1, "classify", 2, LN2, "ln 2, a guess without the sample",
        f"the sample is shown at step 0 and compared with the test at step {lag}",
        "Two of four stimuli, alike in half of the cases, and noise between them.", draw_match,
    )  # fmt: skip


def draw_match(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_sample, of_match, of_other, of_noise = jax.random.split(key, 4)
    sample = jax.random.randint(of_sample, (), 0, STIMULI, jnp.int32)
    match = jax.random.randint(of_match, (), 0, 2, jnp.int32)
    other = (sample + jax.random.randint(of_other, (), 1, STIMULI, jnp.int32)) % STIMULI
    shown = jax.nn.one_hot(jnp.stack([sample, jnp.where(match == 1, sample, other)]), STIMULI, dtype=jnp.float32)
    between = WAITING_NOISE * jax.random.normal(of_noise, (steps - 2, STIMULI), jnp.float32)
    cue = jnp.ones((steps, 1), jnp.float32).at[-1].set(0)
    return jnp.concatenate([jnp.concatenate([shown[:1], between, shown[1:]]), cue], axis=1), match


def context_decision(lag: int) -> GeneratedTask:
    """The context-dependent decision of Mante, Sussillo, Shenoy, Newsome (2013): two streams of evidence, one counts.

    T = 15 + lag, x [T, 4]: channels 0 (motion) and 1 (colour) are the evidence, u_t = d + sqrt(1/50) n_t at the first
    15 steps and 0 after, with n_t normal and each drift d uniform in -.1875 to .1875, drawn once a case; channels 2 and
    3 are the context, (1, 0) where motion counts and (0, 1) where colour does, at every step. (A step is 50 ms of the
    paper's 750 ms of evidence, its noise the mean of 50 of the paper's.) Asked at the last step: class 1 where the
    drift that counts is above 0. The last evidence stands `lag` steps before the answer, which is the delay that the
    monkeys had; with lag 1 there is none.
    Plateau ln 2 = .6931: no evidence at all. Best loss .1759 nats: the evidence is noisy, so that the best decision,
    the sign of its sum, is right in 92 % of the cases.

    Raises:
      InputError: lag is no whole number from 1 to 100,000.
    """
    lag = checked_lag(lag, 1)
    return GeneratedTask(
        f"context-decision:{lag}", lag, EVIDENCE + lag, 4, "classify", 2, LN2, "ln 2, a guess without the evidence",
        f"the evidence stands {lag} to {lag + EVIDENCE - 1} steps before the answer",
        "Two noisy streams of evidence, and a context that says which of them counts.", draw_context,
        best_loss=sign_uncertainty(),
    )  # fmt: skip


def draw_context(lag: int, steps: int, key: Array) -> tuple[Array, Array]:
    of_drift, of_noise, of_context = jax.random.split(key, 3)
    drift = jax.random.uniform(of_drift, (2,), jnp.float32, -STRONGEST, STRONGEST)
    noise = EVIDENCE_NOISE * jax.random.normal(of_noise, (EVIDENCE, 2), jnp.float32)
    evidence = jnp.zeros((steps, 2), jnp.float32).at[:EVIDENCE].set(drift[None] + noise)
    context = jax.random.randint(of_context, (), 0, 2, jnp.int32)
    cue = jnp.broadcast_to(jax.nn.one_hot(context, 2, dtype=jnp.float32)[None], (steps, 2))
    return jnp.concatenate([evidence, cue], axis=1), (drift[context] > 0).astype(jnp.int32)


@cache
def sign_uncertainty() -> float:
    """E H(sign d | m) in nats, m the mean of the evidence, normal about d with deviation s: d is uniform on [-a, a],
    so that p(m) = (P((m + a) / s) - P((m - a) / s)) / 2a, and d > 0 has the share (P(m / s) - P((m - a) / s)) of it."""
    a, s = STRONGEST, EVIDENCE_NOISE / math.sqrt(EVIDENCE)
    normal = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)))
    m = np.linspace(-a - 9 * s, a + 9 * s, 4001)
    above, below = normal(m / s) - normal((m - a) / s), normal((m + a) / s) - normal(m / s)
    whole = above + below
    parts = [part * np.log(np.where(part > 0, part / np.where(whole > 0, whole, 1), 1)) for part in (above, below)]
    return float(-np.sum(parts) * (m[1] - m[0]) / (2 * a))
