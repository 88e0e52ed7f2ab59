"""Which of a gated cell's parameters belong to which gate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._gate_names import Gates
from jrnn.cells._stack import Stack
from jrnn.cells._wrappers import Wrapper
from jrnn.types import Array, Params


def gate_leaves(cell: Any, params: Params) -> dict[str, list[Array]]:
    """{gate: its blocks of the parameters, the gate's units on the last axis}; {} for a cell without gates.

    Layers of a stack are told apart by their index: "0.f". What belongs to no gate (a layer norm's scale) is left out.
    """
    if isinstance(cell, Stack):
        layers = [gate_leaves(layer, own) for layer, own in zip(cell.cells, params, strict=True)]
        return {f"{i}.{name}": leaves for i, layer in enumerate(layers) for name, leaves in layer.items()}
    if isinstance(cell, Wrapper):
        return gate_leaves(cell.cell, cell.inner(params))
    gates = getattr(cell, "gates", None)
    if not isinstance(gates, Gates) or len(gates) < 2:
        return {}
    leaves_of_gate: dict[str, list[Array]] = {gate: [] for gate in gates}
    for leaf in jax.tree.leaves(params):
        if leaf.shape[-1] == len(gates) * cell.hidden:
            for gate, block in zip(gates, jnp.split(leaf, len(gates), axis=-1), strict=True):
                leaves_of_gate[gate].append(block)
        else:
            leaves_of_gate[gates[-1]].append(leaf)  # the GRU's bias_rec is the candidate's
    return leaves_of_gate


def bare_cells(cell: Any, params: Params) -> list[tuple[Any, Params]]:
    """(cell, its own part of the parameters) of every cell in stacks, directions and wrappers, bottom first."""
    if isinstance(cell, Wrapper):
        return bare_cells(cell.cell, cell.inner(params))
    parts = getattr(cell, "parts", None)
    return [(cell, params)] if parts is None else [pair for own in parts(params).values() for pair in bare_cells(*own)]
