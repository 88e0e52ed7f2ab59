"""RNN, Bidirectional and Stack as Flax linen modules: drop-ins for `nn.RNN` with jrnn's cells inside.

Needs the extra `flax`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from jrnn.cells import check_cell, draws_noise
from jrnn.extras import require
from jrnn.interop.flax_calls import chosen, concatenate, run_both, run_layers, run_rnn
from jrnn.types import Array, InputError

if TYPE_CHECKING:
    from flax import linen as nn
else:
    nn = require("flax.linen")


class RNN(nn.Module):
    """A jrnn cell over a sequence.

    `variables["params"]["cell"]` are the cell's own parameters, as `jrnn.unroll` and the instruments take them.

    Attributes:
      cell: a jrnn cell, stack or `jrnn.Bidirectional`.
      time_major, return_carry, reverse, keep_order: what a call does by default.
      unroll: steps per iteration of the compiled loop.
      implementation: as for `jrnn.unroll`; "xla" for programs that `jax.export` is to serialise.
    """

    cell: Any
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    unroll: int = 1
    implementation: str | Sequence[str] | None = None

    @nn.compact
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
    ) -> Any:
        """The outputs [*B, T, K], or (carry, outputs) with return_carry.

        Args:
          inputs: [*B, T, F], or [T, *B, F] with time_major.
          initial_carry: h_0 in Flax's order, leaves [*B, H]: (c, h) for an LSTM, the array h for a GRU or Elman cell, a
            tuple of layers for a stack; by default the cell's own.
          seq_lengths: [*B] of int, 0..T. Outputs past the end are zero, and the carry is that of the last valid step:
            the initial one at length 0.
          reverse: read the valid prefix from its end; with keep_order=False the outputs are in the order of reading.
          return_carry, time_major, keep_order: as the attributes.

        Cells with dropout draw from the stream `dropout`: `apply(..., rngs={"dropout": key})`; without it nothing is
        dropped.
        """
        check_cell(self.cell)
        time_major, reverse, keep_order, return_carry = chosen(
            self, time_major=time_major, reverse=reverse, keep_order=keep_order, return_carry=return_carry
        )
        inputs = jnp.asarray(inputs)
        size = inputs.shape[-1] if inputs.ndim and getattr(self.cell, "input_ndim", 1) else None
        if self.has_variable("params", "cell"):
            # `param` would trace the initialisers at every call, to compare shapes that jrnn checks itself
            params = nn.meta.unbox(self.get_variable("params", "cell"))
        else:
            params = self.param("cell", self.cell.init, size)
        carry, outputs = run_rnn(
            self.cell,
            params,
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            unroll_steps=self.unroll,
            implementation=self.implementation,
            key=self.make_rng("dropout") if draws_noise(self.cell) and self.has_rng("dropout") else None,
        )
        return (carry, outputs) if return_carry else outputs


class Bidirectional(nn.Module):
    """Two RNN modules, one from each end of the valid steps; outputs merged, by default side by side, forward first.

    Attributes:
      forward_rnn, backward_rnn: modules called as `RNN` is, with parameters of their own.
      merge_fn: (forward outputs, backward outputs) -> outputs, both at the original times.
      time_major, return_carry: what a call does by default. The carry is (forward, backward).
    """

    forward_rnn: Any
    backward_rnn: Any
    merge_fn: Callable[[Array, Array], Array] = concatenate
    time_major: bool = False
    return_carry: bool = False

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
    ) -> Any:
        """As `RNN`; reverse and keep_order are Flax's unused ones."""
        if self.forward_rnn is self.backward_rnn:
            raise InputError("backward_rnn", "the same module as forward_rnn", "a module with parameters of its own")
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options = dict(seq_lengths=seq_lengths, time_major=time_major)
        result = run_both(self.forward_rnn, self.backward_rnn, self.merge_fn, inputs, initial_carry, **options)
        return result if return_carry else result[1]


class Stack(nn.Module):
    """RNN modules (`RNN`, `Bidirectional`) on top of each other; the carry is the tuple of theirs, bottom first.

    Stacked cells in one scan are `RNN(jrnn.stack(...))`, which is faster where no layer reads backwards.

    Attributes:
      layers: the modules, bottom first.
      time_major, return_carry: what a call does by default.
    """

    layers: Sequence[Any]
    time_major: bool = False
    return_carry: bool = False

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
    ) -> Any:
        """As `RNN`; each layer reads in its own direction."""
        if not self.layers:
            raise InputError("layers", "none", "at least one RNN module")
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options = dict(seq_lengths=seq_lengths, time_major=time_major)
        result = run_layers(tuple(self.layers), inputs, initial_carry, **options)
        return result if return_carry else result[1]
