"""A user's model by the name of a function that makes it, and whole Flax models with the task's loss on them."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cells import check_cell
from jrnn.extras import require
from jrnn.interop.flax_calls import flip
from jrnn.interop.flax_cells import from_linen, from_nnx
from jrnn.interop.tap_calls import Tapped
from jrnn.interop.tap_in_linen import tap_linen
from jrnn.interop.tap_in_nnx import tap_nnx
from jrnn.interop.weights.files import error_text
from jrnn.training import Objective
from jrnn.types import Array, InputError, Params

RESULTS = (
    "(cell, params) of jrnn, a Flax nnx module, or (linen module, variables): a recurrent cell, or a model called with "
    "x [cases, time, features] (and lengths, where the data have them)"
)


@dataclass(frozen=True, eq=False)
class FlaxModel:
    """A whole Flax model: x [B, T, F] -> predictions [B, K] or [B, T, K], an RNN somewhere inside."""

    kind: str
    apply: Callable[..., Array]
    """(variables or nnx model, x, lengths or nothing) -> predictions."""
    variables: Any
    tap: Callable[..., Tapped]
    rnn: str | None

    def predictions(self, objective: Objective, batch: dict[str, Any], variables: Any = None) -> tuple[Array, Array]:
        """(z, counted) of cases: predictions in the order that `objective.score` takes them, and what counts.

        Raises:
          InputError: the model's results are no predictions for the task.
        """
        x, lengths = jnp.asarray(batch["x"]), batch.get("lengths")
        given = (x,) if lengths is None else (x, jnp.asarray(lengths))
        try:
            z = self.apply(self.variables if variables is None else variables, *given)
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # the user's model may raise anything
            called = f"{self.kind}, which called with shapes {[a.shape for a in given]} raises {error_at(error)}"
            raise InputError("model", called, RESULTS) from error
        shape = (*x.shape[: 1 + objective.each], objective.outputs)
        if jnp.shape(z) != shape:
            given = f"a model whose result has shape {jnp.shape(z)} for x {x.shape}"
            raise InputError("model", given, f"predictions {list(shape)}, to {objective.task}")
        last = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
        counted = objective.scored(jnp.asarray(np.arange(x.shape[1])[:, None] < last))
        return jnp.swapaxes(z, 0, 1) if objective.each else z, counted

    def scores(self, objective: Objective, cases: dict[str, Any], batch_size: int = 256) -> dict[str, float]:
        """The objective's metrics over cases, as `jrnn.training.evaluate` gives them."""
        totals: dict[str, float] = {}
        weights, score = 0.0, jax.jit(objective.score)
        for start in range(0, len(cases["x"]), batch_size):
            batch = {name: array[start : start + batch_size] for name, array in cases.items()}
            z, counted = self.predictions(objective, batch)
            weight = float(counted.sum())
            weights += weight
            for name, value in score(z, counted, targets(objective, batch))[1].items():
                totals[name] = totals.get(name, 0.0) + weight * float(value)
        return {name: total / max(weights, 1.0) for name, total in totals.items()}

    def tapped(self, objective: Objective, batch: dict[str, Any]) -> Tapped:
        """The RNN inside, with the task's loss on these cases as its loss, and no option but lengths.

        An RNN that reads from the end is given its inputs turned round, and its outputs are turned back.

        Raises:
          InputError: no RNN inside, several and none named, or one that is given an initial state.
        """

        def loss_fn(variables: Any) -> Array:
            z, counted = self.predictions(objective, batch, variables)
            return jax.jit(objective.score)(z, counted, targets(objective, batch))[0]

        tap = self.tap(loss_fn, self.variables, name=self.rnn)
        options = dict(tap.options)
        if "initial_state" in options:
            needed = "an RNN that starts from its own initial state; for others jrnn.interop.tap_nnx or tap_linen"
            raise InputError("model", "an RNN that is given an initial state", needed)
        if not options.pop("reverse", False):
            return tap
        lengths = options.get("lengths")
        turned = lambda run: run._replace(outputs=flip(run.outputs, lengths, 0), mask=flip(run.mask, lengths, 0))  # noqa: E731
        return tap._replace(xs=flip(tap.xs, lengths, 0), loss=lambda run: tap.loss(turned(run)), options=options)


def targets(objective: Objective, batch: dict[str, Any]) -> Any:
    """y, time first for a task with `_each`."""
    return np.swapaxes(batch["y"], 0, 1) if objective.each else batch["y"]


def made_by(name: str, rnn: str | None) -> FlaxModel | tuple[Any, Params]:
    """What "package.module:function" makes, without arguments: (cell, params), or a `FlaxModel`.

    Raises:
      InputError: no such module or function, it raises, or what it returns is none of these.
    """
    result = call(name)
    flax = "flax" in sys.modules
    nnx, linen = (require(f"flax.{room}") if flax else None for room in ("nnx", "linen"))
    if nnx and isinstance(result, nnx.Module):
        if is_cell(result):
            return from_nnx(result)
        apply = lambda model, *given: model(*given)  # noqa: E731
        return FlaxModel(type(result).__name__, apply, result, tap_nnx, rnn)
    if not isinstance(result, tuple) or len(result) != 2:
        raise InputError("model", f"{name}, which returns {type(result).__name__}", RESULTS)
    first, second = result
    if linen and isinstance(first, linen.Module):
        if is_cell(first):
            return from_linen(first, second)
        return FlaxModel(type(first).__name__, first.apply, second, tap_linen, rnn)
    try:
        check_cell(first)
    except InputError as error:
        raise InputError("model", f"{name}, which returns ({type(first).__name__}, ...)", RESULTS) from error
    try:
        jax.eval_shape(lambda p: first.initial_state(p, ()), second)
    except (
        Exception,
        SystemExit,
    ) as error:  # whatever a foreign initial_state raises for parameters that are not its own
        given = f"{name}, whose parameters do not fit its {type(first).__name__} ({error_at(error)})"
        raise InputError("model", given, "(cell, params) with params as the cell's init makes them") from error
    return first, second


def is_cell(module: Any) -> bool:
    """Whether a Flax module is a recurrent cell; jrnn's RNN modules have carries too."""
    return callable(getattr(module, "initialize_carry", None)) and hasattr(module, "num_feature_axes")


def call(name: str) -> Any:
    """The result of "package.module:function", found from the working folder too."""
    module_name, _, path = name.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        function: Any = importlib.import_module(module_name)
        for part in path.split("."):
            function = getattr(function, part)
        return function()
    except InputError:
        raise
    except (
        Exception,
        SystemExit,
    ) as error:  # the user's code may raise anything; it is told as bad input, with its place
        raise InputError(
            "model", f"{name}: {error_at(error)}", f"a function without arguments that returns {RESULTS}"
        ) from error


def error_at(error: BaseException) -> str:
    """An error of the user's code in one line, with the place in a file that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    place = f" ({os.path.basename(places[-1].filename)}:{places[-1].lineno})" if places else ""
    return error_text(error) + place
