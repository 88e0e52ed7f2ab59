"""Combinators around one cell that stay causal: residual, layer norm, a learnable initial state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._advance import check_cell, draw_noise, draws_noise, is_causal, output_size, prepared, state_shapes
from jrnn.cells._base import Replaceable, entry, static_cell
from jrnn.cells._numbers import check_positive
from jrnn.cells._recurrent_reads import Reads, step_reading
from jrnn.kernels import Weights
from jrnn.types import Array, InputError, Params, Shape, State, hidden_part, wide_dtype, with_hidden


class Wrapper(Replaceable):
    """Hands everything to `self.cell`; subclasses change one thing. Noise passes through."""

    cell: Any

    def inner(self, params: Params) -> Params:
        return params

    def prepared(self, params: Params) -> Params:
        inner = self.inner(params)
        ready = prepared(self.cell, inner)
        if ready is inner:
            return params
        return ready if inner is params else {**params, "cell": ready}

    @property
    def input_ndim(self) -> int:
        return getattr(self.cell, "input_ndim", 1)

    @property
    def reads_previous(self) -> bool:
        return getattr(self.cell, "reads_previous", False)

    @property
    def draws(self) -> bool:
        return type(self).noise is not Wrapper.noise or draws_noise(self.cell)

    def init(self, key: Array, input_size: int | None) -> Params:
        return self.cell.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        return self.cell.initial_state(self.inner(params), batch_shape)

    def noise(self, params: Params, key: Array, t: Any, batch_shape: Shape) -> Any:
        return draw_noise(self.cell, self.inner(params), key, t, batch_shape)

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        return step_reading(self.cell, self.inner(params), state, x, noise, reads)

    def kernel(self, params: Params) -> Any:
        return self.inner_kernel(params)

    @property
    def lacks_kernel(self) -> str | None:
        return getattr(self.cell, "lacks_kernel", None)

    @property
    def project(self) -> Any:
        """What the inner cell's kernel reads in place of x; None where it reads x."""
        project = getattr(self.cell, "project", None)
        return project and (lambda params, x: project(self.inner(params), x))

    @property
    def factors(self) -> Any:
        """The diagonal of the inner cell's Jacobian, if it has one: that of a wrapper without a step of its own."""
        factors = getattr(self.cell, "factors", None)
        return factors and (lambda params, state, x: factors(self.inner(params), state, x))

    def inner_kernel(self, params: Params) -> Weights | None:
        kernel = getattr(self.cell, "kernel", None)
        return kernel and kernel(self.inner(params))

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        return self.cell.output(self.inner(params), state, x, **({} if noise is None else {"noise": noise}))


@static_cell
class Residual(Wrapper):
    """See `residual`."""

    cell: Any

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        y = super().output(params, state, x, noise)
        if jnp.shape(x) != y.shape:
            raise InputError(
                "cell", f"outputs of shape {y.shape} for inputs of shape {jnp.shape(x)}", "equal shapes to add"
            )
        return y + jnp.asarray(x).astype(y.dtype)


@static_cell
class LayerNorm(Wrapper):
    """See `layer_norm`."""

    cell: Any
    on: str
    epsilon: float

    def inner(self, params: Params) -> Params:
        return entry(params, "cell", "scale", "bias")

    def init(self, key: Array, input_size: int | None) -> dict[str, Any]:
        params = self.cell.init(key, input_size)
        state = state_shapes(self.cell, params)
        if self.on == "output":
            size, dtype = output_size(self.cell, input_size, params), jnp.result_type(*jax.tree.leaves(state))
        else:
            hidden = one_hidden_part("on", "'hidden'", state)
            size, dtype = hidden.shape[-1], hidden.dtype
        return {"cell": params, "scale": jnp.ones(size, dtype), "bias": jnp.zeros(size, dtype)}

    def normalise(self, params: Params, y: Array) -> Array:
        for name in ("scale", "bias"):
            if jnp.shape(params[name]) != y.shape[-1:]:
                raise InputError(f"params['{name}']", f"shape {jnp.shape(params[name])}", f"{y.shape[-1:]}, one a unit")
        wide = y.astype(wide_dtype(y.dtype))
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + self.epsilon)
        gain, bias = (jnp.broadcast_to(params[name].astype(wide.dtype), wide.shape) for name in ("scale", "bias"))
        return (scaled * gain + bias).astype(y.dtype)

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        after = super().step(params, state, x, noise, reads)
        return after if self.on == "output" else with_hidden(after, self.normalise(params, hidden_part(after)))

    def kernel(self, params: Params) -> Weights | None:
        return self.inner_kernel(params) if self.on == "output" else None

    @property
    def factors(self) -> Any:
        return super().factors if self.on == "output" else None

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        y = super().output(params, state, x, noise)
        return self.normalise(params, y) if self.on == "output" else y


