"""Instruments on a recurrence of your own: a network of leaky rate neurons, driven and on its own.

h' = (1 - a) h + a tanh(W h + x W_in): define init, initial_state and step; Jacobians, credit and exponents follow.

Run: python examples/your_own_recurrence.py [--short]
"""

import sys

import jax
import jax.numpy as jnp

import jrnn
from jrnn.flow import mean_field

LEAK, N = 0.5, 64 if "--short" in sys.argv else 200
STEPS = 400 if "--short" in sys.argv else 2000


def init(key, input_size):
    k_rec, k_in = jax.random.split(key)
    w_in = jax.random.normal(k_in, (input_size or 0, N))
    return {"w": 2.0 * jax.random.normal(k_rec, (N, N)) / jnp.sqrt(N), "w_in": w_in}


def initial_state(params, batch_shape):
    return jnp.zeros((*batch_shape, N))


def step(params, h, x):
    drive = h @ params["w"] + (0.0 if x is None else x @ params["w_in"])
    return (1 - LEAK) * h + LEAK * jnp.tanh(drive)


rates = jrnn.from_functions(init=init, initial_state=initial_state, step=step)
key = jax.random.key(0)

print(f"{N} rate neurons, gain 2: largest Lyapunov exponents in nats per step")
start = jax.random.normal(key, (N,))
alone = jrnn.lyapunov_spectrum(
    rates, rates.init(key, None), length=STEPS, warmup=STEPS // 4, k=3, every=5, initial_state=start
)
print(f"  on their own:        {alone.exponents.round(3)}  +- {alone.standard_errors[0]:.3f}")
for line in alone.warnings():
    print(f"  note: {line}")

params = rates.init(key, 1)
xs = jax.random.normal(jax.random.key(1), (STEPS, 1))
driven = jrnn.lyapunov_spectrum(rates, params, xs, warmup=STEPS // 4, k=3, every=5, initial_state=start)
print(f"  driven by noise:     {driven.exponents.round(3)}  +- {driven.standard_errors[0]:.3f}")
theory = mean_field(gain=2.0)
print(f"  theory without leak: {theory.largest_exponent:+.3f} on their own (input makes it smaller)")

T = 60
flow = jrnn.gradient_flow(rates, params, xs[:T], lambda run: jnp.sum(run.last**2), output_times=[T])
arrives = flow.credit[0, :0:-1] / flow.credit[0, T]
print("how much of the last output's gradient arrives")
print("  " + ", ".join(f"lag {lag}: {float(arrives[lag]):.2g}" for lag in (1, 10, 30, 59)))
J = jrnn.jacobians(rates, params, xs[:T])
sigma = jrnn.scaled_jacobian_product(J, 0, T).log_singular_values()
print(f"ln singular values of dh_{T}/dh_0: largest {sigma[0]:.1f}, tenth {sigma[9]:.1f}")
