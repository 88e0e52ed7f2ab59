"""The spec: the plain scan of a recurrence's step over time. Every other implementation is compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.kernels.implementations.base import CallFacts
from jrnn.kernels.implementations.groups import map_groups
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.kernels.recurrences import Recurrence
from jrnn.numerics import select
from jrnn.types import Array


def run(scan: Scan, operands: Operands, events: Events) -> RecurrenceResult:
    """The whole recurrence, all states: group after group, `lax.scan` over time."""
    return map_groups(partial(run_group, scan.recurrence), scan, (operands, events))


def run_group(recurrence: Recurrence, reverse: bool, operands: Operands, events: Events) -> RecurrenceResult:
    """One group: arrays without the leading axis."""

    def body(state: tuple[Array, ...], inputs: tuple) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        x, now, tap = inputs
        if now.cuts is not None:
            state = select(now.cuts, jax.lax.stop_gradient(state), state)
        if now.resets is not None:
            state = select(now.resets, operands.reset_state, state)
        if now.valid is not None:
            x = select(now.valid, x, jnp.zeros_like(x))
        after = recurrence.step(operands.weights, state, x)
        if now.valid is not None:
            after = select(now.valid, after, state)
        if tap is not None:
            if now.inside is not None:
                tap = select(now.inside, tap, jax.tree.map(jnp.zeros_like, tap))
            after = jax.tree.map(jnp.add, after, tap)
        return after, after

    last, states = jax.lax.scan(body, operands.start, (operands.xs, events, operands.tap), reverse=reverse)
    return RecurrenceResult(states, last)


@dataclass(frozen=True, eq=False)
class Reference:
    """The spec as an implementation of the array functions."""

    name = "reference"
    by_autodiff = True
    opaque_to_xla = False

    def refuses(self, facts: CallFacts) -> None:
        """Never: a recurrence has a step."""

    def only_if_named(self, facts: CallFacts) -> None:
        """Never."""

    def forward(
        self, scan: Scan, operands: Operands, events: Events, all_states: bool, save_gates: bool
    ) -> RecurrenceResult:
        """`run`; it saves no gates."""
        result = run(scan, operands, events)
        return result if all_states else result._replace(states=result.states[:1])

    def backward(
        self,
        scan: Scan,
        needs_gradient: Any,
        operands: Operands,
        events: Events,
        saved: RecurrenceResult,
        cotangents: RecurrenceResult,
    ) -> Operands:
        """The transpose of `run`, a function of the operands and cotangents alone: `saved` follows from them."""
        groups = len(scan.reverse)
        unshared = jax.tree.map(lambda a: jnp.broadcast_to(a, (groups, *a.shape[1:])), operands)
        result, transpose = jax.vjp(lambda o: run(scan, o, events), unshared)
        pairs = zip(*(jax.tree.leaves(tree, is_leaf=is_none) for tree in (result, cotangents)), strict=True)
        filled = [
            jnp.zeros_like(leaf) if cotangent is None else jnp.broadcast_to(cotangent, leaf.shape)
            for leaf, cotangent in pairs
            if leaf is not None
        ]
        (gradients,) = transpose(jax.tree.unflatten(jax.tree.structure(result), filled))
        return gradients


def is_none(leaf: Any) -> bool:
    return leaf is None


REFERENCE = Reference()
