"""What cells on the gated linear recurrence share: h_t = a_t h_{t-1} + b_t, with a_t and b_t functions of x_t alone."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Float

from jrnn.cells._base import HiddenOutput, diagonal, zeros_for
from jrnn.cells._numbers import check_t_max_alone
from jrnn.cells.initializers import BIASES, chrono_or, drawn, named, ring, time_constant
from jrnn.kernels import gated_kernel
from jrnn.kernels.recurrences.min_gru import CANDIDATES
from jrnn.types import Array, InputError, Params, Shape


class GatedState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]


class GatedCell(HiddenOutput):
    """A cell says its `terms`, `check` and `input_slopes`; the rest follows."""

    hidden: int

    def check(self, params: Params) -> None:
        """InputError unless the parameters fit."""
        raise NotImplementedError

    def terms(self, params: Params, x: Any, like: Array) -> tuple[Array, Array]:
        """(a, b) [*B, H] each, in the dtype that sums are computed in; `like` has the batch where x is None."""
        raise NotImplementedError

    def input_slopes(self, params: Params, h: Array, x: Any) -> Array:
        """dh'/dx = h da/dx + db/dx [*B, H, F]."""
        raise NotImplementedError

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> GatedState:
        self.check(params)
        return GatedState(zeros_for(params, batch_shape, self.hidden))

    def step(self, params: Params, state: GatedState, x: Any) -> GatedState:
        a, b = self.terms(params, x, state.h)
        return GatedState((a * state.h.astype(a.dtype) + b).astype(state.h.dtype))

    def project(self, params: Params, x: Array) -> Array:
        """[a, b] side by side [*B, 2H], what the kernel reads."""
        return jnp.concatenate(self.terms(params, x, x), axis=-1)

    def kernel(self, params: Params) -> Any:
        return gated_kernel("gated", self.hidden, jnp.result_type(params["w_in"]))

    def factors(self, params: Params, state: GatedState, x: Any) -> Array:
        """a [*B, H], the diagonal of dh'/dh."""
        return self.terms(params, x, state.h)[0]

    def jacobian(self, params: Params, state: GatedState, x: Any) -> tuple[Array, Array]:
        """(dh'/dh = diag(a) [*B, H, H], dh'/dx = diag(h) da/dx + db/dx [*B, H, F])."""
        a = self.factors(params, state, x)
        return diagonal(a), self.input_slopes(params, state.h.astype(a.dtype), x)


def check_candidate(candidate: Any) -> str:
    """One of `CANDIDATES`, or InputError."""
    if candidate not in CANDIDATES if isinstance(candidate, str) else True:
        raise InputError("candidate", repr(candidate), f"one of {', '.join(CANDIDATES)}")
    return candidate


def draw_decays(init: Any, key: Array, shape: Shape, dtype: Any) -> Array:
    """The decays of an initialiser; InputError where values can be seen and one is not within (0, 1)."""
    decays = drawn(init, key, shape, dtype)
    if not isinstance(decays, Tracer):
        low, high = (float(end(decays)) for end in (jnp.min, jnp.max))
        if not 0 < low <= high < 1:
            raise InputError("decay", f"values from {low:.6g} to {high:.6g} from {init!r}", "decays between 0 and 1")
    return decays


def bias_for(t_max: float | None, bias: Any) -> Any:
    """The initialiser of the biases: `chrono(t_max)`, or the one given, or zeros; InputError for two of them."""
    chosen = chrono_or(bias, None, t_max)
    return named("bias", "zeros" if chosen is None else chosen, BIASES)


def decay_for(t_max: float | None, decay: Any, power: float = 1.0) -> Any:
    """What draws the decays: `time_constant(t_max)`, or a ring from a pair, or what is given; InputError for two."""
    if t_max is not None:
        check_t_max_alone(t_max, "decay", decay, None, "t_max draws the decays")
        return time_constant(t_max, power)
    if isinstance(decay, tuple | list) and len(decay) == 2:
        return ring(*decay)
    if decay is not None and (isinstance(decay, type) or not callable(decay)):
        raise InputError("decay", repr(decay), "a pair (low, high), or a function (key, shape, dtype) -> decays")
    return ring() if decay is None else decay
