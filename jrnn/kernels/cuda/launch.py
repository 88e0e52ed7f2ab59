"""A launch as a foreign call: the arrays in the order in which the kernels have them, and the sizes of the plan."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.cuda.fragments import fragments
from jrnn.kernels.cuda.plan import Plan
from jrnn.kernels.implementations.base import SHAPES_ONLY
from jrnn.kernels.implementations.groups import map_one_direction
from jrnn.kernels.operands import Events, Operands, Scan
from jrnn.kernels.sharding import aligned, array_like
from jrnn.types import Array

ARGUMENTS = {
    "forward": "from_x w_rec w_candidate bias bias_rec h0 c0 reset_h reset_c events tap_h tap_c reverse".split(),
    "backward": (
        "w_rec w_candidate entered events reverse gates0 gates1 gates2 gates3 g_hs g_cs g_last_h g_last_c".split()
    ),
}
"""By the names in `forward.cuh` and `backward.cuh`, in their order; a test compares them."""
RESULTS = {
    "forward": "hs cs last_h last_c gates0 gates1 gates2 gates3".split(),
    "backward": "dz d_h0 d_c0 d_reset_h d_reset_c d_tap_h d_tap_c".split(),
}
"""The same; of the first the launcher reads how many groups, steps and sequences there are."""


def launch(
    device: Any,
    plan: Plan,
    scan: Scan,
    operands: Operands,
    events: Events,
    arrays: dict[str, Array | None],
    types: dict[str, tuple],
) -> dict[str, Array]:
    """The results in `types`, {name: (shape, dtype)}, from arrays by name; others stay empty.

    What follows from `operands` (the weights), `events` and `scan` is added to the arrays.
    """
    w_rec, dtype = operands.weights.w_rec, operands.dtype
    weights = map_one_direction(lambda _, w: fragments(plan, w), False, w_rec.shape[0], (w_rec,))
    arrays = arrays | dict(zip(("w_rec", "w_candidate"), weights))
    arrays |= {"events": event_bytes(events), "reverse": directions(scan)}
    absent = jnp.zeros((1, 0), dtype)
    names, results = ARGUMENTS[plan.direction], RESULTS[plan.direction]
    given = aligned([absent if arrays.get(name) is None else arrays[name] for name in names])
    made = [array_like(given[0], *types.get(name, ((1, 0), dtype))) for name in results]
    code = b"" if SHAPES_ONLY.get() else device.code(plan)
    found = jax.ffi.ffi_call(device.call, made)(
        *given,
        code=code,
        key=hashlib.sha256(code).hexdigest(),  # what is loaded is remembered by
        name=plan.name,
        sizes=np.asarray(plan.sizes, np.int64),
    )
    return {name: array for name, array in zip(results, found, strict=True) if name in types}


def directions(scan: Scan) -> Array:
    """Whether each group reads from the end, [E] of uint8; made of numbers, as no array may be a constant here.

    (`custom_partitioning` takes no function with constants.)
    """
    if len(set(scan.reverse)) == 1:
        return jnp.full(len(scan.reverse), scan.reverse[0], jnp.uint8)
    return jnp.stack([jnp.full((), reverse, jnp.uint8) for reverse in scan.reverse])


def event_bytes(events: Events) -> Array | None:
    """The events as `plan.cuh` numbers them, [E, T, B] of uint8; None where there are none."""
    outside = None if events.inside is None else ~events.inside
    flags = [(1, events.valid), (2, events.resets), (4, events.cuts), (8, outside)]
    found = [array.astype(jnp.uint8) * jnp.uint8(number) for number, array in flags if array is not None]
    if not found:
        return None
    total = found[0] + jnp.uint8(1 if events.valid is None else 0)
    for more in found[1:]:
        total = total + more
    return total
