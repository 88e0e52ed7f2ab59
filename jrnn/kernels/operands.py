"""What a recurrence over a whole sequence is given and what it returns: a description and arrays.

Every array has a leading axis of groups E (the two directions of a layer, the members of an ensemble), 1 where all
groups share it; then T time steps, B sequences (one batch axis), F features, H units, G gates.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax

from jrnn.kernels.recurrences import Recurrence
from jrnn.types import Array


@jax.tree_util.register_static
@dataclass(frozen=True)
class Scan:
    """The static part of a recurrence over a whole sequence."""

    recurrence: Recurrence
    reverse: tuple[bool, ...]
    """Whether each of the E groups reads from the end."""
    tap_is_zero: bool = False
    """The tap is known to be zero: its gradient is computed, its values are not read."""

    def repeated(self, times: int) -> "Scan":
        """The scan of `times` copies of the groups, one after the other."""
        return replace(self, reverse=self.reverse * times)


class Weights(NamedTuple):
    """What `kernel(params)` of a cell with dense weights returns: the recurrence's name and arrays without groups.

    Any NamedTuple will do whose first field names a recurrence and whose other fields are that recurrence's `weights`.
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
    """The arrays that have derivatives, all of one dtype; but for xs where the recurrence has `wide_inputs`."""

    xs: Array
    """[E, T, B, F]; F = 0 without inputs."""
    weights: Any
    """The recurrence's own NamedTuple, each array with the axis of groups in front: [E, ...]."""
    start: tuple[Array, ...]
    """h_0, or (h_0, c_0) [E, B, H]."""
    reset_state: tuple[Array, ...] | None
    """The state that a reset goes to, shaped like `start`; None without resets."""
    tap: tuple[Array, ...] | None
    """Added to the state after each step [E, T, B, H]; its gradient is dL/dh_t."""

    @property
    def dtype(self) -> Any:
        return self.start[0].dtype


class Events(NamedTuple):
    """What happens at each step, [E, T, B] of bool, or None: as in `jrnn.unrolling.schedule.Schedule`."""

    inside: Array | None = None
    valid: Array | None = None
    resets: Array | None = None
    cuts: Array | None = None


class RecurrenceResult(NamedTuple):
    """What a recurrence over a whole sequence returns; `jrnn.kernels.Outcome` in public."""

    states: tuple[Array, ...]
    """h_t, or (h_t, c_t), after each step [E, T, B, H]; c only where all states were asked for."""
    last: tuple[Array, ...]
    """The state after the step read last, each part [E, B, H]."""
    gates: Any = None
    """What an implementation saves for its backward pass: arrays [E, T, B, ...]."""


class Sizes(NamedTuple):
    """E groups, T steps, B sequences (rows), F features, H units."""

    groups: int
    steps: int
    rows: int
    features: int
    units: int


def sizes(scan: Scan, operands: Operands) -> Sizes:
    """The sizes of a call, from its shapes."""
    _, steps, rows, features = operands.xs.shape
    return Sizes(len(scan.reverse), steps, rows, features, operands.start[0].shape[-1])
