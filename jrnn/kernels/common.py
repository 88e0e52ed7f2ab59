"""What implementations in XLA's operations share: a group's inputs, the states that entered, gradients from dz."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jrnn.kernels.problem import Events, Operands, Recurrence
from jrnn.kernels.reference import add_bias, matmul
from jrnn.types import Array, wide_dtype


def from_inputs(one: Operands, events: Events) -> Array:
    """x_t W_in + b [T, B, G H]; what padding holds is not read."""
    return add_bias(matmul(read(one, events), one.w_in), one.bias)


def read(one: Operands, events: Events) -> Array:
    """The inputs, zero where the step did not happen."""
    if events.valid is None:
        return one.xs
    return jnp.where(events.valid[..., None], one.xs, jnp.zeros_like(one.xs))


def heard(what: Recurrence, one: Operands, events: Events) -> tuple[Array, ...] | None:
    """The tap, where it is not known to be zero, on the steps it reaches."""
    return None if one.tap is None or what.silent else inside(events, one.tap)


def inside(events: Events, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """[T, B, H] each, zero on padding."""
    if events.inside is None:
        return arrays
    return tuple(jnp.where(events.inside[..., None], a, jnp.zeros_like(a)) for a in arrays)


def before(events: Events, reverse: bool, after: Array, start: Array, restart: Array) -> Array:
    """The states that entered each step [T, B, H]: the neighbour's, the initial one, or what a reset went to."""
    order = [after[1:], start[None]] if reverse else [start[None], after[:-1]]
    found = jnp.concatenate(order)
    if events.resets is None:
        return found
    return jnp.where(events.resets[..., None], jnp.broadcast_to(restart, found.shape), found)


def whole_on(left: Any, right: Any) -> Any:
    """The sharding of a product summed over all but the last axes; None where types do not say how arrays are split."""
    mesh = left.mesh if AxisType.Explicit in left.mesh.axis_types else right.mesh
    if AxisType.Explicit not in mesh.axis_types:
        return None
    return NamedSharding(mesh, PartitionSpec(left.spec[-1], right.spec[-1]))


def of_weights(
    what: Recurrence, wanted: Any, one: Operands, events: Events, h: Array, reset: Array | None, dz: Array
) -> Operands:
    """The gradients of the weights and of xs, which follow from dz [T, B, G H], from h that entered the steps and r."""
    size, dtype = h.shape[-1], dz.dtype

    def summed(left: Array, right: Array) -> Array:
        """sum over t, b of left^T right."""
        over = tuple(range(left.ndim - 1))
        wide, whole = wide_dtype(dtype), whole_on(jax.typeof(left).sharding, jax.typeof(right).sharding)
        contracting = (over, over), ((), ())
        found = jax.lax.dot_general(left, right, contracting, preferred_element_type=wide, out_sharding=whole)
        return found.astype(dtype)

    def total(array: Array) -> Array:
        return jnp.sum(array, axis=(0, 1), dtype=wide_dtype(dtype)).astype(dtype)

    def times_reset(array: Array) -> Array:
        assert reset is not None
        return (array.astype(reset.dtype) * reset).astype(dtype)

    found: dict[str, Any] = dict.fromkeys(Operands._fields)
    to_h = dz
    if what.kind == "gru":
        to_h = jnp.concatenate([dz[..., : 2 * size], times_reset(dz[..., 2 * size :])], axis=-1)
    if wanted.w_rec and what.kind == "gru_reset_before":
        parts = summed(h, dz[..., : 2 * size]), summed(times_reset(h), dz[..., 2 * size :])
        found["w_rec"] = jnp.concatenate(parts, axis=-1)
    elif wanted.w_rec and what.kind == "linear":
        found["w_rec"] = total(dz.astype(wide_dtype(dtype)) * h.astype(wide_dtype(dtype)))
    elif wanted.w_rec:
        found["w_rec"] = summed(h, to_h)
    if wanted.w_in:
        found["w_in"] = summed(read(one, events), dz)
    if wanted.bias:
        found["bias"] = total(dz)
    if wanted.bias_rec:
        found["bias_rec"] = total(to_h[..., 2 * size :])
    if wanted.xs:
        found["xs"] = matmul(dz, one.w_in.T).astype(dtype)
    return Operands(**found)


def with_states(found: Operands, wanted: Any, one: Operands, starts: tuple, restarts: tuple, taps: Any) -> Operands:
    """The gradients, those of the initial states, of what resets go to and of the tap among them."""
    dtype, states = one.w_rec.dtype, {}
    for name, arrays in (("start", starts), ("restart", restarts), ("tap", taps)):
        flags, given = getattr(wanted, name), getattr(one, name)
        if given is not None:
            found_here = flags if arrays is None else arrays  # nobody asked: there are none
            states[name] = tuple(a.astype(dtype) if flag else None for a, flag in zip(found_here, flags, strict=True))
    return found._replace(**states)
