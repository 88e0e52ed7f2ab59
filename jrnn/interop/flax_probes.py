"""`jrnn.training.probe` for nnx: it takes the place of `nnx.value_and_grad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jrnn.extras import require
from jrnn.training.telemetry.probing.values import asked_for, further, probed
from jrnn.types import Array


def probe(
    loss_fn: Callable[..., Any],
    model: Any,
    *args: Any,
    wrt: Any = None,
    has_aux: bool = False,
    lags: Sequence[int] = (),
    outputs: int = 4,
    every: int = 100,
    step: Any = None,
    optimizer: Any = None,
) -> tuple[Any, Any, dict[str, Array]]:
    """`nnx.value_and_grad(loss_fn)(model, *args)`, and where the gradient went: see `jrnn.training.probe`.

        @nnx.jit
        def update(model, optimizer, xs, ys, step):
            loss, grads, metrics = jrnn.interop.nnx.probe(
                loss_fn, model, xs, ys, lags=(1, 10, 100), step=step, optimizer=optimizer
            )
            optimizer.update(model, grads)
            return loss, metrics

    It sees jrnn's RNN modules and Flax's, and cells that `nnx.scan` or `jax.lax.scan` goes over, also under `nnx.jit`,
    `nnx.remat`, `nnx.vmap` and in another scan.

    Args:
      loss_fn: (model, *args) -> scalar, or (scalar, aux) with has_aux. What it changes in the model and in modules or
        `nnx.Rngs` among args (running means, random streams) is changed afterwards too.
      model: an nnx module.
      wrt: a filter of what is differentiated by; `nnx.Param` by default.
      lags, outputs, every, step: as for `jrnn.training.probe`, and what they cost.
      optimizer: an `nnx.Optimizer` with jrnn's clipping in it, for clip_rate.
    Returns:
      (value, gradient, metrics), or ((value, aux), gradient, metrics): the gradient a state like that of `nnx.grad`,
      the metrics those of `jrnn.training.probe`. Of several RNNs each has its place in the model in front:
      "encoder.rnn/delta_early"; of Flax's own "scan".
    Raises:
      InputError: as `jrnn.training.probe`.
    """
    nnx = require("flax.nnx")
    rnn = require("jrnn.interop.nnx").RNN
    graphdef, diff, rest = nnx.split(model, nnx.Param if wrt is None else wrt, ...)
    args_def, args_state = nnx.split(args)

    def loss(params: Any) -> tuple[Array, Any]:
        kept, kept_args = jax.tree.map(lambda a: a, (rest, args_state))  # variables of this trace, which may be set
        copy, own_args = nnx.merge(graphdef, params, kept), nnx.merge(args_def, kept_args)
        rnns = [(".".join(map(str, path)), node) for path, node in nnx.iter_graph(copy) if isinstance(node, rnn)]
        for path, node in rnns:
            node.watched_as = path or None
        found = loss_fn(copy, *own_args)
        for _, node in rnns:
            del node.watched_as
        value, aux = found if has_aux else (found, None)
        return value, (aux, nnx.state(copy), nnx.state(own_args, nnx.Variable))

    value, (aux, changed, changed_args), grads, metrics = probed(loss, diff, asked_for(lags, outputs, every), step)
    nnx.update(model, changed)
    if jax.tree.leaves(changed_args):
        nnx.update(args, changed_args)
    metrics |= further(grads, None if optimizer is None else plain(nnx, optimizer.opt_state))
    return ((value, aux) if has_aux else value), grads, metrics


def plain(nnx: Any, tree: Any) -> Any:
    """Arrays in the place of Variables."""
    variable = lambda node: isinstance(node, nnx.Variable)  # noqa: E731
    return jax.tree.map(lambda v: v.get_value() if variable(v) else v, tree, is_leaf=variable)
