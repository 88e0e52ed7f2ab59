"""The gradient through h into the step times a number, fixed or drawn at every step; forwards nothing changes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._advance import draw_noise
from jrnn.cells._base import static_cell
from jrnn.cells._bidirectional import Bidirectional
from jrnn.cells._numbers import check_not_negative, check_number
from jrnn.cells._recurrent_reads import Reads
from jrnn.cells._stack import Stack
from jrnn.cells._wrappers import Wrapper, check_wrapped, one_hidden_part
from jrnn.types import Array, Params, Shape, State, with_hidden


@jax.custom_jvp
def scaled(h: Array, factor: Array) -> Array:
    """h itself; what goes through it, forwards or back, is multiplied by the factor, a scalar or [*B]."""
    return h


@scaled.defjvp
def scaled_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """factor dh; that the factor may itself be a function of the run is left out."""
    h, factor = primals
    with jax.numpy_dtype_promotion("standard"):
        wide = jnp.promote_types(h.dtype, factor.dtype)
    spread = jnp.broadcast_to(factor.reshape(*factor.shape, *[1] * (h.ndim - factor.ndim)), h.shape).astype(wide)
    return h, (spread * tangents[0].astype(wide)).astype(h.dtype)


@static_cell
class ScaleGradient(Wrapper):
    """See `scale_gradient`."""

    cell: Any
    h: float

    def factor(self, noise: Any) -> Array:
        return jnp.asarray(self.h)

    def inner_noise(self, noise: Any) -> Any:
        return noise

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        h = one_hidden_part("cell", type(self.cell).__name__, state)
        if jnp.issubdtype(h.dtype, jnp.inexact):
            state = with_hidden(state, scaled(h, self.factor(noise)))
        return super().step(params, state, x, self.inner_noise(noise), reads)

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        return super().output(params, state, x, self.inner_noise(noise))


@static_cell
class HDetach(ScaleGradient):
    """See `h_detach`; h is 1 - p."""

    def noise(self, params: Params, key: Array, t: Any, batch_shape: Shape) -> tuple[Any, Array]:
        of_cell, own = jax.random.split(key)
        keeps = jax.random.bernoulli(jax.random.fold_in(own, t), self.h)  # one a step, for all sequences and units
        return draw_noise(self.cell, self.inner(params), of_cell, t, batch_shape), keeps

    def factor(self, noise: Any) -> Array:
        return jnp.asarray(self.h) if noise is None else noise[1]

    def inner_noise(self, noise: Any) -> Any:
        return None if noise is None else noise[0]


def scale_gradient(cell: Any, h: float = 0.5) -> Any:
    """Multiplies by `h` what the gradient takes through the hidden state into the step; forwards nothing changes.

    The step reads h_{t-1} as sg(h) + s (h - sg(h)), sg stopping the gradient: J_t becomes J_t diag(s on h, 1
    elsewhere), in both modes, so every instrument shows the scaled network. An LSTM's c is left alone: at s = 0 the
    gradient has no other way than dc_t/dc_{t-1} = f_t. It is what `h_detach` does, with p = 1 - s, on average.

    Linear in delta: `gradient_flow` splits it. What is trained on is no longer the gradient of the loss.

    Helps an LSTM whose c carries the gradient already (chrono, `open_gates`) and whose h makes it explode or noisy.
    Hurts where h is the only way: of an LSTM with forget bias 1, 5e-5 of the gradient came 200 steps far, 3e-27 of it
    by c. Of an Elman or a GRU, which have but h, it shortens the reach by s a step. Copying, lag 40 (LSTM of 64 units,
    chrono, clip 1, 3 seeds; .416 without memory): after 1,000 updates of Adam .002 a loss of .37 to .40 with h = .5,
    .37 to .39 with h = 0 and .40 to .41 without; at .006 no such gain, after 2,500 .15 to .18 with h = .5 and .14 to
    .25 without. Lost on the adding problem of 100 steps: after 500 updates at .002 .15 with h = 0, .08 to .15 with h =
    .5, .06 to .16 without; at .006 all are below .01 in 400 to 500 but one with h = 0.

    Args:
      cell: a causal cell with one hidden state; of a stack every layer is wrapped, of `Bidirectional` each direction.
      h: s, 0 or more; 1 changes nothing.
    Returns:
      A cell with the same parameters and states; it runs by the scan.
    Raises:
      InputError: the cell is not causal, or h is no finite number of 0 or more; in a run: its state has no hidden part
        `h` (`jrnn.lru`).
    """
    need = "a finite number, 0 or more, not a traced one: a cell is static"
    return wrapped(ScaleGradient, "scale_gradient", cell, check_not_negative("h", h, need))


def h_detach(cell: Any, p: float) -> Any:
    """Stops the gradient through h into the step with probability p, anew at every step.

    "h-detach" (Kanuparthi, Arpit, Kerg, Ke, Mitliagkas, Bengio 2019).
    s_t in sg(h) + s_t (h - sg(h)) is 0 with probability p, else 1: one draw a step, shared by all sequences and units.
    A path through time has each s_t once at most, so the mean gradient over draws is that of `scale_gradient` with
    h = 1 - p, exactly; without a `key` the cell has that mean. Published: p = .5 on copying, .25 on permuted MNIST,
    switched off for the last 40 of 600 epochs.

    Helps and hurts where `scale_gradient` does, which has the same mean without the noise: on copying as there, at
    .002, .38 to .41 with p = .5, where that is .37 to .40 and neither .40 to .41.

    Args:
      cell: as for `scale_gradient`.
      p: from 0 to 1.
    Returns:
      A cell with the same parameters and states, that draws where `unroll`, `step` or `fit` give it a key.
    Raises:
      InputError: the cell is not causal, or p is no number from 0 to 1; in a run: its state has no hidden part `h`
        (`jrnn.lru`).
    """
    need = "a probability from 0 to 1, not a traced one: a cell is static"
    return wrapped(HDetach, "h_detach", cell, 1 - check_number("p", p, lambda p: 0 <= p <= 1, need))


def wrapped(kind: type, name: str, cell: Any, h: float) -> Any:
    """The wrapper around the cell; around each layer and each direction."""
    if isinstance(cell, Bidirectional):
        return Bidirectional(*(wrapped(kind, name, each, h) for each in (cell.forward, cell.backward)))
    if isinstance(cell, Stack):
        return Stack(tuple(wrapped(kind, name, layer, h) for layer in cell.cells))
    check_wrapped(cell, name)
    return kind(cell, h)
