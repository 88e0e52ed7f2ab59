"""How the state after a step moves with the pre-activations, from the gates' values.

The backward pass multiplies by these what comes back; the closed-form Jacobians multiply the weights by them.
"""

from __future__ import annotations

import jax.numpy as jnp

from jrnn.types import Array

OF_ACTIVATION = {  # phi'(z) from phi(z); 0 at the corner, as jax.nn.relu has it
    "tanh": lambda h: 1 - h * h,
    "relu": lambda h: (h > 0).astype(h.dtype),
    "identity": jnp.ones_like,
}


def of_lstm(gates: tuple[Array, ...], c: Array) -> tuple[tuple[Array, ...], Array, Array]:
    """((dc'/dz of i, f, g), dh'/dz of o, dh'/dc') [..., H], from i, f, g, o and the c before the step.

    i (1-i) g, f (1-f) c, i (1-g^2); o (1-o) tanh(c'); o sech^2(c'), with c' = f c + i g.
    """
    i, f, g, o = gates
    squashed = jnp.tanh(f * c + i * g)
    return (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g)), squashed * o * (1 - o), o * (1 - squashed * squashed)


def of_gru(r: Array, z: Array, n: Array, h: Array, scaled: Array) -> tuple[Array, Array, Array]:
    """(d(r scaled)/dz of r, dh'/dz of z and of n) [..., H]; `scaled` is what r multiplies, h is before the step.

    r (1-r) scaled, z (1-z) (h-n), (1-z) (1-n^2).
    """
    return scaled * r * (1 - r), (h - n) * z * (1 - z), (1 - z) * (1 - n * n)
