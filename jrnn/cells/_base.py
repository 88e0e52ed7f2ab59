"""What the cells share: the static-dataclass decorator, parameter construction and the one affine map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import initializers
from jrnn.cells._draws import split_keys
from jrnn.kernels.recurrences.dense import add_bias, matmul
from jrnn.types import Array, InputError, Params, Shape, wide_dtype

C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True)
def static_cell(cls: C) -> C:
    """A frozen dataclass that `jax.jit` treats as static: equal descriptions share one trace."""
    cls.num_feature_axes = property(refuse_in_flax)  # pyright: ignore[reportAttributeAccessIssue]
    return jax.tree_util.register_static(dataclass(frozen=True)(cls))


def refuse_in_flax(cell: Any) -> int:
    """What Flax's own RNN asks its cell for first; of a cell that is none of Flax's it would fail in riddles."""
    needed = "a cell of Flax; jrnn's go into jrnn.interop.nnx.RNN(cell, input_size, rngs=...) or jrnn.interop.linen.RNN"
    raise InputError("cell", f"{type(cell).__name__} in Flax's own RNN", needed)


class Replaceable:
    """A subclass with a step of its own has neither kernel nor closed forms, unless it brings them along."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        for name in ("kernel", "jacobian", "factors"):
            if "step" in vars(cls) and name not in vars(cls):
                setattr(cls, name, None)


class HiddenOutput(Replaceable):
    """A cell whose output is its hidden part."""

    def output(self, params: Params, state: Any, x: Any) -> Array:
        return state.h


def outputs_hidden(cell: Any) -> bool:
    """Whether y_t is h_t and nothing else."""
    return getattr(type(cell), "output", None) is HiddenOutput.output


def check_size(name: str, value: object) -> int:
    """A size as a plain positive int, or InputError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(name, repr(value), "a positive integer")
    return int(value)


def check_flag(name: str, value: object, needed: str = "True or False") -> bool:
    """A plain bool, or InputError."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(name, repr(value), needed)
    return bool(value)


def check_key(key: Any) -> None:
    """InputError unless it is one PRNG key: typed, or raw and of the shape that JAX's own have."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        is_one = shape == ()
    else:
        is_one = dtype == jnp.uint32 and shape == jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape
    if not is_one:
        given = f"{key!r:.60}" if dtype is None or shape is None else f"{dtype}{list(shape)}"
        raise InputError("key", given, "one PRNG key, jax.random.key(seed)")


def entry(params: Params, name: str, *others: str) -> Any:
    """`params[name]` of a combinator's dict, which has `others` too; or InputError."""
    names = {name, *others}
    if not isinstance(params, Mapping) or not names <= set(params):
        given = sorted(map(str, params)) if isinstance(params, Mapping) else f"a {type(params).__name__}"
        raise InputError("params", given, f"a dict of {sorted(names)}, as `cell.init` makes")
    return params[name]


def check_input_size(input_size: int | None) -> int:
    """F as a plain int, 0 for an autonomous cell (None), or InputError."""
    if input_size is None:
        return 0
    if isinstance(input_size, bool) or not isinstance(input_size, int | np.integer) or input_size < 0:
        raise InputError("input_size", repr(input_size), "the number of input features F >= 0, or None without inputs")
    return int(input_size)


def check_dtype(dtype: Any, argument: str = "dtype") -> Any:
    """A canonical floating dtype (so that equal cells compare equal), or None for JAX's default."""
    if dtype is None:
        return None
    try:
        canonical = jnp.dtype(dtype)
    except TypeError:
        canonical = None
    if canonical is None or not jnp.issubdtype(canonical, jnp.floating):
        raise InputError(argument, repr(dtype), "a floating dtype (float32, float64, bfloat16, float16)")
    return canonical


def made_dtype(dtype: Any) -> jnp.dtype:
    """The dtype that JAX makes of one that was asked for, None for its default; nothing is computed."""
    return jax.eval_shape(lambda: jnp.zeros((), dtype)).dtype


def gated_params(
    key: Array,
    input_size: int | None,
    hidden: int,
    gates: tuple[str, ...],
    dtype: Any,
    w_in: str | Callable,
    w_rec: str | Callable,
    bias: str | Callable,
) -> dict[str, Array]:
    """w_in [F, gates*H], w_rec [H, gates*H], bias [gates*H]; each gate's block is drawn on its own."""
    check_key(key)
    size = check_input_size(input_size)
    dtype = made_dtype(dtype)
    k_in, k_rec, k_bias = split_keys(key, 3)
    return {
        "w_in": initializers.weight_blocks(w_in, k_in, (size, hidden), len(gates), dtype),
        "w_rec": initializers.weight_blocks(w_rec, k_rec, (hidden, hidden), len(gates), dtype),
        "bias": initializers.bias_blocks(bias, k_bias, gates, hidden, dtype),
    }


def input_params(
    key: Array,
    input_size: int | None,
    hidden: int,
    gates: tuple[str, ...],
    dtype: Any,
    w_in: str | Callable,
    bias: str | Callable,
) -> dict[str, Array]:
    """`gated_params` of a cell whose gates do not read the state: w_in [F, gates*H], bias [gates*H]."""
    check_key(key)
    k_in, k_bias = split_keys(key, 2)
    dtype = made_dtype(dtype)
    return {
        "w_in": initializers.weight_blocks(w_in, k_in, (check_input_size(input_size), hidden), len(gates), dtype),
        "bias": initializers.bias_blocks(bias, k_bias, gates, hidden, dtype),
    }


