"""The recurrences on TPUs: one Pallas kernel runs the whole sequence, forward, and one backward.

The products with x stand ahead of the loop, all steps in one; the kernel keeps W_rec in VMEM and streams the rest
(`kernels/pallas_scan`). Backward it finds dz_t alone: the gradients of the weights and of the inputs are then one
product each over all steps. `tpu_passes` has both; it imports Pallas, which takes its time, and so comes when called.

It helps where XLA's loop spends its time between operations; with many units the product takes the time. It pads H to
a multiple of 128 and B to one of 8: fewer units cost as much. Nothing was timed on a TPU yet. The largest H it takes:

    VMEM      LSTM: bfloat16, float32   GRU           tanh
    16 MiB    1,024, 768                1,280, 896    2,304, 1,664
    128 MiB   3,328, 2,432              3,968, 2,816  6,912, 4,864

Streams are in float32 but for the states: an LSTM reads x W_in + b, 16 H bytes a step and sequence, and saves as much
for the gradient. With many sequences memory, not the product, bounds its forward pass: at B = 128, H = 256 a step moves
1.2 MB and takes 760 instructions, and a v5e does 0.8 MB a microsecond. In float32 at the precision "highest" compiling
takes long, about a minute for the backward pass of an LSTM with H = 512 and B = 128.

An exported program is for TPUs alone (`platforms=["tpu"]`: for several JAX raises a ValueError); its blocks are for
the VMEM of the device on which it was traced. Under plain `jax.jit` chips share the sequences, or, where they cannot do
so equally, the members of an ensemble. Members that lie on different chips may have to move for it: `jax.shard_map`
keeps them where they are. Where H is no multiple of 128, an Inf in one unit of a
`gru_reset_before`, which has two products a step, becomes NaN in all units of that sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
from jax.sharding import AxisType

from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.implementations.groups import map_groups
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.kernels.pallas_scan.plan import BLOCKS, Target, Unfit
from jrnn.kernels.pallas_scan.tiles import SUBLANES
from jrnn.kernels.recurrences import Sloped
from jrnn.kernels.recurrences.base import input_dtype

DTYPES = ("float32", "bfloat16")

CHECKED: dict[str, str] = {}
"""The device kinds on which the oracle checks have run, each with its date: where the kernel is taken unasked."""

SMALLEST = 16 * 2**20
"""VMEM of the oldest TPUs, in bytes."""


@dataclass(frozen=True)
class Tpu:
    """See the module."""

    interpret: Any = False
    """What Pallas's `interpret` takes: True or `InterpretParams` run the kernel on any platform, for tests."""
    vmem: int | None = None
    """Bytes of VMEM that a core has; None asks the device."""

    name = "tpu"
    by_autodiff = False
    opaque_to_xla = True

    def refuses(self, facts: CallFacts) -> str | None:
        """It runs on TPUs, in two dtypes, what has a backward pass of its own and fits into VMEM."""
        if facts.backend != "tpu" and not self.interpret:
            return f"it runs on TPUs, and JAX runs on {facts.backend}"
        if not isinstance(facts.recurrence, Sloped):
            return f"a {facts.recurrence.name} recurrence has no backward pass of its own"
        if not vars(type(facts.recurrence)).get("elementwise", False):  # a subclass may have overridden a part
            return f"a {facts.recurrence.name} recurrence may mix units otherwise than by products (`elementwise`)"
        if str(facts.dtype) not in DTYPES:
            return f"it has no {facts.dtype}"
        if facts.on_explicit_mesh:
            return "types say how the arrays are split: take a mesh of Auto axes, or call it within jax.shard_map"
        if maps_some_axes():
            return "jax.shard_map maps some axes of the mesh, and it needs all axes mapped (axis_names)"
        sizes = facts.steps, facts.sequences, facts.features, facts.units
        if not all(size is None or isinstance(size, int) for size in sizes):
            return "its blocks are made for sizes that are known, and here they are symbols"
        if facts.weights is None or facts.features is None or facts.units is None:
            return None
        return unfit(facts.recurrence, facts.weights, str(facts.dtype), *sizes[2:], self.target().vmem)

    def only_if_named(self, facts: CallFacts) -> str | None:
        """It is opt-in where nobody has compared it with the oracles on the hardware itself."""
        kind = jax.devices()[0].device_kind
        return None if kind in CHECKED else f"its checks have not yet run on a {kind}: name it to try it"

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """It saves the gates, [E, T, B, H] each, or their sums where those are fewer."""
        from jrnn.kernels.implementations.tpu_passes import forward_group

        body = partial(forward_group, self.target(), scan, all_states, save_gates)
        return map_groups(body, scan, (operands, events))

    def backward(
        self,
        scan: Scan,
        needs_gradient: Any,
        operands: Operands,
        events: Events,
        saved: RecurrenceResult,
        cotangents: RecurrenceResult,
    ) -> Operands:
        """None for what needs no gradient.

        Gates that were not saved are computed again for all steps at once: that saves memory until here alone.
        """
        from jrnn.kernels.implementations.tpu_passes import backward_group

        body = partial(backward_group, self.target(), scan, needs_gradient)
        return map_groups(body, scan, (operands, events, saved, cotangents))

    def target(self) -> Target:
        """What its kernels are compiled for."""
        return Target(self.vmem or vmem_here(), self.interpret)


def maps_some_axes() -> bool:
    """Whether this is inside a `jax.shard_map` that leaves axes of its mesh to XLA, which cannot split a kernel."""
    kinds = set(jax.sharding.get_abstract_mesh().axis_types)
    return AxisType.Manual in kinds and len(kinds) > 1


def vmem_here() -> int:
    """Bytes of VMEM that a core of this device has; of what is no TPU that JAX knows, those of the smallest."""
    from jax.experimental.pallas import tpu

    try:
        return tpu.get_tpu_info().vmem_capacity_bytes
    except ValueError:
        return SMALLEST


@lru_cache(maxsize=256)
def unfit(recurrence: Any, weights: Any, dtype: Any, features: int, units: int, vmem: int) -> str | None:
    """Why no kernel runs such a call, forward and backward, with all that may happen; None if one does.

    Sequences and steps do not matter: what does not fit is taken in smaller blocks, down to one tile.
    """
    from jrnn.kernels.implementations.tpu_passes import backward_group, forward_group

    states: Any = tuple(jax.ShapeDtypeStruct((SUBLANES, units), dtype) for _ in recurrence.parts)
    xs: Any = jax.ShapeDtypeStruct((max(BLOCKS), SUBLANES, features), input_dtype(recurrence, dtype))
    flags: Any = jax.ShapeDtypeStruct(xs.shape[:2], bool)
    tap: Any = tuple(jax.ShapeDtypeStruct((*xs.shape[:2], units), dtype) for _ in recurrence.parts)
    operands, events = Operands(xs, weights, states, states, tap), Events(None, flags, flags, flags)
    scan = Scan(recurrence, (False,))
    needed = jax.tree.map(lambda _: True, operands)
    target = Target(vmem, False)

    def both(operands: Operands, events: Events) -> Any:
        result = forward_group(target, scan, True, True, False, operands, events)
        return backward_group(target, scan, needed, False, operands, events, result, result._replace(gates=None))

    try:
        jax.eval_shape(both, operands, events)
    except Unfit as error:
        return str(error)
    return None


TPU = Tpu()