@static_cell
class LearnableInitialState(Wrapper):
    """See `learnable_initial_state`."""

    cell: Any

    def inner(self, params: Params) -> Params:
        return entry(params, "cell", "initial_state")

    def init(self, key: Array, input_size: int | None) -> dict[str, Any]:
        params = self.cell.init(key, input_size)
        return {"cell": params, "initial_state": self.cell.initial_state(params, ())}

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        own, learnt = super().initial_state(params, batch_shape), params["initial_state"]
        shapes = [jnp.shape(h)[len(batch_shape) :] for h in jax.tree.leaves(own)]
        given = [jnp.shape(h) for h in jax.tree.leaves(learnt)]
        if jax.tree.structure(learnt) != jax.tree.structure(own) or given != shapes:
            need = f"a {type(own).__name__} of arrays of shapes {shapes}, without batch axes"
            raise InputError("params['initial_state']", f"a {type(learnt).__name__} of shapes {given}", need)
        return jax.tree.map(lambda h: jnp.broadcast_to(h, (*batch_shape, *jnp.shape(h))), learnt)


def check_wrapped(cell: Any, name: str) -> None:
    """InputError for what cannot step: these combinators read one step of the cell."""
    check_cell(cell)
    if not is_causal(cell):
        raise InputError("cell", type(cell).__name__, f"a causal cell; put {name} around the cell of each direction")


def one_hidden_part(argument: str, given: object, state: State) -> Any:
    """The hidden part of the state of a cell that has exactly one; InputError for a stack as a whole."""
    try:
        return hidden_part(state)
    except InputError:
        need = (
            "one hidden part `h`, as in the states of jrnn.elman, lstm, gru and linear (jrnn.lru has none);"
            " around the layers of a stack, wrap each layer"
        )
        raise InputError(argument, f"{given} for a state of type {type(state).__name__}", need) from None


def residual(cell: Any) -> Residual:
    """y_t = output(h_t, x_t) + x_t: the gradient has a path past the layer. Needs K = F. Parameters: the cell's own."""
    check_wrapped(cell, "residual")
    return Residual(cell)


def layer_norm(cell: Any, on: str = "output", epsilon: float = 1e-5) -> LayerNorm:
    """Layer normalisation, LN(y) = scale * (y - mean) / sqrt(var + epsilon) + bias over features (Ba et al. 2016).

    Parameters: {"cell": the cell's own, "scale" [n], "bias" [n]}.

    Args:
      cell: a causal cell.
      on: "output" normalises what the layer hands on, the recurrence is untouched; "hidden" normalises the hidden
        part of h_t at every step, so that J_t changes.
      epsilon: added to the variance.
    Raises:
      InputError: `on` is neither, epsilon is not positive, or the cell is not causal.
    """
    check_wrapped(cell, "layer_norm")
    if on not in ("output", "hidden"):
        raise InputError("on", repr(on), "'output' or 'hidden'")
    need = "a positive number, not a traced one: a cell is static"
    return LayerNorm(cell, on, check_positive("epsilon", epsilon, need))


def learnable_initial_state(cell: Any) -> LearnableInitialState:
    """Makes h_0 a parameter, started at the cell's own: {"cell": ..., "initial_state": a state without batch axes}.

    Its gradient sums over the batch and, with `resets`, over the segments.
    """
    check_wrapped(cell, "learnable_initial_state")
    return LearnableInitialState(cell)