def diagonal_params(
    key: Array,
    input_size: int | None,
    hidden: int,
    dtype: Any,
    w_in: str | Callable,
    w_rec: Callable[[Array, Any], Array],
    bias: str | Callable,
) -> dict[str, Array]:
    """Those of a cell with one gate and a diagonal recurrence: w_in [F, H], w_rec(key, dtype) [H], bias [H]."""
    check_key(key)
    k_in, k_rec, k_bias = split_keys(key, 3)
    dtype = made_dtype(dtype)
    return {
        "w_in": initializers.weight_blocks(w_in, k_in, (check_input_size(input_size), hidden), 1, dtype),
        "w_rec": w_rec(k_rec, dtype),
        "bias": initializers.bias_blocks(bias, k_bias, ("h",), hidden, dtype),
    }


def check_params(params: Params, hidden: int, gates: int, **further: Shape | None) -> None:
    """InputError unless the parameters have the names and shapes of a cell with `hidden` units and `gates` gates, and
    are real numbers. `further` names more parameters, or other shapes; `w_rec=None` is a cell without one. Extra
    entries pass."""
    width = gates * hidden
    expected = {"w_in": (None, width), "w_rec": (hidden, width), "bias": (width,)} | further
    expected = {name: shape for name, shape in expected.items() if shape is not None}
    entry(params, *expected)
    for name, shape in expected.items():
        array, argument = params[name], f"params['{name}']"
        if not hasattr(array, "dtype"):
            raise InputError(argument, f"a {type(array).__name__}", "an array of floating-point numbers")
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise InputError(argument, f"dtype {array.dtype}", "real floating-point numbers")
        if len(array.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            need = str(shape).replace("None", "F")
            raise InputError(argument, f"shape {array.shape}", f"{need} for {hidden} units")


def zeros_for(params: Params, batch_shape: Shape, hidden: int) -> Array:
    """[*B, H] of zeros, in the dtype of the parameters."""
    if not isinstance(batch_shape, tuple | list) or any(isinstance(n, str | float | bool) for n in batch_shape):
        raise InputError("batch_shape", repr(batch_shape), "a tuple of sizes, such as (32,), or () for one sequence")
    return jnp.zeros((*batch_shape, hidden), jnp.result_type(params["w_in"]))


S = TypeVar("S", bound=tuple)


def zero_state(kind: type[S], params: Params, batch_shape: Shape, hidden: int) -> S:
    """A state of this type whose parts are zeros [*B, H]."""
    zeros = zeros_for(params, batch_shape, hidden)
    return kind(*[zeros] * len(kind._fields))  # pyright: ignore[reportAttributeAccessIssue]


def state_like(state: S, *parts: Array) -> S:
    """A state of the type of `state` with these parts, in its dtypes."""
    return type(state)(*(part.astype(old.dtype) for part, old in zip(parts, state, strict=True)))


def check_floating(argument: str, x: Any) -> Array:
    """One floating-point array, or InputError."""
    if isinstance(x, dict | list | tuple):
        raise InputError(argument, f"a {type(x).__name__}", "one array of floating-point features")
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(argument, f"dtype {x.dtype}", "floating-point values (cast them, or one-hot encode tokens)")
    return x


def spread(factor: Array, w: Array) -> Array:
    """diag(factor) w^T: factor [*B, H] and w [M, H] -> [*B, H, M], in the factor's dtype."""
    return factor[..., :, None] * jnp.broadcast_to(w.astype(factor.dtype).T, (*factor.shape, w.shape[0]))


def diagonal(factor: Array) -> Array:
    """diag(factor): [*B, H] -> [*B, H, H]."""
    eye = jnp.eye(factor.shape[-1], dtype=factor.dtype)
    return factor[..., :, None] * jnp.broadcast_to(eye, (*factor.shape, factor.shape[-1]))


def quarters(upper_left: Array, upper_right: Array, lower_left: Array, lower_right: Array) -> Array:
    """[*B, 2H, 2H] of four [*B, H, H]: the Jacobian of a state of two parts."""
    upper = jnp.concatenate([upper_left, upper_right], axis=-1)
    return jnp.concatenate([upper, jnp.concatenate([lower_left, lower_right], axis=-1)], axis=-2)


def from_input(params: Params, x: Any, like: Array) -> Array:
    """x @ w_in + bias in the accumulation dtype; without input (x is None) the bias alone, with the batch of `like`."""
    w_in, bias = params["w_in"], params["bias"]
    if x is None:
        if w_in.shape[0]:
            raise InputError("xs", "None", f"inputs: `init` was told of {w_in.shape[0]} features (None: of none)")
        zero = jnp.zeros((*like.shape[:-1], bias.shape[-1]), wide_dtype(bias.dtype))
        return add_bias(zero, bias)
    x = check_floating("xs", x)
    if x.ndim < 1 or x.shape[-1] != w_in.shape[0]:
        raise InputError(
            "xs", f"inputs of shape {x.shape} a step", f"{w_in.shape[0]} features on the last axis, as `init` was told"
        )
    return add_bias(matmul(x.astype(w_in.dtype), w_in), bias)
