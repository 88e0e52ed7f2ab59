"""A kernel under plain `jax.jit` on several devices: each takes its own sequences, as they lie.

XLA knows nothing of what is in the kernel's call and would gather all sequences on every device. `jax.shard_map` needs
none of this: there the call is a device's own already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from jrnn.kernels.batching import ROWS
from jrnn.kernels.problem import Events, Operands, Outcome

ALONG = {Operands: ROWS, Events: Events(2, 2, 2, 2), Outcome: Outcome(2, 1, 2)}  # pyright: ignore[reportArgumentType]


def rows_axes(args: Sequence[Operands | Events | Outcome]) -> list[int | None]:
    """The axis of the sequences in every array of these, in order; None in the weights, which have none."""
    fields = [pair for each in args for pair in zip(each, ALONG[type(each)], strict=True)]
    return [axis for arrays, axis in fields for _ in jax.tree.leaves(arrays)]


def ask_for_devices(primitive: Any) -> None:
    """JAX tells the lowering of this primitive which devices the program is for. There is no public name for it."""
    try:
        from jax._src.dispatch import prim_requires_devices_during_lowering
    except ImportError:
        return  # the sequences are gathered then
    prim_requires_devices_during_lowering.add(primitive)


def on_several_devices(ctx: Any) -> bool:
    """Whether XLA's partitioner is to split this program."""
    return len(getattr(ctx.module_context.axis_context, "device_assignment", None) or ()) > 1


def over_rows(function: Callable, takes: Sequence[int | None], gives: Sequence[int | None], ranks: tuple) -> Callable:
    """`function` of flat arrays, its calls split over devices along the sequences.

    Args:
      function: takes arrays and returns a list; independent along the sequences, or summing over them.
      takes, gives: the axis of the sequences B in each argument and result; None where there is none. Such a result is
        a sum over sequences.
      ranks: the numbers of axes of (the arguments, the results).
    """

    def partition(mesh: Any, arguments: Sequence[Any], results: Any) -> tuple:
        specs = [tuple(a.sharding.spec) + (None,) * (len(a.shape) - len(a.sharding.spec)) for a in arguments]
        found = [spec[axis] for spec, axis in zip(specs, takes, strict=True) if axis is not None]
        along = next((names for names in found if names is not None), None)

        def sharding(rank: int, axis: int | None) -> NamedSharding:
            return NamedSharding(mesh, PartitionSpec(*(along if i == axis else None for i in range(rank))))

        def local(*leaves: Any) -> list[Any]:
            # a device's own arrays, whatever mesh is set outside
            with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
                own = function(*leaves)
                if along is None:
                    return own
                return [jax.lax.psum(a, along) if axis is None else a for a, axis in zip(own, gives, strict=True)]

        of_arguments, of_results = (tuple(map(sharding, *side)) for side in ((ranks[0], takes), (ranks[1], gives)))
        return mesh, local, list(of_results), of_arguments

    letters = iter(range(10**6))

    def factors(rank: int, axis: int | None) -> str:
        return " ".join("rows" if i == axis else f"own{next(letters)}" for i in range(rank))

    sides = [", ".join(map(factors, ranks[side], axes)) for side, axes in enumerate((takes, gives))]
    split = custom_partitioning(lambda *leaves: function(*leaves))
    split.def_partition(partition=partition, sharding_rule=" -> ".join(sides))
    return split
