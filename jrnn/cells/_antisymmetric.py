"""The antisymmetric network: a Euler step of an equation that neither grows nor decays, but for friction."""

import math
import warnings
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Float

from jrnn.cells._base import (
    HiddenOutput,
    check_dtype,
    check_params,
    check_size,
    diagonal,
    from_input,
    gated_params,
    spread,
    static_cell,
    zeros_for,
)
from jrnn.cells._numbers import check_not_negative, check_positive
from jrnn.cells._recurrent_reads import Reads, weights_read
from jrnn.cells.initializers import BIASES, WEIGHTS, gaussian, named
from jrnn.kernels.recurrences.dense import matmul
from jrnn.types import Array, Params, Shape, widened


class AntisymmetricState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]


@static_cell
class Antisymmetric(HiddenOutput):
    """See `antisymmetric`."""

    hidden: int
    epsilon: float
    gamma: float
    w_in: Any
    w_rec: Any
    bias: Any
    dtype: Any

    initialisers = ("w_in", "w_rec", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Array]:
        params = gated_params(key, input_size, self.hidden, ("h",), self.dtype, self.w_in, self.w_rec, self.bias)
        if not isinstance(params["w_rec"], Tracer):
            self.warn(float(self.growth(params)))
        return params

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> AntisymmetricState:
        check_params(params, self.hidden, 1)
        return AntisymmetricState(zeros_for(params, batch_shape, self.hidden))

    def turned(self, params: Params) -> Array:
        """The matrix of the step, M - M^T - gamma I [H, H]."""
        m = params["w_rec"]
        return m - m.T - self.gamma * jnp.eye(self.hidden, dtype=m.dtype)

    def growth(self, params: Params) -> Array:
        """By how much the fastest direction grows in a step where no unit saturates, a scalar; at most 1 is stable.

        It is the spectral radius of I + epsilon W, sqrt((1 - epsilon gamma)^2 + (epsilon omega)^2); omega, the largest
        |imaginary part| of an eigenvalue, is the 2-norm of M - M^T.
        """
        m = widened(params["w_rec"])
        omega = jnp.linalg.norm(m - m.T, 2)
        return jnp.hypot(1 - self.epsilon * self.gamma, self.epsilon * omega)

    def warn(self, growth: float) -> None:
        """Warns where freshly drawn parameters let a direction grow."""
        if growth > 1 + 1e-6:
            omega = math.sqrt(max(growth**2 - (1 - self.epsilon * self.gamma) ** 2, 0.0)) / self.epsilon
            need = self.epsilon * (self.gamma**2 + omega**2)
            text = (
                f"antisymmetric: grows by {growth:.4f} a step, {growth**200:.3g} times in 200, where no unit saturates;"
                f" stable where 2 gamma = {2 * self.gamma:.3g} is at least epsilon (gamma^2 + omega^2) = {need:.3g}"
            )
            warnings.warn(text, UserWarning, stacklevel=3)

    def force(self, params: Params, state: AntisymmetricState, x: Any, reads: Reads | None = None) -> Array:
        """tanh(h W + x V + b) [*B, H]."""
        return jnp.tanh(from_input(params, x, state.h) + matmul(weights_read(state.h, reads), self.turned(params)))

    def step(self, params: Params, state: AntisymmetricState, x: Any, reads: Reads | None = None) -> AntisymmetricState:
        force = self.force(params, state, x, reads)
        return AntisymmetricState((state.h.astype(force.dtype) + self.epsilon * force).astype(state.h.dtype))

    def jacobian(self, params: Params, state: AntisymmetricState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh = I + epsilon diag(sech^2) W^T [*B, H, H], dh'/dx [*B, H, F]) in closed form."""
        force = self.force(params, state, x)
        slope = self.epsilon * (1 - force * force)
        return diagonal(jnp.ones_like(force)) + spread(slope, self.turned(params)), spread(slope, params["w_in"])


def antisymmetric(
    hidden: int,
    *,
    epsilon: float = 0.05,
    gamma: float = 0.1,
    w_in: Any = "lecun",
    w_rec: Any = gaussian(0.4),  # noqa: B008 - a frozen value
    bias: Any = "zeros",
    dtype: Any = None,
) -> Antisymmetric:
    """The antisymmetric network (Chang, Chen, Haber, Chi 2019): h' = h + epsilon tanh(h W + x V + b).

    W = M - M^T - gamma I. The eigenvalues of M - M^T are imaginary, so the equation dh/dt = tanh(..) keeps the length
    of a gradient; but its Euler step does not: an eigenvalue i omega gives
    sqrt((1 - epsilon gamma)^2 + (epsilon omega)^2) a step where no unit saturates, so the cell is stable where
    2 gamma >= epsilon (gamma^2 + omega^2), omega the largest one. For M of N(0, s^2 / H) omega is about 2 sqrt(2) s:
    with s = 1, epsilon = .1, gamma = .01 it grows by 1.033 a step. The defaults are within the bound (omega up to
    1.997, s = .4), and keep .995 a step at least: .37 at lag 200.

    `cell.growth(params)` gives that factor for any parameters, under `jit` too; `init` warns where its own draw grows,
    with values it can see (not under `jit`). During training nothing holds the bound: ask `growth`.

    Helps: lags of some hundred steps without gates, at an Elman network's cost. Hurts: inputs enter with a factor
    epsilon, so that h is small and slow; nothing is forgotten but by gamma.
    Marked bit (64 units, B = 50, Adam .002, clip 1; single runs): below .1 after 600 updates at lag 50; at lag 200 .39
    and falling after 1,000, where a leaky or gated cell needs 100 to 300; a tanh Elman network is on the plateau after
    1,000 at either lag (5 seeds).

    Parameters: w_in (V) [F, H], w_rec (M) [H, H], bias [H]. State: `AntisymmetricState(h)`. Output: h.

    Args:
      hidden: H.
      epsilon: the length of a step, above 0; gamma: the friction, at least 0.
      w_in, w_rec, bias: initialisers, by name or function (`jrnn.initializers`).
      dtype: of the parameters; the state follows it (16-bit: sums in float32). None is JAX's default.
    Raises:
      InputError: hidden is no positive integer, epsilon no positive number, gamma negative, or an initialiser or the
        dtype is unknown.
    """
    epsilon = check_positive("epsilon", epsilon)
    gamma = check_not_negative("gamma", gamma)
    inits = named("w_in", w_in, WEIGHTS), named("w_rec", w_rec, WEIGHTS), named("bias", bias, BIASES)
    return Antisymmetric(check_size("hidden", hidden), epsilon, gamma, *inits, check_dtype(dtype))
