"""What an implementation says and does. The primitives and the choice know this protocol and no implementation by name.

Shapes are those of `jrnn.kernels.operands`: E groups, T time steps, B sequences, F features, H units.
"""

from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.kernels.recurrences import Recurrence

ASKED = frozenset(("cpu", "cuda", "rocm"))
"""The platforms whose partitioner asks how a foreign call is split. That of TPUs does not (JAX's issue 38196)."""


class CallFacts(NamedTuple):
    """What is known of a call before it runs: all that an implementation may refuse it for.

    Sizes are None where the caller does not know them, and may be symbols in an exported program. `jax.vmap` may add
    sequences and groups later.
    """

    recurrence: Recurrence
    dtype: Any
    """The one dtype of all operands."""
    backend: str
    """The platform that JAX runs on: "cpu", "gpu" or "tpu"."""
    steps: int | None = None
    """T."""
    sequences: int | None = None
    """B, all batch axes together."""
    features: int | None = None
    """F."""
    units: int | None = None
    """H."""
    weights: Any = None
    """The shapes of the recurrence's arrays, without groups: its NamedTuple of `jax.ShapeDtypeStruct`."""
    on_explicit_mesh: bool = False
    """Whether the arrays' types say that devices hold parts of them (a mesh of Explicit axes)."""


SHAPES_ONLY: ContextVar[bool] = ContextVar("shapes only", default=False)
"""Whether what is traced runs nowhere: only the shapes of its results are read, and nothing need be compiled for it."""


@runtime_checkable
class Implementation(Protocol):
    """One way to run every recurrence that it does not refuse: a hashable description of two functions of arrays.

    The backward pass serves reverse mode alone: every other derivative, and every derivative of the backward pass, is
    that of the spec (`reference.run`).
    """

    @property
    def name(self) -> str:
        """What `jrnn.unroll(implementation=)`, `jrnn.kernels.recur` and `explain` call it."""
        ...

    @property
    def by_autodiff(self) -> bool:
        """Whether JAX traces, batches and differentiates `forward` as it stands, without the primitives.

        Then `backward` serves as a specification alone.
        """
        ...

    @property
    def opaque_to_xla(self) -> bool:
        """Whether XLA sees one foreign call whose inside it cannot split over devices.

        Then jrnn splits it (`sharding.over_devices`): each device takes its own sequences and groups.
        """
        ...

    def refuses(self, facts: CallFacts) -> str | None:
        """Why it cannot run such a call, as the end of "not NAME: ..."; None if it can."""
        ...

    def only_if_named(self, facts: CallFacts) -> str | None:
        """Why it is not taken for such a call, though it can run it, unless the user names it; None if it is."""
        ...

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """The whole recurrence.

        Args:
          operands, events: arrays [E or 1, ...]; an axis of 1 is shared by all groups.
          all_states: return every part of every state (h and c), not h alone.
          save_gates: return what `backward` would otherwise compute again.
        Returns:
          states [E, T, B, H] of each part, or of the first alone; last [E, B, H] of each part; gates: any pytree of
          arrays [E, T, B, ...], or None.
        """
        ...

    def backward(
        self,
        scan: Scan,
        needs_gradient: Any,
        operands: Operands,
        events: Events,
        saved: RecurrenceResult,
        cotangents: RecurrenceResult,
    ) -> Operands:
        """The gradients of the operands.

        Args:
          needs_gradient: the `Operands` of a bool for each array: which gradients are read.
          saved: what `forward` returned with all states; its gates are None where they were not saved, its `last` is
            empty.
          cotangents: dL/d states [E, T, B, H] and dL/d last [E, B, H], None for parts that nothing reads.
        Returns:
          `Operands` whose arrays have all E groups in front, also where the operand is shared; None, or anything, where
          no gradient is needed.
        """
        ...
