"""Pascanu's Omega: a penalty on what one step does to the norm of the gradient that it passes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._numbers import check_not_negative
from jrnn.numerics import norm
from jrnn.types import Array, InputError, Inputs, Params, ravel_state, widened
from jrnn.unrolling import Unrolled
from jrnn.unrolling.checks import check_causal
from jrnn.unrolling.schedule import zero_unless

FORMS = ("norms", "squares")


@dataclass(frozen=True)
class omega:  # noqa: N801 - used as a function: omega(2.0) is hashable and compares by value
    """weight * mean over steps of (r_t - 1)^2, r_t = ||J_t^T delta_t|| / ||delta_t||, as a penalty of `fit`: a step
    passes the gradient on as large as it came (Pascanu, Mikolov, Bengio 2013).

    Two forms are called Omega: their equation 9 has the ratio of norms, `form="norms"`; their equation 10 and their
    code have that of squared norms, `form="squares"`. The mean is over the steps that happened and sequences in which
    delta_t is not zero; the paper's sum is that times their number. delta_t and the states are held, as they were
    there: the gradient is the immediate one, of J_t(params, h_{t-1}, x_t). Dropout is left out.

    Helps a recurrence without gates: predicting characters 5 ahead, Penn Treebank went from 3.89 to 3.74 bits. Marked
    bit, lag 50 (tanh Elman, 64 units, clip 1, 5 seeds): below .1 after 50 to 150 updates in 5 of 5 at each of the rates
    .00067, .002 and .006 of Adam, where after 1,000 without it 0, 0 and 2 of 5 are; with weight .2 after 150 to 500. At
    lag 200 within 400 updates 2 of 5 at .002, in another run 2 of 3 (the third after 750; rounding decides which), and
    2 of 3 at .006; without it none of 5 after 1,000. Hurts where forgetting is right: every step is to keep the norm,
    also those that say nothing; the paper lowers the weight as 1/t on natural data, and without a clip it mostly
    exploded. Costs a second backward pass, and a step's derivatives a third time.

    It reads runs forwards in time, and knows no `resets`: those steps count as any other.

    Args:
      weight: what the term is multiplied by, 0 or more; 2 in the authors' code (of a mean over steps), 4 in the paper.
      form: "norms" or "squares".
    Raises:
      InputError: an argument is neither; in training, a cell that is not causal.
    """

    weight: float = 2.0
    form: str = "norms"

    needs_deltas = True

    def __post_init__(self):
        check_weight(self.weight)
        if self.form not in FORMS:
            raise InputError("form", repr(self.form), "'norms' or 'squares'")

    def __call__(self, cell: Any, params: Params, xs: Inputs, unrolled: Unrolled, deltas: Any, key: Any) -> Array:
        check_causal(cell)
        lead = unrolled.mask.ndim
        before = jax.tree.map(lambda h: jax.lax.stop_gradient(h[:-1]), unrolled.states)
        after = jax.tree.map(lambda d: d[1:], deltas)
        size = norm(ravel_state(after, lead))
        counts = unrolled.mask & (size > 0)
        # of length 1, so that no delta is too small for the product
        safe = jnp.where(size > 0, size, jnp.ones_like(size))
        directions = jax.tree.map(lambda d: d / spread(safe, d).astype(d.dtype), after)
        xs = zero_unless(unrolled.mask, xs)  # padding may hold NaN, and 0 * NaN would reach the gradient
        pull = jax.vjp(lambda h: cell.step(params, h, xs), before)[1]  # all times at once: they are one more batch axis
        ratio = norm(ravel_state(pull(directions)[0], lead))
        ratio = ratio**2 if self.form == "squares" else ratio
        return self.weight * mean_where(counts, (ratio - 1) ** 2)


def check_weight(weight: Any) -> None:
    """InputError unless it is a finite number, 0 or more."""
    need = "a finite number, 0 or more, not a traced one: a penalty is static"
    check_not_negative("weight", weight, need)


def spread(values: Array, like: Array) -> Array:
    """[*B] against leaves [*B, ...]."""
    return jnp.broadcast_to(values.reshape(*values.shape, *(1,) * (like.ndim - values.ndim)), like.shape)


def mean_where(counts: Array, values: Array) -> Array:
    """The mean of values where `counts`; 0 where nothing does."""
    values = widened(values)
    total = jnp.sum(jnp.where(counts, values, jnp.zeros_like(values)))
    return total / jnp.maximum(jnp.sum(counts), 1).astype(values.dtype)
