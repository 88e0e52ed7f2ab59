"""`probe`: the loss and its gradient, and beside them what the gradient met on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cures import clip_rate, global_norm
from jrnn.training.telemetry.probing.arrivals import Asked
from jrnn.training.telemetry.probing.meters import Meter, Meters
from jrnn.training.telemetry.probing.scans import with_taps
from jrnn.training.telemetry.probing.watching_runs import RunWatcher
from jrnn.training.telemetry.probing.watching_scans import ScanWatcher
from jrnn.types import Array, InputError, Params
from jrnn.unrolling.checks import as_array, check_count
from jrnn.unrolling.gradients import check_loss
from jrnn.unrolling.watching import WATCHER


def probe(
    loss_fn: Callable[..., Any],
    params: Params,
    *args: Any,
    has_aux: bool = False,
    lags: Sequence[int] = (),
    outputs: int = 4,
    every: int = 100,
    step: Any = None,
    opt_state: Any = None,
) -> tuple[Any, Params, dict[str, Array]]:
    """`jax.value_and_grad(loss_fn)(params, *args)`, and where the gradient went: for training loops of one's own; also
    `jrnn.probe`.

        @jax.jit
        def update(params, opt_state, xs, ys, step):
            loss, grads, metrics = jrnn.probe(loss_fn, params, xs, ys, lags=(1, 10), step=step, opt_state=opt_state)
            ...

    It sees every `jrnn.unroll` that `loss_fn` calls, and every `jax.lax.scan` that carries floating-point arrays and
    closes over weights; also under `jit`, `jax.checkpoint`, `vmap` and in another scan, over which the figures are
    pooled: root mean squares and ratios of sums. A sum in the carry, such as that of the losses, which no step reads,
    is no state. It does not see into functions with derivatives of their own (`jax.custom_vjp`), a `while_loop`, or a
    loop of Python over time. Of a scan every step counts as valid, and what its resets cut as not arrived. Call `probe`
    under `jax.jit`: outside it traces and compiles the loss anew each time, about 25 times slower, and every call
    leaves half a megabyte in JAX's caches.

    The norms at both ends cost a few percent: a step with clipping and Adam takes 1.02 to 1.07 of the CPU time of one
    without (Elman, LSTM, GRU; 1,000 steps of one sequence, 128 of 32). Arrivals cost, in the steps that measure them,
    one more run forwards and `outputs` vector-Jacobian products, one after the other, under `lax.cond`: with outputs=4
    three times the step, every `every` steps. In between nothing but memory: where it brings a program's temporaries
    above 32 MB and freed memory is not kept (`jrnn/kernels/memory.py`), glibc asks for their pages anew at every call
    (1.3 times the step).

    Args:
      loss_fn: (params, *args) -> scalar, or (scalar, aux) with has_aux.
      params: what is differentiated by.
      lags: steps back, 0 or more, at which to measure what arrives; none by default.
      outputs: how many outputs are followed: an even sample in time of those that carry gradient.
      every: the lags are measured where step % every is 0, and are NaN in between, which loggers leave out.
      step: the number of this step, an integer, traced or not; None measures each time.
      opt_state: an Optax state with jrnn's clipping in it, for clip_rate.
    Returns:
      (value, gradient, metrics), or ((value, aux), gradient, metrics). Metrics are scalars:
      delta_early, delta_late, delta_growth: ||dL/dh_t|| in the first and last tenth of the sequences, in loss per unit
        of state, and its growth, nats per step, as `jrnn.training.delta_metrics` defines them; NaN where no gradient
        came by.
      arrival_{lag}: sum ||part(t, t - lag)|| / sum ||part(t, t)|| over the outputs t followed and the sequences, of
        those with a way back as long (`jrnn.gradient_flow` defines the parts): 1 is all of it. NaN of `Bidirectional`.
        Outputs, final_state and last are followed, of a scan its results and what each step adds to a sum; not what a
        loss reads of `states`: NaN if it reads nothing else.
      grad_norm: the global norm of the gradient.
      clip_rate: the share of updates clipped so far, with opt_state.
      Of several recurrences the first four have a name in front: "encoder/delta_early". `unroll` of one cell has the
      cell's, "lstm"; a scan "scan", or the modules it stands in; the same name is pooled.
    Raises:
      InputError: the loss is no real scalar, a lag is negative, or there is no recurrence in the loss.
    """
    check_loss(loss_fn)

    def loss(params: Params) -> tuple[Array, Any]:
        found = loss_fn(params, *args)
        return found if has_aux else (found, None)

    value, aux, grads, metrics = probed(loss, params, asked_for(lags, outputs, every), step)
    metrics |= further(grads, opt_state)
    return ((value, aux) if has_aux else value), grads, metrics


def asked_for(lags: Sequence[int], outputs: int, every: int) -> Asked:
    """The checked options."""
    if not isinstance(lags, Sequence) or isinstance(lags, str):
        raise InputError("lags", repr(lags), "a tuple of numbers of steps, such as (1, 10, 100)")
    steps = tuple(check_count("lags", lag, 0, "numbers of steps, 0 or more") for lag in lags)
    outputs = check_count("outputs", outputs, 1, "a positive number of outputs")
    return Asked(steps, outputs, check_count("every", every, 1, "a positive number of steps"))


def further(grads: Any, opt_state: Any) -> dict[str, Array]:
    """grad_norm and clip_rate."""
    of_clip = {} if opt_state is None else {"clip_rate": clip_rate(opt_state)}
    return {"grad_norm": global_norm(grads), **of_clip}


def probed(
    loss: Callable[[Params], tuple[Array, Any]], params: Params, asked: Asked, step: Any
) -> tuple[Array, Any, Params, dict[str, Array]]:
    """(value, aux, gradient, metrics of every recurrence) of loss(params) -> (value, aux)."""
    if step is not None:
        step = as_array("step", step)
        if step.ndim or not jnp.issubdtype(step.dtype, jnp.integer):
            raise InputError("step", f"{step.dtype}{list(step.shape)}", "the number of this step, one integer")
    meters = Meters(asked, step)

    def traced(params: Params, rows: list[Meter]) -> tuple[Array, Any]:
        meters.rows = rows
        with WATCHER(RunWatcher(meters)):
            value, aux = loss(params)
        value = jnp.asarray(value)
        if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
            given = f"a function that returns {value.dtype}{list(value.shape)}"
            raise InputError("loss_fn", given, "one that returns one real number")
        return value, aux

    rows = meters.zeros()
    try:
        value, aux, grads, found = differentiated(traced, meters, params, rows)
    except Exception as error:
        if refused := refusal_of(error):
            raise refused from error
        raise
    meters.rows = []
    if not meters.names:
        needed = (
            "a loss with a recurrence that the gradient passes through: `jrnn.unroll`, or a `jax.lax.scan` that carries"
            " a state and closes over weights; a Python loop over time has none, and a jax.custom_vjp or while_loop"
            " around it hides it"
        )
        raise InputError("loss_fn", "one without a recurrence in sight", needed)
    return value, aux, grads, meters.metrics(found)


def differentiated(
    traced: Callable, meters: Meters, params: Params, rows: list[Meter]
) -> tuple[Array, Any, Params, list[Meter]]:
    """(value, aux, gradient, the meters' gain)."""
    aside: list[Any] = []  # of aux, what is no array: strings, numbers of Python; None for an array
    structures: list[Any] = []

    def arrays_of(params: Params, rows: list[Meter]) -> tuple[Array, list[Any]]:
        value, aux = traced(params, rows)
        leaves, structure = jax.tree.flatten(aux)
        structures.append(structure)
        aside.extend(None if hasattr(leaf, "dtype") else leaf for leaf in leaves)
        return value, [leaf for leaf in leaves if hasattr(leaf, "dtype")]

    closed, shapes = jax.make_jaxpr(arrays_of, return_shape=True)(params, rows)
    program, structure = with_taps(closed, ScanWatcher(meters)), jax.tree.structure(shapes)

    def evaluated(params: Params, rows: list[Meter]) -> tuple[Array, Any]:
        meters.rows = rows
        return structure.unflatten(program(*jax.tree.leaves((params, rows))))

    (value, arrays), (grads, found) = jax.value_and_grad(evaluated, argnums=(0, 1), has_aux=True)(params, rows)
    left = iter(arrays)
    aux = structures[0].unflatten([next(left) if leaf is None else leaf for leaf in aside])
    return value, aux, grads, found


def refusal_of(error: Exception) -> InputError | None:
    """In jrnn's words, what JAX says of functions with derivatives of their own where a probe looks."""
    if type(error).__name__ == "CustomVJPException":
        needed = "one without, or `jax.value_and_grad` in the place of the probe"
        return InputError("loss_fn", "a loss with a jax.custom_vjp around a recurrence", needed)
    if isinstance(error, NotImplementedError) and "custom_lin" in str(error):
        given = "lags beside a loss that differentiates forwards (jax.jvp, jacfwd, linearize, hessian)"
        return InputError("lags", given, "lags=(), or a loss that differentiates backwards alone")
    return None
