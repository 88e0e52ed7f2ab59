"""The recurrent weights in the order in which the lanes of a warp keep them (`product.cuh`)."""

from __future__ import annotations

import jax.numpy as jnp

from jrnn.kernels.cuda.plan import GATES, GRU_BEFORE, Plan
from jrnn.types import Array


def fragments(plan: Plan, w_rec: Array) -> tuple[Array, ...]:
    """The weights [H, G H] of each product of a step: of the gates, of the candidate where that has its own.

    An mma takes 16 rows of a matrix by 32 bytes. Of these lane i holds, in rows i // 4 and 8 + i // 4, the words i % 4
    and 4 + i % 4. Forwards the rows are a warp's units, gate after gate, and the columns the state's; backwards the
    rows are the state's units, and the columns the gates' units, gate after gate.
    """
    units, more = plan.units, plan.padded - plan.units
    gates = jnp.pad(w_rec.reshape(units, GATES[plan.kind], units), ((0, more), (0, 0), (0, more)))
    if plan.kind == GRU_BEFORE:
        return arranged(plan, gates[:, :2]), arranged(plan, gates[:, 2:])
    return (arranged(plan, gates),)


def arranged(plan: Plan, gates: Array) -> Array:
    """`fragments` of one product, from the blocks [H, gates, H] of its weights."""
    count, padded = gates.shape[1], plan.padded
    rows = (plan.cluster, plan.warps, plan.span, 8)
    if plan.direction == "forward":
        matrix = jnp.moveaxis(gates, 0, 2).reshape(count, *rows, padded).transpose(1, 2, 0, 3, 4, 5)
    else:
        matrix = gates.reshape(*rows, count * padded)
    # rows: warps, tiles, two halves of 8; columns: k-steps, two halves of 4 words, numbers in a word
    split = matrix.reshape(
        plan.cluster * plan.warps, -1, 2, 8, matrix.shape[-1] * plan.size // 32, 2, 4, 4 // plan.size
    )
    return split.transpose(0, 1, 4, 3, 6, 5, 2, 7).reshape(-1)
