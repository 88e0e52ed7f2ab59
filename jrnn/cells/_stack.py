"""Layers on layers, each reading the outputs of the one below."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells._advance import advance, check_cell, draw_noise, draws_noise, is_causal, output_size, prepared
from jrnn.cells._base import check_key, outputs_hidden, static_cell
from jrnn.types import Array, InputError, Params, Shape, State


@static_cell
class Stack:
    """See `stack`. As one cell its state is the tuple of the layers' states, and J_t is that of the whole stack."""

    cells: tuple[Any, ...]

    @property
    def causal(self) -> bool:
        return all(is_causal(cell) for cell in self.cells)

    @property
    def input_ndim(self) -> int:
        return getattr(self.cells[0], "input_ndim", 1)

    @property
    def reads_previous(self) -> bool:
        return getattr(self.cells[0], "reads_previous", False)

    @property
    def draws(self) -> bool:
        return any(map(draws_noise, self.cells))

    def layers(self, params: Params) -> list[tuple[Any, Params]]:
        """(cell, parameters) of each layer, bottom first."""
        if not isinstance(params, tuple | list) or len(params) != len(self.cells):
            given = f"a {type(params).__name__}" + (f" of {len(params)}" if isinstance(params, tuple | list) else "")
            raise InputError("params", given, f"a tuple of the {len(self.cells)} layers' parameters, bottom first")
        return list(zip(self.cells, params, strict=True))

    def parts(self, params: Params) -> dict[str, tuple[Any, Params]]:
        """{its name: (cell, parameters)} of each layer."""
        return {f"layer {i}": pair for i, pair in enumerate(self.layers(params))}

    def prepared(self, params: Params) -> tuple[Params, ...]:
        return tuple(prepared(cell, own) for cell, own in self.layers(params))

    def output_size(self, input_size: int | None, params: Params) -> int:
        for cell, own in self.layers(params):
            input_size = output_size(cell, input_size, own)
        return input_size or 0

    def init(self, key: Array, input_size: int | None) -> tuple[Params, ...]:
        check_key(key)
        params = []
        for cell, own_key in zip(self.cells, jax.random.split(key, len(self.cells)), strict=True):
            params.append(cell.init(own_key, input_size))
            input_size = output_size(cell, input_size, params[-1])
        return tuple(params)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> tuple[State, ...]:
        return tuple(cell.initial_state(own, batch_shape) for cell, own in self.layers(params))

    def noise(self, params: Params, key: Array, t: Any, batch_shape: Shape) -> tuple[Any, ...] | None:
        keys = jax.random.split(key, len(self.cells))
        drawn = tuple(draw_noise(c, p, k, t, batch_shape) for c, p, k in zip(self.cells, params, keys, strict=True))
        return None if all(n is None for n in drawn) else drawn

    def step(self, params: Params, state: State, x: Any, noise: Any = None) -> tuple[State, ...]:
        after = []
        for cell, own, before, drawn in zip(self.cells, params, state, noise or (None,) * len(state), strict=True):
            new, x = advance(cell, own, before, x, drawn)
            after.append(new)
        return tuple(after)

    @property
    def jacobian(self) -> Any:
        """The closed form of the whole stack, if every layer has one and hands on its hidden part; None otherwise."""
        plain = all(getattr(cell, "jacobian", None) and outputs_hidden(cell) for cell in self.cells)
        return self.by_layers if plain else None

    def by_layers(self, params: Params, state: State, x: Any) -> tuple[Array, Array]:
        """Block lower triangular: layer l depends on the layers below through the hidden state they hand on."""
        rows: list[list[Array]] = []  # rows[l][j] = d state_l / d state_j, j <= l
        inputs: list[Array] = []  # inputs[l] = d state_l / dx
        handed: list[Array] = []  # of what the layer below hands on: by state_0, state_1, ..., and by the stack's input
        for cell, own, layer in zip(self.cells, params, state, strict=True):
            of_state, of_input = cell.jacobian(own, layer, x)
            _, x = advance(cell, own, layer, x)
            *below, of_x = [jnp.matmul(of_input, block) for block in handed] or [of_input]
            rows.append([*below, of_state])
            inputs.append(of_x)
            handed = [block[..., : x.shape[-1], :] for block in (*rows[-1], of_x)]
        sizes = [row[-1].shape[-1] for row in rows]
        above = [jnp.zeros((*row[-1].shape[:-1], sum(sizes[len(row) :])), row[-1].dtype) for row in rows]
        wide = [jnp.concatenate([*row, zeros], axis=-1) for row, zeros in zip(rows, above, strict=True)]
        return jnp.concatenate(wide, axis=-2), jnp.concatenate(inputs, axis=-2)

    def output(self, params: Params, state: State, x: Any, noise: Any = None) -> Any:
        for cell, own, layer, drawn in zip(self.cells, params, state, noise or (None,) * len(state), strict=True):
            x = cell.output(own, layer, x, **({} if drawn is None else {"noise": drawn}))
        return x


def stack(*cells: Any) -> Stack:
    """Layers: the outputs of each cell are the inputs of the next; the state is the tuple of states, bottom first.

    `Bidirectional` layers are taken too; such a stack is no longer causal, so `unroll` runs it layer by layer and
    `step` refuses it. Between-layer dropout: `jrnn.dropout(jrnn.stack(...), between=rate)`.

    Parameters: the tuple of the layers' parameters.

    Raises:
      InputError: no cell is given, something is not a cell, or the outputs of some layers but not all read h_{t-1}
        (`from_step` without `output`).
    """
    if not cells:
        raise InputError("cells", "none", "at least one cell")
    for i, cell in enumerate(cells):
        check_cell(cell, f"cells[{i}]")
    if len({bool(getattr(cell, "reads_previous", False)) for cell in cells}) > 1:
        raise InputError(
            "cells", "outputs that read h_t in some layers and h_{t-1} in others", "`output=` in from_step"
        )
    return Stack(tuple(cells))
