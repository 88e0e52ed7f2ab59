"""One call of an RNN module in a model, in jrnn's terms.

The model is run once to see what its RNN is called with. The loss of a run of that RNN's cell is then the model's own,
with the run's results in place of the call:

    tapped = jrnn.interop.tap_linen(lambda variables: loss_of(model.apply(variables, xs)), variables)
    flow = jrnn.gradient_flow(tapped.cell, tapped.params, tapped.xs, tapped.loss, **tapped.options)
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.interop.flax_calls import chosen, flip
from jrnn.interop.flax_carries import carry_of, state_of
from jrnn.types import Array, InputError, Params
from jrnn.unrolling import Unrolled
from jrnn.wording import arrays, brief, cell_title


class Tapped(NamedTuple):
    """The RNN of a model: what `unroll`, `state_gradients`, `gradient_flow` and `jacobians` take."""

    cell: Any
    """The RNN's cell as a jrnn cell."""
    params: Params
    """Its parameters, as they are in the model."""
    xs: Array
    """[T, *B, F]: what the model feeds it."""
    loss: Callable[[Unrolled], Array]
    """The model's loss as a function of a run of the cell: of its outputs, and of final_state if the model asks for
    the carry."""
    options: dict[str, Any]
    """Keyword arguments of `unroll`, as the model gives them: initial_state, lengths, reverse, and of jrnn's modules
    resets, mask, reset_state, truncate, remat, and the key of the noise that this call draws."""

    def __repr__(self) -> str:
        given = f"options {', '.join(self.options)}" if self.options else ""
        return brief(self, cell_title(self.cell), f"xs {arrays(self.xs)} [T, *B, F]", given)


class Arrays(NamedTuple):
    """The arrays of a call."""

    params: Params
    inputs: Array
    options: dict[str, Any]


class Settings(NamedTuple):
    """What is static in a call."""

    cell: Any
    axis: int
    flags: tuple[bool, bool, bool]  # reverse, keep_order, return_carry
    own: bool  # jrnn's module, whose carry is in Flax's order and not the cell's own
    options: dict[str, Any]


class Call(NamedTuple):
    """One call of an RNN module."""

    arrays: Arrays
    settings: Settings

    def tapped(self, loss: Callable[[Unrolled], Array]) -> Tapped:
        (params, inputs, options), settings = self
        options = dict(options)
        options |= {name: jnp.moveaxis(options[name], settings.axis, 0) for name in ("resets", "mask") & options.keys()}
        xs = jnp.moveaxis(inputs, settings.axis, 0)
        return Tapped(settings.cell, params, xs, loss, options | settings.options)

    def result(self, run: Unrolled) -> Any:
        """What the module would have returned."""
        settings = self.settings
        reverse, keep_order, return_carry = settings.flags
        outputs = jax.tree.map(lambda y: jnp.moveaxis(y, 0, settings.axis), run.outputs)
        if reverse and not keep_order:
            lengths = self.arrays.options.get("lengths")
            outputs = jax.tree.map(lambda y: flip(y, lengths, settings.axis), outputs)
        final = carry_of(run.final_state) if settings.own else run.final_state
        return (final, outputs) if return_carry else outputs


def call_of(
    module: Any, cell: Any, params: Params, own: bool, inputs: Array, key: Array | None = None, **given: Any
) -> Call:
    """The call in jrnn's terms; what it leaves open is the module's own."""
    names = ("time_major", "reverse", "keep_order", "return_carry")
    time_major, *flags = chosen(module, **{name: given.get(name) for name in names})
    inputs = jnp.asarray(inputs)
    features = getattr(cell, "input_ndim", 1)
    axis = 0 if time_major else inputs.ndim - features - 1
    batch = jnp.moveaxis(inputs, axis, 0).shape[1 : inputs.ndim - features]
    carries = {"initial_state": given.get("initial_carry"), "reset_state": given.get("reset_state")}
    if own:
        carries = {n: None if c is None else state_of(cell, params, c, batch) for n, c in carries.items()}
    arrays = carries | {"lengths": given.get("seq_lengths"), "key": key}
    arrays |= {name: given.get(name) for name in ("resets", "mask")}
    static: dict[str, Any] = {"reverse": flags[0] or None}
    if own:
        static |= {n: getattr(module, n) if given.get(n) is None else given[n] for n in ("truncate", "remat")}
    arrays, static = ({n: v for n, v in each.items() if v is not None} for each in (arrays, static))
    settings = Settings(cell, axis, tuple(flags), own, static)  # pyright: ignore
    return Call(Arrays(params, inputs, jax.tree.map(jnp.asarray, arrays)), settings)


def pick(rnns: Mapping[str, Any], name: str | None) -> str:
    """The one that is named, or the only one."""
    if name is None and len(rnns) == 1:
        return next(iter(rnns))
    if name is None or name not in rnns:
        needed = f"one of the model's RNNs {sorted(rnns)}" if rnns else "a model with an RNN module in it"
        raise InputError("name", repr(name), needed)
    return name
