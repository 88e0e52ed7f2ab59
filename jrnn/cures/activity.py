"""Penalties on states alone: small, slow, and of a steady norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._wrappers import one_hidden_part
from jrnn.cures.norm_keeping import check_weight, mean_where
from jrnn.numerics import norm
from jrnn.types import Array, Inputs, Params, State, widened
from jrnn.unrolling import Unrolled


@dataclass(frozen=True)
class activation_penalty:  # noqa: N801 - used as a function: activation_penalty(2.0) compares by value
    """AR: weight * mean of y_t^2 over the steps that happened, sequences and units (Merity, McCann, Socher 2017).

    y_t is the output [T, *B, K], with its dropout, as published. Helps language models against overfitting; keeps units
    off saturation, where a tanh passes no gradient. Hurts where a state must be held at full strength.
    Digits row by row, 200 to train on (LSTM of 64 units, 600 updates, 5 seeds, the best of three rates): a held-out
    cross-entropy of .407 (.386 to .428), where it is .512 (.470 to .535) without; with weight .2 it is .496.

    Args:
      weight: what the term is multiplied by, 0 or more; published 2.
    """

    weight: float = 2.0

    def __post_init__(self):
        check_weight(self.weight)

    def __call__(self, cell: Any, params: Params, xs: Inputs, unrolled: Unrolled, deltas: Any, key: Any) -> Array:
        return self.weight * mean_of_squares(unrolled.mask, unrolled.outputs)


@dataclass(frozen=True)
class temporal_activation_penalty:  # noqa: N801
    """TAR: weight * mean of (y_{t+1} - y_t)^2 over neighbouring steps that both happened (Merity et al. 2017).

    Slow outputs, "slowness" of Wiskott and Sejnowski. Helps language models; the hidden state then changes little from
    step to step, and J_t is nearer to the identity. Hurts where the output has to switch within a step.
    On the digits of `activation_penalty` it lost, at the best of three rates each: .508 (.461 to .533), with weight 10
    .524, where it is .512 without it and .407 under AR. At a rate three times that best one it won, .538 against .581.

    Args:
      weight: what the term is multiplied by, 0 or more; published 1.
    """

    weight: float = 1.0

    def __post_init__(self):
        check_weight(self.weight)

    def __call__(self, cell: Any, params: Params, xs: Inputs, unrolled: Unrolled, deltas: Any, key: Any) -> Array:
        mask, changes = unrolled.mask, jax.tree.map(lambda y: widened(y[1:]) - widened(y[:-1]), unrolled.outputs)
        return self.weight * mean_of_squares(mask[1:] & mask[:-1], changes)


@dataclass(frozen=True)
class norm_stabilizer:  # noqa: N801
    """weight * mean of (||h_t|| - ||h_{t-1}||)^2 over the steps that happened (Krueger, Memisevic 2016).

    h is the hidden state, not an LSTM's c; of a stack and of two directions the layers' terms are added. Helps an IRNN,
    whose norm otherwise grows beyond the length it was trained on. Hurts with too large a weight, which a network
    meets by states of one norm. It knows no `resets`: those steps count as any other.
    Two-lag coin, lag 4, an IRNN of 64 units trained on 20 steps (Adam 6.7e-4, 1,000 updates, 5 seeds) and read on
    1,000: a loss of .49 to .64 with weight .1, and of 30 to 1e33 without; at 3 and 9 times that rate both are at .46 to
    .48, and with weight 1 one seed of five stays at .63 or more. On the digits of `activation_penalty`: .383 (.344 to
    .412), where it is .512 without.

    Args:
      weight: what the term is multiplied by, 0 or more.
    Raises:
      InputError: the weight is no such number; in training, a state without a hidden part `h` (`jrnn.lru`).
    """

    weight: float = 1.0

    def __post_init__(self):
        check_weight(self.weight)

    def __call__(self, cell: Any, params: Params, xs: Inputs, unrolled: Unrolled, deltas: Any, key: Any) -> Array:
        terms = []
        for h in hidden_parts(unrolled.states):
            sizes = norm(h.reshape(*h.shape[: unrolled.mask.ndim], -1) if h.size else h)
            terms.append(mean_where(unrolled.mask, (sizes[1:] - sizes[:-1]) ** 2))
        return self.weight * jnp.sum(jnp.stack(terms))


def mean_of_squares(counts: Array, tree: Any) -> Array:
    """Over all entries [T, *B, ...] of the steps that count."""
    squares = [jnp.square(widened(y)).reshape(*y.shape[: counts.ndim], -1) for y in jax.tree.leaves(tree) if y.size]
    means = [mean_where(jnp.broadcast_to(counts[..., None], y.shape), y) for y in squares]
    return sum(means[1:], means[0]) if means else jnp.zeros(())


def hidden_parts(state: State) -> list[Array]:
    """The hidden part of each layer and direction, or InputError."""
    if type(state) is tuple or hasattr(state, "forward"):
        return [part for layer in state for part in hidden_parts(layer)]
    return [one_hidden_part("penalties", "norm_stabilizer", state)]
