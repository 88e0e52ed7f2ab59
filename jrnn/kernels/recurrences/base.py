"""What a recurrence defines. Implementations know these protocols and no recurrence by name."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

from jrnn.types import Array, wide_dtype

States: TypeAlias = tuple[Array, ...]
"""The parts of a state, [B, H] each; leading axes of time and groups are mentioned where there are any."""


@runtime_checkable
class Recurrence(Protocol):
    """h_t = step(weights, h_{t-1}, x_t): a hashable description. These members alone make it run by the reference.

    Optional: `wide_inputs` (False), whether xs are in float32 where the state has 16 bits, for inputs that are gates.
    """

    @property
    def name(self) -> str:
        """The name that a cell's `kernel` gives, `Weights.kind`."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the state's parts: ("h",), or ("h", "c") of an LSTM."""
        ...

    @property
    def weights(self) -> type:
        """The NamedTuple of its arrays."""
        ...

    @property
    def native(self) -> int | None:
        """Its number in a file of `native/recurrences`; None where the compiled kernel does not have it."""
        ...

    def check(self, weights: Any) -> None:
        """Raises an InputError that names `weights.FIELD` unless the arrays fit each other."""
        ...

    def sizes(self, weights: Any) -> tuple[int, int]:
        """(F, H): the sizes that xs [T, B, F] and the parts of the state [B, H] must have."""
        ...

    def step(self, weights: Any, state: States, x: Array) -> States:
        """The state after one step of x [B, F]: the spec that every implementation is compared with."""
        ...

    def gates_saved(self, dtype: Any) -> int:
        """How many arrays [T, B, H] the compiled kernel saves for its backward pass."""
        ...


def input_dtype(recurrence: Recurrence, dtype: Any) -> Any:
    """The dtype of xs beside a state of `dtype`."""
    return wide_dtype(dtype) if getattr(recurrence, "wide_inputs", False) else dtype


@runtime_checkable
class Sloped(Recurrence, Protocol):
    """A recurrence with a backward pass of its own in XLA's operations.

    A step has three parts: `sums` (the products), `gates` (their functions), `after` (the state). In the backward pass
    `slope` finds dz_t, the gradient of the sums to which x contributes, at every step, and `gradients` those of the
    weights from all dz.

    Optional: `elementwise` (False), whether `sums_from`, `gates`, `after` and `slope` mix units by products with
    weights alone, and take all sizes from what they are given. A kernel may then run them on H filled up with zeros: a
    mean or a softmax over H would count those, too, and must not say so. Every class says it for itself: a subclass
    does not inherit it.
    """

    def sums(self, weights: Any, x: Array, state: States) -> tuple[Array, ...]:
        """The pre-activations of the gates, [..., H] each, for any leading axes; saved for the backward pass.

        They are separate arrays because XLA does not vectorise code that reads parts of one array.
        """
        ...

    def from_inputs(self, weights: Any, xs: Array) -> Array:
        """What the sums read of x [..., n H], for all steps at once: x W_in + b, in the dtype of the sums."""
        ...

    def sums_from(self, weights: Any, from_x: Array, state: States) -> tuple[Array, ...]:
        """`sums`, from `from_inputs` of the same step: what is left for a loop whose products with x stand ahead."""
        ...

    def gates(self, weights: Any, sums: tuple[Array, ...], state: States) -> tuple[Array, ...]:
        """The gates [..., H] each, and whatever else `slope` needs."""
        ...

    def after(self, gates: tuple[Array, ...], state: States) -> States:
        """The state after a step, from its gates."""
        ...

    def gates_from_state(self, dtype: Any) -> bool:
        """Whether the state after a step is its only gate, so that nothing else is saved."""
        ...

    def transposed(self, weights: Any) -> Array:
        """The matrix that `slope` multiplies by, W_rec^T [G H, H], computed once before the loop."""
        ...

    def slope(
        self, back: Array, gates: tuple[Array, ...], entered: States, deltas: States
    ) -> tuple[Array, States, Any]:
        """From deltas = dL/dh_t: (dz [B, G H], dL/dh_{t-1} through this step, what else `gradients` needs)."""
        ...

    def gradients(self, needs_gradient: Any, weights: Any, xs: Array, entered: States, dz: Array, more: Any) -> Any:
        """The gradients of the weights over xs [T, B, F] and dz [T, B, G H]; None where `needs_gradient` is False."""
        ...

    def input_gradient(self, weights: Any, dz: Array) -> Array:
        """dL/dxs [..., F]."""
        ...


@runtime_checkable
class Diagonal(Recurrence, Protocol):
    """A recurrence h_t = a_t h_{t-1} + z_t, elementwise: a parallel prefix scan can run it.

    The state has one part, or two: those of complex numbers.
    """

    def terms(self, weights: Any, xs: Array) -> tuple[Array, Array]:
        """(a, z) [T, B, H] each, in the dtype that sums are computed in; complex for a state of two parts."""
        ...
