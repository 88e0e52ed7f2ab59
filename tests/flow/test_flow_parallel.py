"""What a spectrum says of Newton's method over time, against Newton's method over time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.flow.lyapunov.parallel import parallel_sentence

STEPS, UNITS = 150, 24


def newton_steps(params, xs, most=40):
    """How many turns solve h_t = tanh(x_t W_in + b + h_{t-1} W_rec) for all t at once; `most` if more are needed."""
    w_in, w_rec, bias = (np.asarray(params[name]) for name in ("w_in", "w_rec", "bias"))
    driven = np.asarray(xs) @ w_in + bias
    true = [np.zeros(UNITS)]
    for z in driven:
        true.append(np.tanh(z + true[-1] @ w_rec))
    guess = np.zeros((STEPS, UNITS))
    for turn in range(most):
        if np.abs(guess - true[1:]).max() < 1e-8:
            return turn
        before = np.concatenate([np.zeros((1, UNITS)), guess[:-1]])
        value = np.tanh(driven + before @ w_rec)
        h = np.zeros(UNITS)
        for t in range(STEPS):  # the linear recurrence that one turn solves
            J = (1 - value[t] ** 2)[:, None] * w_rec.T
            h = value[t] + J @ (h - before[t])
            guess[t] = np.clip(h, -1e100, 1e100)
    return most


@pytest.mark.parametrize("gain, converges", [(0.5, True), (1.0, True), (4.0, False)])
def test_newton_over_time(gain, converges):
    cell = jrnn.elman(UNITS, w_rec=jrnn.initializers.gaussian(gain), dtype="float64")
    params = cell.init(jax.random.key(1), 2)
    xs = 0.3 * jax.random.normal(jax.random.key(2), (STEPS, 2))
    said = jrnn.lyapunov_spectrum(cell, params, xs, k=1).parallel_in_time()
    assert (newton_steps(params, xs) < 20) == converges
    assert ("should converge" in said) == converges and ("would not converge" in said) == (not converges)


def test_sentences():
    assert "slowly" in parallel_sentence(-0.01, 1e-4, 0.0, 200)
    assert "cannot be told" in parallel_sentence(0.001, 0.01, 0.0, 200)
    assert "first grow" in parallel_sentence(-0.5, 0.01, 5.0, 200)
    assert "should converge in" in parallel_sentence(-np.inf, 0.0, 0.0, 200)
    spectrum = jrnn.lyapunov_spectrum(jrnn.elman(2), jrnn.elman(2).init(jax.random.key(0), 1), jnp.ones((3, 0, 1)))
    assert spectrum.parallel_in_time().startswith("No step was counted")
