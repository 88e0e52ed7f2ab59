"""A kernel under plain `jax.jit` on several devices: each takes its own sequences and groups, as they lie.

XLA knows nothing of what is in the kernel's call and would gather all sequences on every device. `jax.shard_map` needs
none of this: there the call is a device's own already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec


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


def over_devices(
    function: Callable, groups: tuple, takes: Sequence[int | None], gives: Sequence[int | None], shapes: tuple
) -> Callable:
    """A function of flat arrays, its calls split over devices along the sequences and the groups.

    Args:
      function: reverse -> the function of the groups with these directions, which takes arrays and returns a list;
        independent along the groups, independent along the sequences or summing over them.
      groups: the direction of each of the E groups.
      takes, gives: the axis of the sequences B in each argument and result; None where there is none. Such a result is
        a sum over sequences.
      shapes: those of (the arguments, the results), E first, or 1 where all groups share it.
    """
    several = len(groups) > 1

    def partition(mesh: Any, arguments: Sequence[Any], results: Any) -> tuple:
        specs = [tuple(a.sharding.spec) + (None,) * (len(a.shape) - len(a.sharding.spec)) for a in arguments]
        rows = first(spec[axis] for spec, axis in zip(specs, takes, strict=True) if axis is not None)
        members = first(spec[0] for spec, a in zip(specs, arguments, strict=True) if several and a.shape[0] > 1)
        lengths = [a.shape[axis] for a, axis in zip(arguments, takes, strict=True) if axis is not None]
        if any(length % parts_of(mesh, rows) for length in lengths):
            rows = None  # what pads the last device's share would be summed into the gradients of the weights
        own = groups[: len(groups) // parts_of(mesh, members)]
        if own * parts_of(mesh, members) != groups or shares(rows, members):
            own, members = groups, None  # devices would read in other directions, or be asked for twice

        def sharding(shape: tuple[int, ...], axis: int | None) -> NamedSharding:
            names = [rows if i == axis else None for i in range(len(shape))]
            return NamedSharding(mesh, PartitionSpec(*[members if shape[0] > 1 else names[0], *names[1:]]))

        def local(*leaves: Any) -> list[Any]:
            # a device's own arrays, whatever mesh is set outside
            with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
                found = function(own)(*leaves)
                if rows is None:
                    return found
                return [jax.lax.psum(a, rows) if axis is None else a for a, axis in zip(found, gives, strict=True)]

        of_arguments, of_results = (tuple(map(sharding, *side)) for side in ((shapes[0], takes), (shapes[1], gives)))
        return mesh, local, list(of_results), of_arguments

    letters = iter(range(10**6))

    def factors(shape: tuple[int, ...], axis: int | None) -> str:
        named = {axis: "rows"} | ({0: "groups"} if several and shape[0] > 1 else {})
        return " ".join(named.get(i, f"own{next(letters)}") for i in range(len(shape)))

    sides = [", ".join(map(factors, shapes[side], axes)) for side, axes in enumerate((takes, gives))]
    split = custom_partitioning(lambda *leaves: function(groups)(*leaves))
    split.def_partition(partition=partition, sharding_rule=" -> ".join(sides))
    return split


def first(names: Iterable[Any]) -> Any:
    """The first that is not None."""
    return next((each for each in names if each is not None), None)


def as_tuple(names: Any) -> tuple:
    return () if names is None else names if isinstance(names, tuple) else (names,)


def parts_of(mesh: Any, names: Any) -> int:
    """Into how many parts these mesh axes split an array."""
    return math.prod(mesh.shape[name] for name in as_tuple(names))


def shares(one: Any, other: Any) -> bool:
    """Whether a mesh axis is in both."""
    return bool(set(as_tuple(one)) & set(as_tuple(other)))
