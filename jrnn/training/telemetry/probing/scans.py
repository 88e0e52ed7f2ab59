"""Recurrences that were scanned by hand, `jax.lax.scan` or Flax's over a cell: found in the loss's program and tapped.

The program is read equation by equation. A recurrence is a scan that carries floating-point arrays on from step to
step and closes over weights; what it carries on unchanged is no state, nor is a sum such as that of the losses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from jrnn.training.telemetry.probing.watching_runs import SEEN
from jrnn.types import Array

REMEMBERED = ("checkpoint", "remat", "remat2")

Scan = Callable[..., list[Array]]
"""(equation, operands) -> results: what takes a recurrence's place."""


def with_taps(closed: ClosedJaxpr, take: Scan) -> Callable[..., list[Array]]:
    """The program as a function, each recurrence scanned by hand taken by `take`."""
    if not holds_scan(opened(closed)[0]):
        return jaxpr_as_fun(closed)
    return lambda *args: evaluate(*opened(closed), args, take)


def is_recurrence(equation: Any) -> bool:
    """Whether an equation is a scan that carries a state and has weights."""
    if equation.primitive.name != "scan" or equation.params["length"] < 2:
        return False
    if "transpose(" in str(equation.source_info.name_stack):  # the backward pass of another scan
        return False
    kept = [one.aval for one, other in carries(equation) if one is other]
    weights = [var.aval for var in parts(equation, equation.invars)[0]] + kept
    return bool(states_of(equation)) and any(is_floating(aval) for aval in weights)


def carries(equation: Any) -> list[tuple[Any, Any]]:
    """(before, after) a step, of each array that a scan carries: variables of its body."""
    body, _ = opened(equation.params["jaxpr"])
    return list(zip(parts(equation, body.invars)[1], body.outvars, strict=False))


def states_of(equation: Any) -> list[int]:
    """Which of the arrays that a scan carries are states."""
    sums = sums_of(equation)
    pairs = enumerate(carries(equation))
    return [i for i, (one, other) in pairs if one is not other and i not in sums and is_floating(one.aval)]


def sums_of(equation: Any) -> list[int]:
    """Which of a scan's results are sums over its steps, or the parts of one: no state, for no step reads them."""
    body, _ = opened(equation.params["jaxpr"])
    sums = [other for one, other in carries(equation) if one is not other and is_sum(body, one, other)]
    return [i for i, var in enumerate(body.outvars) if any(var is each for each in sums)]


def is_sum(body: Jaxpr, before: Any, after: Any) -> bool:
    """Whether a program adds to `before` what makes it `after`, and reads neither otherwise."""
    readers = [each for each in body.eqns if any(var is before or var is after for var in each.invars)]
    if len(readers) != 1 or any(var is before for var in body.outvars):
        return False
    (only,) = readers
    places = [i for i, var in enumerate(only.invars) if var is before]
    results = [i for i, var in enumerate(only.outvars) if var is after]
    if len(places) != 1 or not results:
        return False
    name = only.primitive.name
    if name in ("pjit", "jit", *REMEMBERED):
        within, _ = opened(only.params["jaxpr"])
        return is_sum(within, within.invars[places[0]], within.outvars[results[0]])
    return name in ("add", "add_any")


def reads_new(equation: Any, states: Sequence[int], outputs: Sequence[int]) -> bool:
    """Whether one of these results at least is made of the states after the step, or is what they are."""
    body, _ = opened(flat(equation.params["jaxpr"])[0])
    new = {body.outvars[i] for i in states if not isinstance(body.outvars[i], Literal)}
    for each in body.eqns:
        if any(var in new for var in each.invars if not isinstance(var, Literal)):
            new.update(each.outvars)
    return any(var in new for var in (body.outvars[i] for i in outputs) if not isinstance(var, Literal))


def is_floating(aval: Any) -> bool:
    """Whether it is an array of real floating-point numbers with an axis."""
    return bool(aval.shape) and jnp.issubdtype(aval.dtype, jnp.floating)


def holds_scan(jaxpr: Jaxpr) -> bool:
    """Whether there is a recurrence in a program, runs of jrnn's own left out."""
    return any(is_recurrence(each) or any(map(holds_scan, inside(each))) for each in jaxpr.eqns)


