"""Parameters kept in one dtype and computed with in another: float32 master weights, 16-bit arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._advance import check_cell, prepared
from jrnn.cells._base import check_dtype, static_cell
from jrnn.cells._bidirectional import Bidirectional
from jrnn.cells._recurrent_reads import Reads
from jrnn.cells._stack import Stack
from jrnn.cells._wrappers import Wrapper
from jrnn.types import Array, InputError, Params, Shape, State, wide_dtype


@static_cell
class MixedPrecision(Wrapper):
    """See `mixed_precision`."""

    cell: Any
    dtype: Any
    param_dtype: Any

    def inner(self, params: Params) -> Params:
        return cast(params, self.dtype, besides=wide_params(self.cell))

    def prepared(self, params: Params) -> Params:
        return prepared(self.cell, self.inner(params))

    def init(self, key: Array, input_size: int | None) -> Params:
        return cast(self.cell.init(key, input_size), self.param_dtype)

    # jrnn's cells cast inputs and states to the dtype of their weights; functions of a user need not

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        return cast(super().initial_state(params, batch_shape), self.dtype)

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        after = super().step(params, state, cast(x, self.dtype), cast(noise, self.dtype), reads)
        return cast(after, self.dtype)

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        return cast(super().output(params, state, cast(x, self.dtype), cast(noise, self.dtype)), self.dtype)

    def kernel(self, params: Params) -> Any:
        return super().kernel(params)

    @property
    def factors(self) -> Any:
        return super().factors


def cast(tree: Any, dtype: Any, besides: tuple[str, ...] = ()) -> Any:
    """The floating leaves in this dtype; those that have it already, shapes too, and those with these names as they
    are."""

    def leaf(path: tuple[Any, ...], array: Any) -> Any:
        own, named = jnp.result_type(array), bool(path) and getattr(path[-1], "key", None) in besides
        floating = jnp.issubdtype(own, jnp.floating) and own != dtype
        return jnp.asarray(array).astype(dtype) if floating and not named else array

    return jax.tree_util.tree_map_with_path(leaf, tree)


def wide_params(cell: Any) -> tuple[str, ...]:
    """The names of the parameters that a cell takes exponentials of, wherever it stands in others."""
    if isinstance(cell, Stack):
        return sum(map(wide_params, cell.cells), ())
    return wide_params(cell.cell) if isinstance(cell, Wrapper) else getattr(cell, "wide_params", ())


def in_wide(cell: Any) -> Any:
    """The cell, computing in float32 at least where `mixed_precision` has it compute in 16 bits."""
    if isinstance(cell, MixedPrecision):
        return replace(cell, dtype=wide_dtype(cell.dtype))
    if isinstance(cell, Stack):
        return Stack(tuple(map(in_wide, cell.cells)))
    if not isinstance(cell, Wrapper) or (inner := in_wide(cell.cell)) == cell.cell:
        return cell
    return replace(cell, cell=inner)  # pyright: ignore[reportArgumentType]


def mixed_precision(cell: Any, *, dtype: Any = jnp.bfloat16, param_dtype: Any = jnp.float32) -> Any:
    """A cell that computes in `dtype` with parameters kept in `param_dtype`: master weights (Micikevicius et al. 2018).

    h_t = step(cast(params, dtype), h_{t-1}, x_t). An update far smaller than a parameter is lost in 16 bits, where
    1 + 2^-9 is 1; kept in float32, many of them add up. Gradients have param_dtype; each is summed over time in
    float32 and rounded to `dtype` once, where it passes the cast. nu, theta and gamma of `lru`, of which it takes
    exponentials, are not cast: rounded they are other frequencies, which many steps tell apart. Memory for states and
    speed are those of a cell made with this dtype. It does not help a cell whose parameters have the dtype it computes
    in.

    Args:
      cell: a cell, a stack or `Bidirectional`; what dtype it was made with does not matter.
      dtype: of states, outputs and products; inputs are cast to it, and so is what functions of your own take and
        return. bfloat16 by default.
      param_dtype: of the parameters. float32 by default.
    Returns:
      A cell whose parameters are those of `cell`, of a stack or `Bidirectional` layer by layer.
    Raises:
      InputError: a dtype that is not floating.
    """
    check_cell(cell)
    named = {"dtype": dtype, "param_dtype": param_dtype}
    dtypes = {name: check_dtype(given, name) for name, given in named.items()}
    for name, given in dtypes.items():
        if given is None:
            raise InputError(name, "None", "a floating dtype, such as jax.numpy.bfloat16")
    if isinstance(cell, Bidirectional):
        return Bidirectional(*(mixed_precision(each, **dtypes) for each in (cell.forward, cell.backward)))
    if isinstance(cell, Stack):  # layer by layer, so that each has its kernel
        return Stack(tuple(mixed_precision(each, **dtypes) for each in cell.cells))
    return MixedPrecision(cell, **dtypes)
