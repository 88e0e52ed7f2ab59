"""Gated linear recurrences over 16,384 steps: values, gradients and credit against NumPy loops in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jrnn

F, COUNT, EARLY = 2, 16384, 5000


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def gates_of(params, xs, blocks):
    """x W + b, block by block."""
    return np.split(xs @ params["w_in"] + params["bias"], blocks, axis=-1)


def min_gru_by_hand(params, xs):
    """(a, b [T, H]; from dL/da and dL/db, dL/dbias at every step)."""
    v, n = gates_of(params, xs, 2)
    z = sigmoid(v)
    return 1 - z, z * n, lambda g_a, g_b: ((g_b * n - g_a) * z * (1 - z), g_b * z)


def min_lstm_by_hand(params, xs):
    """a = f / (f + i), b = (1 - a) n."""
    v, w, n = gates_of(params, xs, 3)
    f, i = sigmoid(v), sigmoid(w)
    a = f / (f + i)

    def of_bias(g_a, g_b):
        slope = (g_a - g_b * n) * a * (1 - a)
        return slope * (1 - f), -slope * (1 - i), g_b * (1 - a)

    return a, (1 - a) * n, of_bias


def lru_by_hand(params, xs):
    """lam = exp(-exp(nu) + i exp(theta)) at every step, b = exp(gamma) x B; the gradients of nu, theta, gamma."""
    nu, theta, gamma = (np.exp(params[name]) for name in ("nu", "theta", "gamma"))
    lam, (re, im) = np.exp(-nu + 1j * theta), np.split(xs @ params["w_in"], 2, axis=-1)
    b = gamma * (re + 1j * im)

    def of_numbers(g_a, g_b):
        g_a = g_a * np.conj(lam)
        return -nu * g_a.real, theta * g_a.imag, (g_b * np.conj(b)).real

    return np.broadcast_to(lam, b.shape), b, of_numbers


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("cell", "by_hand", "names"),
    [
        (jrnn.min_gru(3, t_max=4000), min_gru_by_hand, ("bias",)),
        (jrnn.min_lstm(3, t_max=4000), min_lstm_by_hand, ("bias",)),
        (jrnn.lru(3, outputs=2, decay=(0.9995, 0.9999)), lru_by_hand, ("nu", "theta", "gamma")),
    ],
    ids=["min_gru", "gated", "complex"],
)
def test_sixteen_thousand_steps(cell, by_hand, names):
    """Of the credit the rows of two outputs."""
    params, rng = cell.init(jax.random.key(0), F), np.random.default_rng(1)
    xs, pulls = rng.normal(size=(COUNT, 1, F)), rng.normal(size=(2, 2 if "nu" in params else 3))

    def pulled(u):
        return jnp.sum(u.outputs[EARLY - 1, 0] * pulls[0]) + jnp.sum(u.outputs[-1, 0] * pulls[1])

    found = jax.jit(partial(jrnn.unroll, cell))(params, xs)
    grads = jax.jit(jax.grad(lambda p: pulled(jrnn.unroll(cell, p, xs))))(params)
    flow = jrnn.gradient_flow(cell, params, xs, pulled, by_lag=False, output_times=np.array([EARLY, COUNT]))

    own = jax.tree.map(np.asarray, params)
    a, b, of_params = by_hand(own, xs[:, 0])
    h = np.zeros((COUNT + 1, 3), a.dtype)
    for t in range(COUNT):
        h[t + 1] = a[t] * h[t] + b[t]
    parts = lambda v: np.concatenate([v.real, v.imag], axis=-1) if np.iscomplexobj(v) else v  # noqa: E731
    ys, at_h = h[1:], pulls
    if "nu" in params:
        of_re, of_im = np.split(own["w_out"], 2)
        ys = h[1:].real @ of_re - h[1:].imag @ of_im + xs[:, 0] @ own["skip"]
        at_h = pulls @ of_re.T - 1j * (pulls @ of_im.T)
    delta, credit = np.zeros_like(h), np.zeros((2, COUNT + 1))
    for row, end in enumerate((EARLY, COUNT)):
        part = at_h[row]
        for k in range(end, -1, -1):
            credit[row, k] = np.linalg.norm(part)
            delta[k] += part
            part = np.conj(a[k - 1]) * part
    close = partial(assert_allclose, rtol=1e-10)
    close(found.outputs[:, 0], ys, atol=1e-12 * np.max(np.abs(ys)))
    close(flow.state_gradients[:, 0], parts(delta), atol=1e-12 * np.max(np.abs(delta)))
    close(flow.credit[:, :, 0], credit)
    assert 0 < credit[1, 0] < credit[1, -1]
    wanted = np.concatenate(of_params(delta[1:] * np.conj(h[:-1]), delta[1:]), axis=-1).sum(axis=0)
    close(np.concatenate([grads[name] for name in names]), wanted, atol=1e-11 * np.max(np.abs(wanted)))