def opened(program: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A program and its constants; an equation holds it with them or without, from one JAX to the next."""
    return getattr(program, "jaxpr", program), getattr(program, "consts", ())


def inside(equation: Any) -> list[Jaxpr]:
    """The programs in an equation that can be read."""
    name, params = equation.primitive.name, equation.params
    if name in ("pjit", "jit"):
        return [] if params["name"] == SEEN else [opened(params["jaxpr"])[0]]
    if name == "scan" or name in REMEMBERED:
        return [opened(params["jaxpr"])[0]]
    return [opened(branch)[0] for branch in params["branches"]] if name == "cond" else []


def evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], take: Scan) -> list[Any]:
    """The results of a program."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def value(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else known[var]

    for equation in jaxpr.eqns:
        operands = [value(var) for var in equation.invars]
        known.update(zip(equation.outvars, apply(jaxpr, equation, operands, take), strict=True))
    return [value(var) for var in jaxpr.outvars]


def apply(jaxpr: Jaxpr, equation: Any, operands: list[Any], take: Scan) -> list[Any]:
    """The results of one equation of a program."""
    within = [program for program in inside(equation) if holds_scan(program)]
    if not within and not is_recurrence(equation):
        return alone(jaxpr, equation, operands)
    name, params = equation.primitive.name, equation.params
    if name in ("pjit", "jit"):
        return evaluate(*opened(params["jaxpr"]), operands, take)
    if name == "cond":
        branches = [partial(branch, program=each, take=take) for each in params["branches"]]
        return jax.lax.switch(operands[0], branches, *operands[1:])
    if name == "scan":
        return scanned(equation, operands, take) if within else take(equation, operands)
    remembered = jax.checkpoint(
        lambda *args: evaluate(*opened(params["jaxpr"]), args, take),
        prevent_cse=params["prevent_cse"],
        policy=params["policy"],
    )
    return remembered(*operands)


def branch(*args: Any, program: Any, take: Scan) -> list[Any]:
    """One branch of a conditional."""
    return evaluate(*opened(program), args, take)


def scanned(equation: Any, operands: list[Any], take: Scan) -> list[Any]:
    """A scan with recurrences in its body."""
    consts, carry, xs = parts(equation, operands)
    body = opened(equation.params["jaxpr"])

    def step(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        found = evaluate(*body, [*consts, *carry, *x], take)
        return found[: len(carry)], found[len(carry) :]

    after, ys = jax.lax.scan(step, carry, xs, **options_of(equation))
    return [*after, *ys]


def flat(program: Any) -> tuple[ClosedJaxpr, bool]:
    """(the program with what is jitted or checkpointed in it written out, whether any of it was checkpointed)."""
    checkpointed = []

    def written_out(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        value = lambda var: var.val if isinstance(var, Literal) else known[var]  # noqa: E731
        for equation in jaxpr.eqns:
            operands, name = [value(var) for var in equation.invars], equation.primitive.name
            if name in ("pjit", "jit"):
                found = written_out(*opened(equation.params["jaxpr"]), operands)
            elif name in REMEMBERED:
                checkpointed.append(name)
                found = written_out(*opened(equation.params["jaxpr"]), operands)
            else:
                found = alone(jaxpr, equation, operands)
            known.update(zip(equation.outvars, found, strict=True))
        return [value(var) for var in jaxpr.outvars]

    jaxpr, consts = opened(program)
    made = jax.make_jaxpr(lambda *args: written_out(jaxpr, consts, args))(*(var.aval for var in jaxpr.invars))
    return made, bool(checkpointed)


def with_states(closed: ClosedJaxpr, states: Sequence[int], add: Callable[[list[Any]], list[Any]]) -> Callable:
    """A flat program as a function whose results at `states` are `add` of them; what it computes from those reads the
    new ones, but not one state from another, for they are of the same time."""
    jaxpr, consts = opened(closed)
    of_states = [jaxpr.outvars[i] for i in states]

    def function(*args: Any) -> list[Any]:
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
        value = lambda var: var.val if isinstance(var, Literal) else known[var]  # noqa: E731
        for equation in jaxpr.eqns:
            found = alone(jaxpr, equation, [value(var) for var in equation.invars])
            known.update(zip(equation.outvars, found, strict=True))
        added = add([value(var) for var in of_states])
        changed = {var for var in of_states if not isinstance(var, Literal)}
        known.update((var, new) for var, new in zip(of_states, added, strict=True) if var in changed)
        for equation in jaxpr.eqns:
            if changed.intersection(var for var in equation.invars if not isinstance(var, Literal)):
                found = alone(jaxpr, equation, [value(var) for var in equation.invars])
                new = [(v, each) for v, each in zip(equation.outvars, found, strict=True) if v not in of_states]
                known.update(new)
                changed |= {var for var, _ in new}
        results = [value(var) for var in jaxpr.outvars]
        for i, new in zip(states, added, strict=True):
            results[i] = new
        return results

    return function


def parts(equation: Any, operands: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """(what a scan closes over, its first carry, its inputs)."""
    body, _ = opened(equation.params["jaxpr"])
    # what is scanned over or stacked has one axis more outside of the body
    axes = lambda var: len(var.aval.shape)  # noqa: E731
    carried = sum(axes(a) == axes(b) for a, b in zip(body.outvars, equation.outvars, strict=True))
    inputs = sum(axes(a) < axes(b) for a, b in zip(body.invars, equation.invars, strict=True))
    first = len(body.invars) - inputs - carried
    return operands[:first], operands[first : first + carried], operands[first + carried :]


def options_of(equation: Any) -> dict[str, Any]:
    """How `jax.lax.scan` was called."""
    return {name: equation.params[name] for name in ("length", "reverse", "unroll")}


def alone(jaxpr: Jaxpr, equation: Any, operands: list[Any]) -> list[Any]:
    """One equation of a program as it is."""
    pairs = [(var, each) for var, each in zip(equation.invars, operands, strict=True) if not isinstance(var, Literal)]
    distinct, made = dict(pairs), [var for var in equation.outvars if type(var).__name__ != "DropVar"]
    program = jaxpr.replace(constvars=[], invars=list(distinct), outvars=made, eqns=[equation])
    results = dict(zip(made, jaxpr_as_fun(ClosedJaxpr(program, ()))(*distinct.values()), strict=True))
    return [results.get(var) for var in equation.outvars]
