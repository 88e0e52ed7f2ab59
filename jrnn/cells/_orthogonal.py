"""Orthogonal recurrent matrices made of free parameters: exponential, Cayley, Householder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.types import Array, InputError, wide_dtype

STARTS: dict[str, tuple[str, ...]] = {
    "exp": ("henaff", "cayley", "identity"),
    "cayley": ("cayley", "henaff", "identity"),
    "householder": ("haar", "identity"),
}
SQUARINGS = 12


@dataclass(frozen=True)
class OrthogonalMap:
    """See `orthogonal_map`."""

    map: str
    start: str

    initialisers = ("start",)

    def init(self, key: Array, hidden: int, dtype: jnp.dtype) -> Array:
        """The free parameters [H (H - 1) / 2]: what is below the diagonal, row by row."""
        wide = wide_dtype(dtype)
        lower = jnp.zeros((hidden, hidden), wide)
        if self.start == "haar":  # -H_i takes e_i to y, uniform on its sphere: by stereographic projection
            y = jnp.tril(jax.random.normal(key, lower.shape, wide))
            y = y / jnp.broadcast_to(jnp.linalg.norm(y, axis=0), y.shape)
            lower = y / jnp.broadcast_to(1 + jnp.diag(y), y.shape)
        elif self.start != "identity":
            low, high = (-np.pi, np.pi) if self.start == "henaff" else (0.0, np.pi / 2)
            angles = jax.random.uniform(key, (hidden // 2,), wide, low, high)
            entries = angles if self.map == "exp" else 2 * jnp.tan(angles / 2)
            even = 2 * np.arange(hidden // 2)
            lower = lower.at[even + 1, even].set(entries)
        return lower[np.tril_indices(hidden, -1)].astype(dtype)

    def matrix(self, free: Array, hidden: int) -> Array:
        """The orthogonal matrix [H, H], in float32 at least and then in the dtype of `free` [H (H - 1) / 2]."""
        return made(self.map, hidden, free)


@partial(jax.jit, static_argnums=(0, 1))
def made(name: str, hidden: int, free: Array) -> Array:
    """`OrthogonalMap.matrix`; jitted, so that a stream's steps compile it once."""
    wide = free.astype(wide_dtype(free.dtype))
    w = MAPS[name](jnp.zeros((hidden, hidden), wide.dtype).at[np.tril_indices(hidden, -1)].set(wide))
    w = w @ (1.5 * jnp.eye(hidden, dtype=w.dtype) - 0.5 * (w.T @ w))  # Newton: takes out what many products rounded
    return w.astype(free.dtype)


def exponential(lower: Array) -> Array:
    """exp(A), A = L - L^T, by scaling and squaring around a diagonal Pade approximant r(A/2^s).

    Of a skew matrix r is orthogonal itself; where A is too large for SQUARINGS, it is exp of a part of A.
    """
    a = lower - lower.T
    degree, reach = (13, 5.37) if a.dtype == jnp.float64 else (7, 3.92)  # Higham 2005: exact there to rounding
    norm = jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(a)), axis=0), initial=0)
    halvings = jnp.ceil(jnp.log2(jnp.maximum(norm, reach) / reach))
    a = a * jnp.exp2(-halvings)
    powers = [jnp.eye(len(a), dtype=a.dtype)]
    square = a @ a
    while len(powers) <= degree // 2:
        powers.append(powers[-1] @ square)
    weights = [
        math.comb(degree, k) * math.factorial(2 * degree - k) / math.factorial(2 * degree) for k in range(degree + 1)
    ]
    even = sum((c * power for c, power in zip(weights[::2], powers, strict=True)), jnp.zeros_like(a))
    odd = a @ sum((c * power for c, power in zip(weights[1::2], powers, strict=True)), jnp.zeros_like(a))
    w = jnp.linalg.solve(even - odd, even + odd)
    squared = lambda w, i: (jax.lax.cond(i < halvings, lambda w: w @ w, lambda w: w, w), None)  # noqa: E731
    return jax.lax.scan(squared, w, jnp.arange(SQUARINGS, dtype=a.dtype))[0]


def cayley(lower: Array) -> Array:
    """(I - A/2)^-1 (I + A/2), A = L - L^T."""
    half, eye = (lower - lower.T) / 2, jnp.eye(len(lower), dtype=lower.dtype)
    return jnp.linalg.solve(eye - half, eye + half)


def householder(lower: Array) -> Array:
    """-H_1 H_2 ... H_H, H_i = I - 2 v v^T / v^T v with v = e_i + column i of L; as -(I - V T V^T) in two products."""
    eye = jnp.eye(len(lower), dtype=lower.dtype)
    v = lower + eye
    gram = v.T @ v
    inverse = jnp.triu(gram, 1) + jnp.diag(jnp.diag(gram) / 2)  # of T
    return v @ jax.scipy.linalg.solve_triangular(inverse, v.T) - eye


MAPS = {"exp": exponential, "cayley": cayley, "householder": householder}


def orthogonal_map(map: str = "exp", start: str | None = None) -> OrthogonalMap:
    """A recurrent matrix that stays orthogonal while it is trained: `jrnn.elman(H, "modrelu", w_rec=orthogonal_map())`.

    The parameters are free numbers and W follows from them, once per call, outside the loop over time, so that kernels
    run as before; the gradient is theirs. All singular values of W are 1: with modReLU, whose slope is 0 or 1, no lag
    is too long. W has determinant 1.

      "exp": W = exp(A), A = L - L^T (Lezcano-Casado, Martinez-Rubio 2019), all rotations.
      "cayley": W = (I - A/2)^-1 (I + A/2) (Helfrich et al. 2018 without their signs D), all without eigenvalue -1.
      "householder": W = -H_1 H_2 ... H_H of reflections along e_i + column i of L (Mhammedi et al. 2017).

    L, strictly lower triangular, holds the parameters. The values are those of PyTorch's
    `torch.nn.utils.parametrizations.orthogonal` without its base, for "householder" with a diagonal of -1.

    It helps where a lag must be kept that gates or a leak would have to hold on purpose: on a bit to be kept for 200
    steps, "exp" and "cayley" learn within 150 to 200 updates at these rates, "householder" not within 300. A saturating
    activation undoes it: with tanh the gradient vanishes all the same. Train these parameters at a tenth of the
    learning rate, as published (`jrnn.cures.orthogonal_rates`); weight decay on them draws W to I. An update costs
    O(H^3) more.

    Args:
      map: which of the three.
      start: angles of the H/2 rotations in the plane of units 2i and 2i + 1 at the start, "henaff": U(-pi, pi) (Henaff
        et al. 2016), "cayley": U(0, pi/2) (Helfrich et al. 2018), or "identity"; for "householder" "haar" (uniform) or
        "identity". None: the first of "henaff", "cayley" and "haar" that belongs to the map in this order: exp,
        cayley, householder.
    Raises:
      InputError: an unknown map or start, or a start that the map does not have.
    """
    if not isinstance(map, str) or map not in MAPS:
        raise InputError("map", repr(map), f"one of {sorted(MAPS)}")
    starts = STARTS[map]
    if start is not None and (not isinstance(start, str) or start not in starts):
        raise InputError("start", repr(start), f"one of {sorted(starts)} for {map!r}")
    return OrthogonalMap(map, start or starts[0])
