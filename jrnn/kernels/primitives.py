"""The rules that JAX gets for the three primitives: how to run, lower, batch, differentiate and transpose them.

One rule for every implementation. `recur_p` is the recurrence; `derivatives` says what its derivatives are, `batching`
what `jax.vmap` makes of it, `sharding` how it is split over devices.

(`jax.experimental.hijax` would say this in one class. Under jax 0.10 a program that holds such a primitive is
dispatched by Python at every call, 0.3 ms; under 0.12 the class has another name.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
from jax.interpreters import ad, batching, mlir
from jax.interpreters.partial_eval import dce_rules

from jrnn.kernels.batching import batch, sequence_axes
from jrnn.kernels.calls import METHODS, Call, bind, compiled, flat_function, pull_p, push_p, recur_p, shapes
from jrnn.kernels.derivatives import pull_dce, pull_jvp, pull_transpose, push_jvp, push_transpose, recur_jvp
from jrnn.kernels.implementations import ASKED, Implementation
from jrnn.kernels.operands import Events, Operands, RecurrenceResult, Scan
from jrnn.kernels.sharding import aligned, ask_for_devices, devices_of, over_all_devices, over_devices


def forward(
    scan: Scan,
    operands: Operands,
    events: Events,
    implementation: Implementation,
    all_states: bool = True,
    save_gates: bool = True,
) -> RecurrenceResult:
    """The recurrence by an implementation.

    `save_gates`: the backward pass starts from saved gates, else from the states alone.
    """
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    call = Call(scan, implementation, save_gates, None, all_states, precision=precision)
    return bind(recur_p, call, *aligned((operands, events)))


def lower(primitive: Any, call: Call, ctx: Any, *args: Any) -> Any:
    """The function itself, which XLA splits over devices; of an implementation that is opaque to it jrnn does."""

    def of_groups(reverse: tuple[bool, ...]) -> Any:
        own = replace(call, scan=replace(call.scan, reverse=reverse))
        return lambda *leaves: jax.tree.leaves(flat_function(METHODS[primitive], own)(*leaves))

    function = of_groups(call.scan.reverse)
    devices = devices_of(ctx)
    if devices and call.implementation.opaque_to_xla and primitive is not push_p:
        sizes = tuple([a.shape for a in avals] for avals in (ctx.avals_in, ctx.avals_out))
        given = (of_groups, call.scan.reverse, *sequence_axes(primitive, call, ctx.avals_in), sizes)
        function = (
            over_devices(*given)
            if ASKED.issuperset(ctx.module_context.platforms)
            else over_all_devices(*given, devices)
        )
    return mlir.lower_fun(function, multiple_results=True)(ctx, *args)


def install(primitive: Any) -> None:
    """Registers what all three have in common."""
    primitive.multiple_results = True
    ask_for_devices(primitive)
    primitive.def_impl(lambda *leaves, call: compiled(primitive, call)(*leaves))
    primitive.def_abstract_eval(lambda *avals, call: shapes(primitive, call, avals)[0])
    mlir.register_lowering(primitive, lambda ctx, *args, call: lower(primitive, call, ctx, *args))
    batching.primitive_batchers[primitive] = lambda args, dims, call: batch(primitive, args, dims, call=call)


for primitive in METHODS:
    install(primitive)
ad.primitive_jvps[recur_p], ad.primitive_jvps[push_p], ad.primitive_jvps[pull_p] = recur_jvp, push_jvp, pull_jvp
ad.primitive_transposes[push_p], ad.primitive_transposes[pull_p] = push_transpose, pull_transpose
dce_rules[pull_p] = pull_dce
