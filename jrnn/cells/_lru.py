"""The linear recurrent unit: complex numbers h' = lam h + gamma x B, read by y = Re(C h) + x D."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jrnn.cells._base import (
    Replaceable,
    check_dtype,
    check_input_size,
    check_key,
    check_params,
    check_size,
    diagonal,
    from_input,
    spread,
    state_like,
    static_cell,
    zero_state,
)
from jrnn.cells._gated import decay_for, draw_decays
from jrnn.cells._numbers import check_positive
from jrnn.cells.initializers import WEIGHTS, drawn, gaussian, named, weight_blocks
from jrnn.kernels import GatedKernel, gated_kernel
from jrnn.kernels.recurrences.dense import matmul
from jrnn.types import Array, Params, Shape, wide_dtype


class LRUState(NamedTuple):
    """The real and the imaginary part of h, [*B, H] each."""

    re: Float[Array, "*B H"]
    im: Float[Array, "*B H"]


@static_cell
class LRU(Replaceable):
    """See `lru`."""

    hidden: int
    outputs: int
    decay: Any
    max_phase: float
    w_in: Any
    w_out: Any
    dtype: Any

    initialisers = ("decay", "w_in", "w_out")
    wide_params = ("nu", "theta", "gamma")
    """Exponentials are taken of these: rounded to 16 bits they would be other frequencies."""

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        check_key(key)
        k_in, k_out, k_skip, k_decay, k_phase = jax.random.split(key, 5)
        dtype, features, units = jnp.zeros((), self.dtype).dtype, check_input_size(input_size), (self.hidden,)
        size = draw_decays(self.decay, k_decay, units, wide_dtype(dtype))
        phase = self.max_phase * (1 - jax.random.uniform(k_phase, units, wide_dtype(dtype)))
        numbers = {
            "nu": jnp.log(-jnp.log(size)),
            "theta": jnp.log(phase),
            "gamma": 0.5 * jnp.log1p(-size * size),
        }
        of_parts = [drawn(self.w_out, k, (self.hidden, self.outputs), dtype) for k in jax.random.split(k_out)]
        return {name: value.astype(dtype) for name, value in numbers.items()} | {
            "w_in": weight_blocks(self.w_in, k_in, (features, self.hidden), 2, dtype),
            "w_out": jnp.concatenate(of_parts),
            "skip": drawn(gaussian(), k_skip, (features, self.outputs), dtype),
        }

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> LRUState:
        units, h = (self.hidden,), self.hidden
        numbers = {"nu": units, "theta": units, "gamma": units}
        check_params(params, h, 2, w_rec=None, bias=None, **numbers, w_out=(2 * h, self.outputs))
        check_params(params, h, 2, w_rec=None, bias=None, skip=(params["w_in"].shape[0], self.outputs))
        return zero_state(LRUState, params, batch_shape, h)

    def terms(self, params: Params, x: Any, like: Array) -> tuple[Array, ...]:
        """The parts of lam and of gamma x B, [*B, H] each, in the dtype that sums are computed in."""
        w_in = params["w_in"]
        parts = from_input({"w_in": w_in, "bias": jnp.zeros_like(w_in, shape=w_in.shape[1:])}, x, like)
        re_b, im_b = jnp.split(parts, 2, axis=-1)

        # lam is constant: its exponentials are taken of [H] numbers, not at every step
        nu, phase, gamma = (jnp.exp(params[name].astype(re_b.dtype)) for name in ("nu", "theta", "gamma"))
        size = jnp.exp(-nu)
        of_units = (size * jnp.cos(phase), size * jnp.sin(phase), gamma)
        re_a, im_a, gamma = (jnp.broadcast_to(each, re_b.shape) for each in of_units)
        return re_a, im_a, gamma * re_b, gamma * im_b

    def step(self, params: Params, state: LRUState, x: Any) -> LRUState:
        re_a, im_a, re_b, im_b = self.terms(params, x, state.re)
        re, im = (part.astype(re_a.dtype) for part in state)
        return state_like(state, re_a * re - im_a * im + re_b, im_a * re + re_a * im + im_b)

    def output(self, params: Params, state: LRUState, x: Any) -> Array:
        of_re, of_im = jnp.split(params["w_out"], 2)
        y = matmul(state.re, of_re) - matmul(state.im, of_im)
        if x is not None:
            y = y + matmul(x.astype(params["skip"].dtype), params["skip"])
        return y.astype(state.re.dtype)

    def project(self, params: Params, x: Array) -> Array:
        """The parts of lam and of gamma x B side by side [*B, 4H], what the kernel reads."""
        return jnp.concatenate(self.terms(params, x, x), axis=-1)

    def kernel(self, params: Params) -> GatedKernel:
        return gated_kernel("complex", self.hidden, jnp.result_type(params["w_in"]))

    def factors(self, params: Params, state: LRUState, x: Any) -> Array:
        """lam [*B, H], complex."""
        return jax.lax.complex(*self.terms(params, x, state.re)[:2])

    def jacobian(self, params: Params, state: LRUState, x: Any) -> tuple[Array, Array]:
        """dh'/dh [*B, 2H, 2H], of each unit the rotation and scaling by lam; dh'/dx [*B, 2H, F]."""
        re_a, im_a, re_b, _ = self.terms(params, x, state.re)
        gamma = jnp.broadcast_to(jnp.exp(params["gamma"].astype(re_b.dtype)), re_b.shape)
        of_re = jnp.concatenate([diagonal(re_a), diagonal(-im_a)], axis=-1)
        of_im = jnp.concatenate([diagonal(im_a), diagonal(re_a)], axis=-1)
        of_x = spread(jnp.concatenate([gamma, gamma], axis=-1), params["w_in"])
        return jnp.concatenate([of_re, of_im], axis=-2), of_x


def lru(
    hidden: int,
    *,
    outputs: int | None = None,
    t_max: float | None = None,
    decay: Any = None,
    max_phase: float = 2 * math.pi,
    w_in: Any = gaussian(0.5**0.5),  # noqa: B008 - a value
    w_out: Any = "gaussian",
    dtype: Any = None,
) -> LRU:
    """The linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349): h' = lam h + gamma x B of complex numbers.

    Elementwise, with lam = exp(-exp(nu) + i exp(theta)), and gamma the exponential of its parameter; y = Re(h C) + x D.
    J_t is constant: each unit is turned by its phase and multiplied by |lam|, so that what arrives from L steps back is
    known before training, |lam|^L a unit. It is linear in its inputs: it remembers well and selects nothing, so put
    nonlinear layers around it. gamma starts at sqrt(1 - |lam|^2), which keeps the variance of h whatever |lam| is.
    Two-lag coin, lag 20 (64 units, B = 50, Adam .002, clip 1, 5 seeds): below .5, which needs the long lag, after 50
    updates in 5 of 5; an Elman network takes 100 to 200, `jrnn.linear` is not there after 1,000.

    Parameters: nu, theta, gamma [H]; w_in [F, 2H], the real and imaginary parts of B side by side; w_out [2H, K], those
    of C, one below the other; skip [F, K], D. State: `LRUState(re, im)`, N = 2H. Output: y_t [K].

    Args:
      hidden: H complex units.
      outputs: K, by default H.
      t_max: the longest time constant, in steps: |lam| = u / (1 + u), u ~ U[1, t_max - 1]. None: `decay`.
      decay: what draws |lam|, by default `jrnn.initializers.ring(.9, .999)`; a pair (low, high) is such a ring.
      max_phase: phases are drawn from (0, max_phase], in radians a step; small ones make slow oscillations.
      w_in, w_out: initialisers of each part of B and C, by name or function (`jrnn.initializers`).
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden or outputs is no positive integer, t_max is not above 2 or stands beside a decay, max_phase is
        no positive number, or an initialiser or the dtype is unknown; `init`: a decay that is not between 0 and 1.
    """
    size = check_size("hidden", hidden)
    phase = check_positive("max_phase", max_phase, "a positive number of radians a step")
    inits = decay_for(t_max, decay), phase, named("w_in", w_in, WEIGHTS), named("w_out", w_out, WEIGHTS)
    return LRU(size, size if outputs is None else check_size("outputs", outputs), *inits, check_dtype(dtype))
