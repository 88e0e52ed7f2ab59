"""A clip of dL/dh_t at every step of the backward pass, around any cell; forwards nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jrnn.cells._advance import state_shapes
from jrnn.cells._base import static_cell
from jrnn.cells._numbers import check_number
from jrnn.cells._recurrent_reads import Reads
from jrnn.cells._wrappers import Wrapper, check_wrapped
from jrnn.numerics import norm
from jrnn.types import Array, Params, State, ravel_state, wide_dtype


@static_cell
class ClipStateGradient(Wrapper):
    """See `clip_state_gradient`."""

    cell: Any
    max_norm: float

    def step(self, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None) -> State:
        after = super().step(params, state, x, noise, reads)
        return clip_on_the_way_back(after, jnp.asarray(self.max_norm), batch_axes(self.cell, self.inner(params), after))


def clip_state_gradient(cell: Any, max_norm: float) -> ClipStateGradient:
    """Clips delta_t = dL/dh_t to a norm at every step of backpropagation through time, for each sequence on its own.

    delta_{t-1} = J_t^T c_t delta_t + g_{t-1} with c_t = min(1, max_norm / ||delta_t||_2), the norm over the whole state
    (h and c of an LSTM, all layers of a stack). The step's parameters hear c_t delta_t as well; delta_0 is not clipped.
    Values and forward mode (`jax.jvp`, `jax.jacfwd`, so also `jrnn.jacobians`) are those of the bare cell.

    Unlike a clip of the whole gradient this one weighs the lags anew: what went far enough to be clipped often counts
    less, so the gradient is no longer that of the loss (`jrnn.cures.clipping_proof` measures it). Graves (2013,
    arXiv:1308.0850, section 2) clips each entry of the gradient of an LSTM's inputs in this way, at every step.

    Because c_t depends on all outputs together, the gradient has no parts that add up: `gradient_flow` refuses.

    Adding problem of 50 steps, an IRNN of 64 units (B = 50, Adam .006, 400 updates, 3 seeds): a loss of .007 to .022
    with max_norm = .02, of .16 to .23 without a clip; with a limit of 1 for the whole gradient .004 to .052. At .002 it
    is .064 to .163, .157 to .188 and .037 to .069.

    Args:
      cell: a causal cell; around one layer of a stack it clips that layer's own state.
      max_norm: the largest norm that passes, above 0, in units of the loss over the state's. A mean over B sequences
        has gradients of each sequence B times smaller. Infinity clips nothing.
    Returns:
      A cell with the same parameters and states.
    Raises:
      InputError: the cell is not causal, or max_norm is no number above 0.
    """
    check_wrapped(cell, "clip_state_gradient")
    need = "a number above 0, not a traced one: a cell is static"
    return ClipStateGradient(cell, check_number("max_norm", max_norm, lambda limit: limit > 0, need))


def clips_on_the_way_back(cell: Any) -> bool:
    """Whether there is a `ClipStateGradient` in the cell, however deep."""
    if isinstance(cell, ClipStateGradient):
        return True
    fields = () if isinstance(cell, type) else getattr(cell, "__dataclass_fields__", ())
    inner = cell if isinstance(cell, tuple) else (getattr(cell, name, None) for name in fields)
    return any(clips_on_the_way_back(part) for part in inner)


def batch_axes(cell: Any, params: Params, state: State) -> int:
    """How many batch axes the leaves of a state have."""
    alone = jax.tree.leaves(state_shapes(cell, params))
    return jnp.ndim(jax.tree.leaves(state)[0]) - alone[0].ndim


def clip_on_the_way_back(state: State, limit: Array, batch_ndim: int) -> State:
    """The state itself; its cotangent is clipped to the norm `limit` (a scalar or [*B]). Integer leaves pass."""
    leaves, treedef = jax.tree.flatten(state)
    moving = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]
    own = [leaf for leaf, moves in zip(leaves, moving, strict=True) if moves]
    limits = jax.lax.stop_gradient(jnp.broadcast_to(limit, own[0].shape[:batch_ndim])) if own else limit
    passed = iter(clip_p.bind(limits, *own) if own else ())
    return treedef.unflatten([next(passed) if moves else leaf for leaf, moves in zip(leaves, moving, strict=True)])


def clip_norms(cotangents: Sequence[Array], limits: Array) -> list[Array]:
    """v min(1, limit / ||v||), the norm over all leaves [*B, ...] together; limits [*B]."""
    vectors = ravel_state([jnp.abs(v) for v in cotangents], limits.ndim)
    factor = clip_factor(norm(vectors), limits)

    def scale(v: Array) -> Array:
        wide = v.astype(wide_dtype(v.dtype) if v.dtype.kind != "c" else v.dtype)
        spread = jnp.broadcast_to(factor.reshape(*factor.shape, *[1] * (v.ndim - factor.ndim)), v.shape)
        return (wide * spread.astype(wide.dtype)).astype(v.dtype)

    return [scale(v) for v in cotangents]


def clip_factor(norms: Array, limits: Array) -> Array:
    """min(1, limit / norm); a norm of zero passes."""
    limits = limits.astype(norms.dtype)
    passes = norms <= limits
    return jnp.where(passes, jnp.ones_like(norms), limits / jnp.where(passes, jnp.ones_like(norms), norms))


# `custom_vjp` would take forward mode away; `linear_call` has both modes and no vmap: hence a primitive of our own
clip_p = Primitive("clip_on_the_way_back")
clip_p.multiple_results = True
clip_p.def_impl(lambda limits, *leaves: list(leaves))
clip_p.def_abstract_eval(lambda limits, *leaves: list(leaves))
mlir.register_lowering(clip_p, mlir.lower_fun(lambda limits, *leaves: list(leaves), multiple_results=True))


def clip_jvp(primals: Sequence[Array], tangents: Sequence[Any]) -> tuple[list[Array], list[Array]]:
    """Forwards the identity, and a linear map of the tangents, so that reverse mode transposes it."""
    limits, *moves = primals[0], *(ad.instantiate_zeros(tangent) for tangent in tangents[1:])
    return list(primals[1:]), clip_p.bind(limits, *moves)


def clip_transpose(cotangents: Sequence[Any], limits: Array, *leaves: Any) -> list[Any]:
    """Clips the cotangents; the transpose of the identity would pass them as they are."""
    return [None, *clip_norms([ad.instantiate_zeros(cotangent) for cotangent in cotangents], limits)]


def clip_batched(args: Sequence[Array], axes: Sequence[Any]) -> tuple[list[Array], list[int]]:
    """A mapped axis is one more batch axis in front."""
    size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
    front = [
        jnp.broadcast_to(a[None], (size, *a.shape)) if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(args, axes, strict=True)
    ]
    return clip_p.bind(*front), [0] * (len(args) - 1)


ad.primitive_jvps[clip_p] = clip_jvp
ad.primitive_transposes[clip_p] = clip_transpose
batching.primitive_batchers[clip_p] = clip_batched
