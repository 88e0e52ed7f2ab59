"""The real-gated linear recurrent unit: h' = a h + sqrt(1 - a^2) i n, a a power of a learnt decay."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._base import check_dtype, check_params, check_size, from_input, input_params, spread, static_cell
from jrnn.cells._gate_names import Gates
from jrnn.cells._gated import GatedCell, decay_for, draw_decays
from jrnn.cells.initializers import BIASES, WEIGHTS, named
from jrnn.types import Array, Params, wide_dtype

POWER = 8.0
STEEPEST = 1000.0


@jax.custom_jvp
def bounded_sqrt(v: Array) -> Array:
    """sqrt(v) with a slope of at most 1,000: that of the root is infinite at 0, where a unit forgets nothing."""
    return jnp.sqrt(v)


@bounded_sqrt.defjvp
def bounded_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    root = bounded_sqrt(primals[0])
    return root, tangents[0] * root_slope(root)


def root_slope(root: Array) -> Array:
    """1 / (2 sqrt(v)), at most 1,000, from sqrt(v)."""
    return 1 / jnp.maximum(2 * root, 1 / STEEPEST)


@static_cell
class RGLRU(GatedCell):
    """See `rg_lru`."""

    hidden: int
    decay: Any
    w_in: Any
    bias: Any
    dtype: Any

    gates = Gates("i", "n", "r")  # the last one has what is left of the parameters: the decay is a part of r
    initialisers = ("decay", "w_in", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        key, k_decay = jax.random.split(key)
        params = input_params(key, input_size, self.hidden, self.gates, self.dtype, self.w_in, self.bias)
        dtype = params["w_in"].dtype
        rate = -jnp.log(draw_decays(self.decay, k_decay, (self.hidden,), wide_dtype(dtype)))
        return params | {"decay": jnp.log(jnp.expm1(rate)).astype(dtype)}  # softplus(L) = -ln(decay)

    def check(self, params: Params) -> None:
        check_params(params, self.hidden, 3, w_rec=None, decay=(self.hidden,))

    def computed(self, params: Params, x: Any, like: Array) -> tuple[Array, ...]:
        """(r, i, n, c, ln a), with c = 8 softplus(L)."""
        i, n, r = jnp.split(from_input(params, x, like), 3, axis=-1)
        rate = POWER * jax.nn.softplus(params["decay"].astype(r.dtype))
        r, i, rate = jax.nn.sigmoid(r), jax.nn.sigmoid(i), jnp.broadcast_to(rate, r.shape)
        return r, i, n, rate, -r * rate

    def terms(self, params: Params, x: Any, like: Array) -> tuple[Array, Array]:
        _, i, n, _, log_a = self.computed(params, x, like)
        return jnp.exp(log_a), bounded_sqrt(-jnp.expm1(2 * log_a)) * i * n

    def input_slopes(self, params: Params, h: Array, x: Any) -> Array:
        """With m = sqrt(1 - a^2) and dm/da = -a / m: a c r (1-r) (i n a / m - h) W_r + m i (1-i) n W_i + m i W_n."""
        r, i, n, rate, log_a = self.computed(params, x, h)
        of_i, of_n, of_r = jnp.split(params["w_in"], 3, axis=1)
        a, root = jnp.exp(log_a), bounded_sqrt(-jnp.expm1(2 * log_a))
        of_a = h - i * n * 2 * a * root_slope(root)
        return (
            spread(-of_a * a * rate * r * (1 - r), of_r) + spread(root * i * (1 - i) * n, of_i) + spread(root * i, of_n)
        )


def rg_lru(
    hidden: int,
    *,
    t_max: float | None = None,
    decay: Any = None,
    w_in: Any = "lecun",
    bias: Any = "zeros",
    dtype: Any = None,
) -> RGLRU:
    """The real-gated linear recurrent unit of Griffin (De et al. 2024, arXiv:2402.19427, section 2.4).

    r, i = sigmoid(x W + b); ln a = -8 r softplus(L); h' = a h + sqrt(1 - a^2) i n, n = x W_n + b_n. The root keeps the
    variance of h whatever the decay is. J_t = diag(a_t). W_r and W_i are full here, block-diagonal there; the inputs
    have a product of their own, there they are h's width already.

    a = d^(8 r), with d = exp(-softplus(L)) what `decay` draws. At the start r is about 1/2, so that the decay a step is
    d^4: with the published d^2 ~ U[.9^2, .999^2] between .656 and .996, half-lives of 1.6 to 173 steps. Lags beyond
    them need `t_max`. Marked bit, lag 50 (64 units, B = 50, Adam .002, clip 1, 3 seeds): below .1 after 450 to 550
    updates with t_max = 50, and at .09 to .18 after 600 with the published start; a tanh Elman network is on the
    plateau after 1,000 (5 seeds).

    A reset puts the reset state in the place of h_{t-1}, and the step is as any other; the published code also sets the
    root to 1 on the first step of a segment.

    Parameters: w_in [F, 3H] and bias [3H], blocks in the order i, n, r; "decay" [H] is L, not the
    decay itself: d = exp(-softplus(L)). State: `GatedState(h)`. Output:
    h_t. The slope of the root is at most 1,000, as published.

    Args:
      hidden: H.
      t_max: the longest time constant, in steps: at r = 1/2, a = u / (1 + u) with u ~ U[1, t_max - 1], of time constant
        1 / (1 - a) = 1 + u. None: `decay`.
      decay: what draws d, by default `jrnn.initializers.ring(.9, .999)`; a pair (low, high) is such a ring.
      w_in, bias: initialisers, by name or function (`jrnn.initializers`).
      dtype: of the parameters; the state follows it (16-bit: gates in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, t_max is not above 2 or stands beside a decay, or an initialiser or the
        dtype is unknown; `init`: a decay that is not between 0 and 1.
    """
    decay = decay_for(t_max, decay, power=2 / POWER)
    inits = named("w_in", w_in, WEIGHTS), named("bias", bias, BIASES)
    return RGLRU(check_size("hidden", hidden), decay, *inits, check_dtype(dtype))
