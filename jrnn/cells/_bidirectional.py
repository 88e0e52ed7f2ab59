"""Both directions of a sequence: a description only; `jrnn.unroll` gives it its meaning."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells._advance import check_cell, draws_noise, output_size
from jrnn.cells._base import check_key, entry, static_cell
from jrnn.types import Array, Params, Shape, State


class BidirectionalState(NamedTuple):
    """The states of the two directions; `backward` reads the sequence from its (valid) end."""

    forward: State
    backward: State


@static_cell
class Bidirectional:
    """One cell forwards and one backwards over the valid steps; outputs side by side on the last axis, forward first.

    Not a cell (it is not causal): `unroll` and `stack` take it, `step` refuses it, instruments analyse each direction.

    Args:
      forward: the cell that reads from the start.
      backward: the cell that reads from the end; None for one equal to `forward` (with parameters of its own).

    Parameters: {"forward": ..., "backward": ...}. State: `BidirectionalState(forward, backward)`.
    """

    forward: Any
    backward: Any = None

    causal = False

    def __post_init__(self):
        if self.backward is None:
            object.__setattr__(self, "backward", self.forward)
        check_cell(self.forward, "forward")
        check_cell(self.backward, "backward")

    @property
    def input_ndim(self) -> int:
        return getattr(self.forward, "input_ndim", 1)

    @property
    def draws(self) -> bool:
        return draws_noise(self.forward) or draws_noise(self.backward)

    def parts(self, params: Params) -> dict[str, tuple[Any, Params]]:
        """{its name: (cell, parameters)} of each direction."""
        entry(params, "forward", "backward")
        return {side: (getattr(self, side), params[side]) for side in ("forward", "backward")}

    def output_size(self, input_size: int | None, params: Params) -> int:
        return sum(output_size(cell, input_size, own) for cell, own in self.parts(params).values())

    def init(self, key: Array, input_size: int | None) -> dict[str, Params]:
        check_key(key)
        k_forward, k_backward = jax.random.split(key)
        return {
            "forward": self.forward.init(k_forward, input_size),
            "backward": self.backward.init(k_backward, input_size),
        }

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> BidirectionalState:
        sides = self.parts(params).values()
        return BidirectionalState(*(cell.initial_state(own, batch_shape) for cell, own in sides))


def merge(forward: Any, backward: Any) -> Any:
    """Outputs of both directions, side by side on the last axis."""
    return jax.tree.map(lambda f, b: jnp.concatenate([f, b], axis=-1), forward, backward)
