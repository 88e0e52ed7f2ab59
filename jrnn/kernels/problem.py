"""What a recurrence over a whole sequence is made of: its description and its arrays, arrays in and arrays out.

Every array has a leading axis of groups E (the two directions of a layer, the members of an ensemble), 1 where all
groups share it; then T time steps, B sequences (one batch axis), F features, H units, G gates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jrnn.kernels.recurrences import Recurrence
from jrnn.types import Array


@jax.tree_util.register_static
@dataclass(frozen=True)
class Scan:
    """The static part of a recurrence over a whole sequence."""

    recurrence: Recurrence
    reverse: tuple[bool, ...]
    """Of each of the E groups: whether it reads from the end."""
    silent: bool = False
    """The tap is known to be zero: it takes a gradient and is not read."""

    def repeated(self, times: int) -> Scan:
        """The same for `times` copies of its groups, one after the other."""
        return replace(self, reverse=self.reverse * times)


class Weights(NamedTuple):
    """What a cell's `kernel(params)` gives where its recurrence is dense: its name, and its arrays without groups.

    Any NamedTuple will do whose first field names a recurrence and whose others are that recurrence's `weights`.
    """

    kind: str
    """One of `jrnn.kernels.RECURRENCES`."""
    w_in: Array
    """[F, G H]."""
    w_rec: Array
    """[H, G H]; of the linear recurrence its diagonal, [H]."""
    bias: Array
    """[G H]."""
    bias_rec: Array | None = None
    """[H], of the GRU with the reset after the product."""


class Operands(NamedTuple):
    """The arrays that have derivatives, all of one dtype."""

    xs: Array
    """[E, T, B, F]; F = 0 without inputs."""
    weights: Any
    """The recurrence's own NamedTuple, each array with the axis of groups in front: [E, ...]."""
    start: tuple[Array, ...]
    """h_0, or (h_0, c_0) [E, B, H]."""
    restart: tuple[Array, ...] | None
    """What a reset goes to, alike; None without resets."""
    tap: tuple[Array, ...] | None
    """Added to the state after each step [E, T, B, H]; its gradient is dL/dh_t."""

    @property
    def dtype(self) -> Any:
        return self.start[0].dtype


class Events(NamedTuple):
    """What happens at each step, [E, T, B] of bool, or None: as in `jrnn.masking.Schedule`."""

    inside: Array | None = None
    valid: Array | None = None
    resets: Array | None = None
    cuts: Array | None = None


class Outcome(NamedTuple):
    """What a recurrence leaves."""

    states: tuple[Array, ...]
    """h_t, or (h_t, c_t), after each step [E, T, B, H]; c only where all states were asked for."""
    last: tuple[Array, ...]
    """The state after the step read last [E, B, H]."""
    gates: Any = None
    """What an implementation keeps for its backward pass: arrays [E, T, B, ...]."""


class Sizes(NamedTuple):
    """E, T, B, F, H."""

    groups: int
    steps: int
    rows: int
    features: int
    units: int


def sizes(scan: Scan, operands: Operands) -> Sizes:
    """The sizes of a call, from its shapes."""
    _, steps, rows, features = operands.xs.shape
    return Sizes(len(scan.reverse), steps, rows, features, operands.start[0].shape[-1])


def aligned(tree: Any) -> Any:
    """Inside `jax.shard_map`: every array as one that differs between devices where any of them does.

    What all devices share is then summed over them on the way back.
    """
    found = [varying(jax.typeof(a)) for a in jax.tree.leaves(tree)]
    axes = frozenset().union(*found)

    def one(array: Any) -> Any:
        missing = tuple(sorted(axes - varying(jax.typeof(array)), key=str))
        return jax.lax.pcast(array, missing, to="varying") if missing else array

    return jax.tree.map(one, tree)


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
