"""RNN, Bidirectional and Stack as Flax linen modules: drop-ins for `nn.RNN` with jrnn's cells inside.

Needs the extra `flax`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from jrnn.cells import check_cell, draws_noise
from jrnn.extras import require
from jrnn.interop.flax_calls import chosen, concatenate, run_both, run_layers, run_rnn
from jrnn.interop.flax_carries import first_carry, first_carry_without
from jrnn.interop.flax_params import annotated, in_dtypes, unboxed
from jrnn.training import probe
from jrnn.types import Array, InputError, Params, Shape

if TYPE_CHECKING:
    from flax import linen as nn
else:
    nn = require("flax.linen")

__all__ = ["RNN", "Bidirectional", "Stack", "probe"]


def strip(value: Any) -> tuple[Any, tuple | None]:
    """(the array, the names of its axes) of what `nn.with_partitioning` makes an initialiser give."""
    return (value.unbox(), value.names) if isinstance(value, nn.Partitioned) else (value, None)


class RNN(nn.Module):
    """A jrnn cell over a sequence.

    `variables["params"]["cell"]` are the cell's own parameters, as `jrnn.unroll` and the instruments take them.

    Attributes:
      cell: a jrnn cell, stack or `jrnn.Bidirectional`.
      time_major, return_carry, reverse, keep_order: what a call does by default.
      unroll: steps per iteration of the compiled loop.
      truncate, remat, implementation: as for `jrnn.unroll`; implementation "xla" for programs that `jax.export` is to
        serialise.
      dtype, param_dtype: of the computation and of the parameters, as in Flax's layers: float32 parameters with
        bfloat16 arithmetic are `jrnn.mixed_precision(cell)`. By default the cell's own.
      sharding: {name of a parameter: names of mesh axes}, such as {"w_in": (None, "model")}; "0/w_in" is that of a
        stack's layer 0 alone. The same as `nn.with_partitioning` around the cell's initialisers, which passes through.
      deterministic: True: cells with noise (`jrnn.dropout`, `jrnn.zoneout`) draw none. False: they draw from the stream
        `dropout`. None: as False where that stream is given; a call without it is refused. `init` draws none.
    """

    cell: Any
    time_major: bool = False
    return_carry: bool = False
    reverse: bool = False
    keep_order: bool = False
    unroll: int = 1
    truncate: int | None = None
    remat: bool | str | int | None = None
    implementation: str | Sequence[str] | None = None
    dtype: Any = None
    param_dtype: Any = None
    sharding: Mapping[str, tuple[str | None, ...]] | None = None
    deterministic: bool | None = None

    def initialize_carry(self, batch_shape: Shape = ()) -> Any:
        """The carry that a call starts from by default, leaves [*B, H]: zeros, or what the cell has learnt.

        Also of a module that is not bound, outside of `apply`, but for a learnt one.
        """
        cell = self._cell_of(1)
        if self.scope is not None and self.has_variable("params", "cell"):
            return first_carry(cell, nn.meta.unbox(self.get_variable("params", "cell")), batch_shape)
        return first_carry_without(cell, batch_shape)

    def _cell_of(self, input_size: int | None) -> Any:
        """The cell, in its dtypes."""
        return in_dtypes(unboxed(self.cell, strip)[0], input_size, self.dtype, self.param_dtype)

    def _new_params(self, key: Array, cell: Any, input_size: int | None) -> Params:
        """Parameters, in a box where their axes have names."""

        def box(array: Array, names: tuple[str | None, ...] | None) -> Any:
            return array if names is None else nn.Partitioned(array, names)

        names = unboxed(self.cell, strip)[1] | dict(self.sharding or {})
        return annotated(cell.init(key, input_size), names, box)

    def _noise_key(self, deterministic: bool | None) -> Array | None:
        """A key for this call of a cell with noise, or None."""
        (deterministic,) = chosen(self, deterministic=deterministic)
        if not draws_noise(self.cell) or deterministic:
            return None
        if self.has_rng("dropout"):
            return self.make_rng("dropout")
        if deterministic is None and self.is_initializing():
            return None
        needed = 'a key, apply(..., rngs={"dropout": key}); or deterministic=True, and the cell draws no noise'
        raise InputError("rngs", "no stream `dropout` for a cell with noise", needed)

    @nn.compact
    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        resets: Any = None,
        mask: Any = None,
        reset_state: Any = None,
        truncate: int | None = None,
        remat: bool | str | int | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        deterministic: bool | None = None,
    ) -> Any:
        """The outputs [*B, T, K], or (carry, outputs) with return_carry.

        Args:
          inputs: [*B, T, F], or [T, *B, F] with time_major.
          initial_carry: h_0 in Flax's order, leaves [*B, H]: (c, h) for an LSTM, the array h for a GRU or Elman cell, a
            tuple of layers for a stack; by default the cell's own.
          seq_lengths: [*B] of int, 0..T. Outputs past the end are zero, and the carry is that of the last valid step:
            the initial one at length 0.
          resets, mask: [*B, T] of bool ([T, *B] with time_major), as for `jrnn.unroll`: the first steps of segments
            (where an episode begins, not where one is done), and the steps that happened.
          reset_state: what a reset goes to, like initial_carry; by default the cell's own initial state.
          reverse: read the valid prefix from its end; with keep_order=False the outputs are in the order of reading.
          truncate, remat, return_carry, time_major, keep_order, deterministic: as the attributes.

        Cells with noise draw from the stream `dropout`: `apply(..., rngs={"dropout": key})`.
        """
        check_cell(self.cell)
        time_major, reverse, keep_order, return_carry = chosen(
            self, time_major=time_major, reverse=reverse, keep_order=keep_order, return_carry=return_carry
        )
        inputs = jnp.asarray(inputs)
        size = inputs.shape[-1] if inputs.ndim and getattr(self.cell, "input_ndim", 1) else None
        cell = self._cell_of(size)
        if self.has_variable("params", "cell"):
            # `param` would trace the initialisers at every call, to compare shapes that jrnn checks itself
            params = nn.meta.unbox(self.get_variable("params", "cell"))
        else:
            params = self.param("cell", self._new_params, cell, size)
        carry, outputs = run_rnn(
            cell,
            params,
            inputs,
            initial_carry=initial_carry,
            reset_state=reset_state,
            seq_lengths=seq_lengths,
            resets=resets,
            mask=mask,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
            truncate=self.truncate if truncate is None else truncate,
            remat=self.remat if remat is None else remat,
            unroll=self.unroll,
            implementation=self.implementation,
            key=self._noise_key(deterministic),
            name="/".join(self.path) or None,
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

    def initialize_carry(self, batch_shape: Shape = ()) -> Any:
        """(forward, backward): the carries that a call starts from by default."""
        return self.forward_rnn.initialize_carry(batch_shape), self.backward_rnn.initialize_carry(batch_shape)

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
        **options: Any,
    ) -> Any:
        """As `RNN`, with its other options; reverse and keep_order are Flax's unused ones."""
        if self.forward_rnn is self.backward_rnn:
            raise InputError("backward_rnn", "the same module as forward_rnn", "a module with parameters of its own")
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options |= dict(seq_lengths=seq_lengths, time_major=time_major)
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

    def initialize_carry(self, batch_shape: Shape = ()) -> Any:
        """The layers' carries that a call starts from by default, bottom first."""
        return tuple(layer.initialize_carry(batch_shape) for layer in self.layers)

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Any = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        **options: Any,
    ) -> Any:
        """As `RNN`, with its other options; each layer reads in its own direction."""
        if not self.layers:
            raise InputError("layers", "none", "at least one RNN module")
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options |= dict(seq_lengths=seq_lengths, time_major=time_major)
        result = run_layers(tuple(self.layers), inputs, initial_carry, **options)
        return result if return_carry else result[1]
