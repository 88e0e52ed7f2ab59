"""How arrays lie over devices, and how the calls of a kernel that XLA cannot look into are split over them.

Under plain `jax.jit` on several devices XLA would gather all sequences on every device; `over_devices` gives each its
own sequences and groups, `over_all_devices` does where XLA cannot be told how. Inside `jax.shard_map` a call is one
device's own already, but types say which arrays differ between devices (`aligned`, `array_like`), and on a mesh of
Explicit axes how arrays are split (`placed_like`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from jrnn.types import Array


def ask_for_devices(primitive: Any) -> None:
    """Makes JAX tell the lowering of this primitive which devices the program is for; there is no public way to ask."""
    try:
        from jax._src.dispatch import prim_requires_devices_during_lowering
    except ImportError:
        return  # the sequences are gathered then
    prim_requires_devices_during_lowering.add(primitive)


def devices_of(ctx: Any) -> tuple:
    """The devices over which XLA's partitioner will split this program; none where it will not."""
    devices = tuple(getattr(ctx.module_context.axis_context, "device_assignment", None) or ())
    return devices if len(devices) > 1 else ()


def over_devices(
    function: Callable, groups: tuple, takes: Sequence[int | None], gives: Sequence[int | None], shapes: tuple
) -> Callable:
    """A function of flat arrays whose calls are split over devices along the sequences and the groups.

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
            rows = None  # the last device's padding would be summed into the gradients of the weights
        own = groups[: len(groups) // parts_of(mesh, members)]
        if own * parts_of(mesh, members) != groups or share_an_axis(rows, members):
            own, members = groups, None  # devices would differ in direction, or one mesh axis would split both

        def sharding(shape: tuple[int, ...], axis: int | None) -> NamedSharding:
            names = [rows if i == axis else None for i in range(len(shape))]
            return NamedSharding(mesh, PartitionSpec(*[members if shape[0] > 1 else names[0], *names[1:]]))

        def local(*leaves: Any) -> list[Any]:
            # a device's own arrays, whatever mesh is set outside
            with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
                results = function(own)(*leaves)
                if rows is None:
                    return results
                return [jax.lax.psum(a, rows) if axis is None else a for a, axis in zip(results, gives, strict=True)]

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


def over_all_devices(
    function: Callable,
    groups: tuple,
    takes: Sequence[int | None],
    gives: Sequence[int | None],
    shapes: tuple,
    devices: tuple,
) -> Callable:
    """`over_devices` without asking how arrays lie: over all devices of the program.

    Along the sequences; where devices cannot share those equally, along the groups; else each device computes all.
    Right wherever they lie: XLA moves them.
    """
    mesh, count = Mesh(np.asarray(devices), ("devices",)), len(devices)
    lengths = [shape[axis] for shape, axis in zip(shapes[0], takes, strict=True) if axis is not None]
    rows = None if any(length % count for length in lengths) else "devices"
    own = groups[: len(groups) // count]
    members = None if rows or own * count != groups else "devices"  # nor may devices differ in direction
    own = own if members else groups

    def specs(side: int, axes: Sequence[int | None]) -> tuple:
        def spec(shape: tuple[int, ...], axis: int | None) -> PartitionSpec:
            names = [rows if i == axis else None for i in range(len(shape))]
            return PartitionSpec(members if shape[0] > 1 else names[0], *names[1:])

        return tuple(map(spec, shapes[side], axes))

    def local(*leaves: Any) -> list[Any]:
        results = function(own)(*leaves)
        if rows is None:
            return results
        return [jax.lax.psum(a, rows) if axis is None else a for a, axis in zip(results, gives, strict=True)]

    where = {"in_specs": specs(0, takes), "out_specs": list(specs(1, gives))}

    def split(*leaves: Any) -> list[Any]:
        with jax.sharding.use_abstract_mesh(AbstractMesh((), ())):  # whatever mesh is set outside
            return jax.shard_map(local, mesh=mesh, check_vma=False, **where)(*leaves)

    return split


def first(names: Iterable[Any]) -> Any:
    """The first name that is not None."""
    return next((each for each in names if each is not None), None)


def as_tuple(names: Any) -> tuple:
    return () if names is None else names if isinstance(names, tuple) else (names,)


def parts_of(mesh: Any, names: Any) -> int:
    """The number of parts into which these mesh axes split an array."""
    return math.prod(mesh.shape[name] for name in as_tuple(names))


def share_an_axis(one: Any, other: Any) -> bool:
    """Whether a mesh axis is in both."""
    return bool(set(as_tuple(one)) & set(as_tuple(other)))


def aligned(tree: Any) -> Any:
    """Inside `jax.shard_map`: marks every array as one that differs between devices where any of them does.

    The gradients of what all devices share are then summed over the devices.
    """
    axes = frozenset().union(*(varying(jax.typeof(a)) for a in jax.tree.leaves(tree)))

    def mark(array: Any) -> Any:
        missing = tuple(sorted(axes - varying(jax.typeof(array)), key=str))
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return jax.tree.map(mark, tree)


def placed_like(xs: Array, array: Array, times: int, batch: int) -> Array:
    """`array` [times..., *B, ...], its batch axes split over devices as those of xs [T, *B, ...] are.

    Only where types say how arrays are split (a mesh of Explicit axes): elsewhere XLA sees to it.
    """
    sharding = jax.typeof(xs).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return array
    spec = PartitionSpec(*(None,) * times, *sharding.spec[1 : 1 + batch])
    return jax.sharding.reshard(array, NamedSharding(sharding.mesh, spec))


def array_like(array: Array, shape: tuple[int, ...], dtype: Any) -> Any:
    """The type of an array that differs between devices where `array` does."""
    aval = jax.typeof(array)
    if not varying(aval):
        return jax.ShapeDtypeStruct(shape, dtype)
    sharding = aval.sharding.update(spec=PartitionSpec(*(None,) * len(shape)))
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding, manual_axis_type=aval.mat)


def varying(aval: Any) -> frozenset:
    """The mesh axes along which devices hold different values."""
    return frozenset(aval.mat.varying)
