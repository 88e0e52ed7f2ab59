"""A model's RNN inside a transformation, `jit`, `jax.checkpoint` or Flax's forms of them: read from the loss's program.

The RNN's results pass through a function that is known by its name and takes all that the RNN was given. In the
program of the loss, with what is jitted and checkpointed written out, this equation then has values to be read, and
results to be replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, get_opaque_trace_state

from jrnn.interop.tap_calls import Call, Tapped
from jrnn.training.telemetry.probing.scans import REMEMBERED, alone, holds_scan, opened
from jrnn.types import Array, InputError
from jrnn.unrolling import Unrolled

MARK = "jrnn_tapped"
TAPPING = jax.make_user_context(default_value=None)
"""Whoever taps: part of the key of JAX's caches, so that what was jitted before is traced anew, marks and all."""
AROUND = "tap what runs inside of it; jrnn.interop.nnx.probe and linen.probe see RNNs there while training"
TRANSFORMS = {
    "scan": "a scan (nn.scan, nnx.scan, jax.lax.scan)",
    "cond": "a conditional (nn.cond, nnx.cond, jax.lax.cond)",
    "while": "a while_loop",
    "shard_map": "jax.shard_map",
    "custom_jvp_call": "a jax.custom_jvp",
    "custom_vjp_call": "a jax.custom_vjp (nn.custom_vjp, nnx.custom_vjp)",
}


def trace_state() -> Any:
    """Which transformation is being traced; equal for equal ones."""
    return get_opaque_trace_state(convention="nnx")


def marked(call: Call, results: Any) -> Any:
    """The results, through the function with the name; its operands are the call's arrays, then the results."""

    def tapped_rnn(arrays: Any, results: Any) -> Any:
        return jax.lax.optimization_barrier(results)  # else JAX would pass the results by

    tapped_rnn.__name__ = MARK
    return jax.jit(tapped_rnn)(call.arrays, results)


def tap_program(loss_fn: Callable[[Any], Array], variables: Any, calls: list[Call]) -> Tapped:
    """The tap of a loss that marks its RNN, whose calls `calls` collects while the loss is traced."""
    closed = jax.make_jaxpr(loss_fn)(variables)
    call, shapes = calls[0], jax.tree.map(jax.typeof, calls[0].arrays)
    given = jax.tree.leaves(variables)
    found: list[Any] = []

    def read(equation: Any, operands: list[Any]) -> list[Any]:
        arrays = operands[: len(jax.tree.leaves(shapes))]
        if any(a.shape != b.shape for a, b in zip(arrays, jax.tree.leaves(shapes), strict=True)):
            raise InputError("loss_fn", "an RNN inside vmap (nn.vmap, nnx.vmap, jax.vmap)", AROUND)
        found.append(jax.tree.unflatten(jax.tree.structure(shapes), arrays))
        return operands[len(arrays) :]

    walk(*opened(closed), given, read)
    outside = call._replace(arrays=found[0])

    def loss(run: Unrolled) -> Array:
        results = jax.tree.leaves(outside.result(run))
        return walk(*opened(closed), given, lambda *_: results)[0]

    return outside.tapped(loss)


def walk(
    jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any], take: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """The results of a program, whose marks `take` takes the place of."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    value = lambda var: var.val if isinstance(var, Literal) else known[var]  # noqa: E731
    for equation in jaxpr.eqns:
        operands, name = [value(var) for var in equation.invars], equation.primitive.name
        if is_mark(equation):
            made = take(equation, operands)
        elif not any(map(holds_mark, programs_in(equation))):
            made = alone(jaxpr, equation, operands)
        elif name in ("pjit", "jit", *REMEMBERED):
            made = walk(*opened(equation.params["jaxpr"]), operands, take)
        else:
            raise InputError("loss_fn", f"an RNN inside {TRANSFORMS.get(name, name)}", AROUND)
        known.update(zip(equation.outvars, made, strict=True))
    return [value(var) for var in jaxpr.outvars]


def is_mark(equation: Any) -> bool:
    """Whether an equation is the marked function."""
    return equation.primitive.name in ("pjit", "jit") and equation.params["name"] == MARK


def holds_mark(jaxpr: Jaxpr) -> bool:
    """Whether there is a mark in a program."""
    return any(is_mark(each) or any(map(holds_mark, programs_in(each))) for each in jaxpr.eqns)


def programs_in(equation: Any) -> list[Jaxpr]:
    """All programs among an equation's settings."""
    found: list[Jaxpr] = []
    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            found += [opened(each)[0]] if isinstance(each, ClosedJaxpr | Jaxpr) else []
    return found


def check_by_hand(loss_fn: Callable[[Any], Array], variables: Any) -> None:
    """InputError if the loss has a cell that is scanned by hand, which is what may be meant where no RNN is found."""
    if holds_scan(opened(jax.make_jaxpr(loss_fn)(variables))[0]):
        given = "one without an RNN module, in which a cell is scanned by hand (nn.scan, nnx.scan, jax.lax.scan)"
        needed = (
            "jrnn.interop.linen.RNN or nnx.RNN in its place, whose resets= takes done flags; or jrnn.interop.nnx.probe"
            " or linen.probe, which see such scans while training"
        )
        raise InputError("loss_fn", given, needed)
