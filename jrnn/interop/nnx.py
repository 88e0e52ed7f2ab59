"""RNN, Bidirectional and Stack as Flax nnx modules: drop-ins for `nnx.RNN` with jrnn's cells inside.

Parameters are `nnx.Param`s; nothing random is kept, and no parameter travels through the scan. Needs the extra `flax`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import jax

from jrnn.cells import check_cell, draws_noise
from jrnn.extras import require
from jrnn.interop.flax_calls import chosen, concatenate, run_both, run_layers, run_rnn
from jrnn.types import Array, InputError, Params

if TYPE_CHECKING:
    from flax import nnx
else:
    nnx = require("flax.nnx")


class RNN(nnx.Module):
    """A jrnn cell over a sequence.

    Args:
      cell: a jrnn cell, stack or `jrnn.Bidirectional`; a setting, static under `nnx.jit`.
      input_size: F; None for a cell without inputs.
      time_major, return_carry, reverse, keep_order: what a call does by default.
      unroll: steps per iteration of the compiled loop.
      implementation: as for `jrnn.unroll`; "xla" for programs that `jax.export` is to serialise.
      rngs: an `nnx.Rngs`; its stream `params` is drawn from once, and not kept.
    Raises:
      InputError: no input_size, no rngs, or something else than a cell.
    Attributes:
      params: the cell's parameters as `nnx.Param`s; `cell_params` is the same as plain arrays, for instruments.
    """

    def __init__(
        self,
        cell: Any,
        input_size: int | None | EllipsisType = ...,
        *,
        time_major: bool = False,
        return_carry: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        unroll: int = 1,
        implementation: str | Sequence[str] | None = None,
        rngs: nnx.Rngs | None = None,
    ):
        check_cell(cell)
        if isinstance(input_size, EllipsisType):
            needed = (
                f"the number of input features F: RNN(jrnn.{type(cell).__name__.lower()}(...), F, rngs=nnx.Rngs(0))"
            )
            raise InputError("input_size", "none", f"{needed}; None for a cell without inputs")
        if not isinstance(rngs, nnx.Rngs):
            raise InputError("rngs", type(rngs).__name__, "an nnx.Rngs, such as nnx.Rngs(0)")
        self.cell = nnx.static(cell)
        self.params = nnx.data(jax.tree.map(nnx.Param, cell.init(rngs.params(), input_size)))
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        self.unroll = unroll
        self.implementation = implementation if implementation is None else nnx.static(implementation)

    @property
    def cell_params(self) -> Params:
        """The parameters as `jrnn.unroll(rnn.cell, rnn.cell_params, ...)` takes them."""
        return jax.tree.map(lambda p: p[...], self.params, is_leaf=lambda node: isinstance(node, nnx.Variable))

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Any:
        """The outputs [*B, T, K], or (carry, outputs) with return_carry.

        Args:
          inputs: [*B, T, F], or [T, *B, F] with time_major.
          initial_carry: h_0 in Flax's order, leaves [*B, H]: (c, h) for an LSTM, the array h for a GRU or Elman cell, a
            tuple of layers for a stack; by default the cell's own.
          seq_lengths: [*B] of int, 0..T. Outputs past the end are zero, and the carry is that of the last valid step:
            the initial one at length 0.
          reverse: read the valid prefix from its end; with keep_order=False the outputs are in the order of reading.
          rngs: where cells with dropout draw from, its stream `dropout`; without it nothing is dropped.
          return_carry, time_major, keep_order: as in `__init__`.
        """
        time_major, reverse, keep_order, return_carry = chosen(
            self, time_major=time_major, reverse=reverse, keep_order=keep_order, return_carry=return_carry
        )
        carry, outputs = run_rnn(
            self.cell,
            self.cell_params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            unroll_steps=self.unroll,
            implementation=self.implementation,
            key=rngs.dropout() if rngs is not None and draws_noise(self.cell) else None,
        )
        return (carry, outputs) if return_carry else outputs


class Bidirectional(nnx.Module):
    """Two RNN modules, one from each end of the valid steps; outputs merged, by default side by side, forward first.

    Args:
      forward_rnn, backward_rnn: modules called as `RNN` is, with parameters of their own.
      merge_fn: (forward outputs, backward outputs) -> outputs, both at the original times.
      time_major, return_carry: what a call does by default. The carry is (forward, backward).
    """

    def __init__(
        self,
        forward_rnn: Any,
        backward_rnn: Any,
        *,
        merge_fn: Callable[[Array, Array], Array] = concatenate,
        time_major: bool = False,
        return_carry: bool = False,
    ):
        if forward_rnn is backward_rnn:
            raise InputError("backward_rnn", "the same module as forward_rnn", "a module with parameters of its own")
        self.forward_rnn = forward_rnn
        self.backward_rnn = backward_rnn
        self.merge_fn = merge_fn
        self.time_major = time_major
        self.return_carry = return_carry

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Any:
        """As `RNN`; reverse and keep_order are Flax's unused ones."""
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options = dict(seq_lengths=seq_lengths, time_major=time_major, rngs=rngs)
        result = run_both(self.forward_rnn, self.backward_rnn, self.merge_fn, inputs, initial_carry, **options)
        return result if return_carry else result[1]


class Stack(nnx.Module):
    """RNN modules (`RNN`, `Bidirectional`) on top of each other; the carry is the tuple of theirs, bottom first.

    Stacked cells in one scan are `RNN(jrnn.stack(...), ...)`, which is faster where no layer reads backwards.

    Args:
      layers: the modules, bottom first.
      time_major, return_carry: what a call does by default.
    """

    def __init__(self, layers: Sequence[Any], *, time_major: bool = False, return_carry: bool = False):
        if not layers:
            raise InputError("layers", "none", "at least one RNN module")
        self.layers = nnx.List(layers)
        self.time_major = time_major
        self.return_carry = return_carry

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Any:
        """As `RNN`; each layer reads in its own direction."""
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options = dict(seq_lengths=seq_lengths, time_major=time_major, rngs=rngs)
        result = run_layers(tuple(self.layers), inputs, initial_carry, **options)
        return result if return_carry else result[1]
