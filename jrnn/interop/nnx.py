"""RNN, Bidirectional and Stack as Flax nnx modules: drop-ins for `nnx.RNN` with jrnn's cells inside.

Parameters are `nnx.Param`s, and none travels through the scan; a random stream is kept only where the cell draws from
it. Needs the extra `flax`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import jax

from jrnn.cells import check_cell, draws_noise
from jrnn.extras import require
from jrnn.interop.flax_calls import chosen, concatenate, run_both, run_layers, run_rnn
from jrnn.interop.flax_carries import first_carry
from jrnn.interop.flax_params import annotated, in_dtypes, unboxed
from jrnn.interop.flax_probes import probe
from jrnn.types import Array, InputError, Params, Shape

if TYPE_CHECKING:
    from flax import nnx
else:
    nnx = require("flax.nnx")

__all__ = ["RNN", "Bidirectional", "Stack", "probe"]


def strip(value: Any) -> tuple[Any, tuple | None]:
    """(the array, the names of its axes) of what `nnx.with_partitioning` makes an initialiser give."""
    if not isinstance(value, nnx.VariableMetadata):
        return value, None
    return value.raw_value, value.metadata.get("out_sharding")


class RNN(nnx.Module):
    """A jrnn cell over a sequence.

    Args:
      cell: a jrnn cell, stack or `jrnn.Bidirectional`; a setting, static under `nnx.jit`.
      input_size: F; None for a cell without inputs.
      time_major, return_carry, reverse, keep_order: what a call does by default.
      unroll: steps per iteration of the compiled loop.
      truncate, remat, implementation: as for `jrnn.unroll`; implementation "xla" for programs that `jax.export` is to
        serialise.
      dtype, param_dtype: of the computation and of the parameters, as in Flax's layers: float32 parameters with
        bfloat16 arithmetic are `jrnn.mixed_precision(cell)`. By default the cell's own.
      sharding: {name of a parameter: names of mesh axes}, such as {"w_in": (None, "model")}; "0/w_in" is that of a
        stack's layer 0 alone. The same as `nnx.with_partitioning` around the cell's initialisers, which passes through.
      deterministic: True: cells with noise (`jrnn.dropout`, `jrnn.zoneout`) draw none. `train()` and `eval()` set it.
      rngs: an `nnx.Rngs`; its stream `params` is drawn from once, and not kept. Cells with noise keep a fork of its
        stream `dropout`.
    Raises:
      InputError: no input_size, no rngs, or something else than a cell.
    Attributes:
      cell: the cell, in its dtypes.
      params: the cell's parameters as `nnx.Param`s; `cell_params` is the same as plain arrays, for instruments.
    """

    watched_as: str | None = None  # its place in the model, while a probe looks

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
        truncate: int | None = None,
        remat: bool | str | int | None = None,
        implementation: str | Sequence[str] | None = None,
        dtype: Any = None,
        param_dtype: Any = None,
        sharding: Mapping[str, tuple[str | None, ...]] | None = None,
        deterministic: bool | None = False,
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
        cell, boxed = unboxed(cell, strip)
        cell = in_dtypes(cell, input_size, dtype, param_dtype)
        self.cell = nnx.static(cell)

        def param(array: Array, names: tuple[str | None, ...] | None) -> nnx.Param:
            return nnx.Param(array) if names is None else nnx.Param(array, out_sharding=names)

        self.params = nnx.data(annotated(cell.init(rngs.params(), input_size), boxed | dict(sharding or {}), param))
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        self.unroll = unroll
        self.truncate = truncate
        self.remat = remat
        self.implementation = implementation if implementation is None else nnx.static(implementation)
        self.deterministic = deterministic
        self.rngs = nnx.data(rngs["dropout"].fork() if draws_noise(cell) else None)

    @property
    def cell_params(self) -> Params:
        """The parameters as `jrnn.unroll(rnn.cell, rnn.cell_params, ...)` takes them."""
        return jax.tree.map(lambda p: p[...], self.params, is_leaf=lambda node: isinstance(node, nnx.Variable))

    def initialize_carry(self, batch_shape: Shape = ()) -> Any:
        """The carry that a call starts from by default, leaves [*B, H]: zeros, or what the cell has learnt."""
        return first_carry(self.cell, self.cell_params, batch_shape)

    def _noise_key(self, deterministic: bool | None, rngs: nnx.Rngs | nnx.RngStream | Array | None) -> Array | None:
        """A key for this call of a cell with noise, or None."""
        (deterministic,) = chosen(self, deterministic=deterministic)
        if not draws_noise(self.cell) or deterministic:
            return None
        if deterministic is None:
            raise InputError("deterministic", "None at construction and in the call", "True (no noise) or False")
        rngs = self.rngs if rngs is None else rngs
        if rngs is None:
            raise InputError("rngs", "None", "an nnx.Rngs with a stream `dropout`, as deterministic is False")
        return rngs["dropout"]() if isinstance(rngs, nnx.Rngs) else rngs() if callable(rngs) else rngs

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
        rngs: nnx.Rngs | nnx.RngStream | Array | None = None,
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
          rngs: an `nnx.Rngs`, a stream or a key for a cell with noise; by default its own stream.
          truncate, remat, return_carry, time_major, keep_order, deterministic: as in `__init__`.
        """
        time_major, reverse, keep_order, return_carry = chosen(
            self, time_major=time_major, reverse=reverse, keep_order=keep_order, return_carry=return_carry
        )
        carry, outputs = run_rnn(
            self.cell,
            self.cell_params,
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
            key=self._noise_key(deterministic, rngs),
            name=self.watched_as,
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
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options |= dict(seq_lengths=seq_lengths, time_major=time_major)
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
        time_major, return_carry = chosen(self, time_major=time_major, return_carry=return_carry)
        options |= dict(seq_lengths=seq_lengths, time_major=time_major)
        result = run_layers(tuple(self.layers), inputs, initial_carry, **options)
        return result if return_carry else result[1]
