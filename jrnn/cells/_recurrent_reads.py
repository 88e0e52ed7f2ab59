"""What recurrent weights read of h, apart from what carries h itself to the next step: where recurrent dropout acts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
from jax.extend.core import Jaxpr, Literal

from jrnn.types import Array, InputError, Params, State, hidden_part, with_hidden

Reads: TypeAlias = Callable[[Array], Array]

PRODUCTS = ("dot_general", "conv_general_dilated")
MOVES = (
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "expand_dims", "reshape", "slice", "split",
    "squeeze", "transpose",
)  # fmt: skip
"""What leaves numbers as they are, in another place, shape or dtype."""
CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "custom_jvp_call", "custom_vjp_call")


def weights_read(h: Array, reads: Reads | None) -> Array:
    """What the recurrent weights read of h."""
    return h if reads is None else reads(h)


def takes_reads(cell: Any) -> bool:
    """Whether the cell's step has a keyword `reads`, see `jrnn.types.Cell`."""
    try:
        return "reads" in inspect.signature(cell.step).parameters
    except (TypeError, ValueError):
        return False


def step_reading(
    cell: Any, params: Params, state: State, x: Any, noise: Any = None, reads: Reads | None = None
) -> State:
    """`cell.step`, whose recurrent weights read reads(h) in place of h.

    A step without a keyword `reads` is given reads(h) for h, where that is the same: where h enters products alone.

    Raises:
      InputError: such a step takes h otherwise, too.
    """
    options = {} if noise is None else {"noise": noise}
    if reads is None:
        return cell.step(params, state, x, **options)
    if takes_reads(cell):
        return cell.step(params, state, x, reads=reads, **options)

    def step(h: Array) -> State:
        return cell.step(params, with_hidden(state, h), x, **options)

    h = hidden_part(state)
    if not enters_products_alone(step, h):
        raise no_recurrent_weights(cell)
    return step(reads(h))


def no_recurrent_weights(cell: Any) -> InputError:
    """The error where a mask would multiply what carries the state by 1 / (1 - rate) at every step."""
    given = f"a rate around {type(cell).__name__}, whose step takes h elsewhere than in matrix products"
    needed = (
        "a cell whose recurrent weights can be told from what carries h, such as jrnn.elman, lstm or gru; for this one"
        " dropout(outputs=), jrnn.zoneout if its state has an h, or a mask of your own, jrnn.from_functions(noise=...)"
    )
    return InputError("recurrent", given, needed)


def enters_products_alone(step: Callable[[Array], Any], h: Array) -> bool:
    """Whether `step` uses h as a factor of matrix products and convolutions, and for nothing else."""
    jaxpr = jax.make_jaxpr(step)(h).jaxpr
    held = results_that_hold(jaxpr, [True], [True] * len(jaxpr.outvars))
    return held is not None and not any(held)


def results_that_hold(jaxpr: Jaxpr, arguments: Sequence[bool], wanted: Sequence[bool]) -> list[bool] | None:
    """Which results hold h itself, given which arguments do; None where something else than a product takes h on the
    way to the results that are wanted."""
    needed = {var for var, asked in zip(jaxpr.outvars, wanted, strict=True) if asked and not isinstance(var, Literal)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            equations.append(equation)
            needed |= {var for var in equation.invars if not isinstance(var, Literal)}
    holding = {var for var, holds in zip(jaxpr.invars, arguments, strict=True) if holds}

    def among(variables: Sequence[Any], chosen: set) -> list[bool]:
        return [not isinstance(var, Literal) and var in chosen for var in variables]

    for equation in reversed(equations):
        taken, name = among(equation.invars, holding), equation.primitive.name
        if not any(taken) or is_product(equation):
            continue
        results: list[bool] | None = None
        if name in MOVES:
            results = [True] * len(equation.outvars)
        elif name in CALLS:
            inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
            results = results_that_hold(getattr(inner, "jaxpr", inner), taken, among(equation.outvars, needed))
        if results is None:
            return None
        holding |= {var for var, held in zip(equation.outvars, results, strict=True) if held}
    return among(jaxpr.outvars, holding)


def is_product(equation: Any) -> bool:
    """Whether it sums over what it multiplies; `dot_general` may also multiply entry by entry."""
    name = equation.primitive.name
    return name in PRODUCTS and (name != "dot_general" or bool(equation.params["dimension_numbers"][0][0]))
