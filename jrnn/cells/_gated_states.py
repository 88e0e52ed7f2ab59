"""The states of the gated cells, refined or not."""

from typing import NamedTuple

from jaxtyping import Float

from jrnn.types import Array


class LSTMState(NamedTuple):
    """h [*B, H] and c [*B, H]; the whole state is both (N = 2H)."""

    h: Float[Array, "*B H"]
    c: Float[Array, "*B H"]


class GRUState(NamedTuple):
    """h [*B, H]."""

    h: Float[Array, "*B H"]
