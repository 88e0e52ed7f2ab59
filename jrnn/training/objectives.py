"""What is minimised: a dense head on a cell's outputs, with the usual losses for classes and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn.cells import check_key, dense
from jrnn.types import UNKNOWN, Array, InputError, Params, wide_dtype
from jrnn.unrolling import Unrolled
from jrnn.unrolling.checks import as_array

TASKS = ("classify", "classify_each", "label", "label_each", "regress", "regress_each")


@dataclass(frozen=True)
class Objective:
    """A dense head and its loss, for one target a sequence or one a step (`_each`). Hashable: equal ones share a trace.

    With z = y W + b, y the last valid output or each output: classify is the mean of -log softmax(z)[target], regress
    the mean of (z - target)^2 over cases (or steps) and the K outputs, label the mean of -log sigmoid(+-z), + for a
    target of 1 and - for 0: K labels that are there or not, each by itself. Means are over what happened: padded steps
    and sequences of length 0 do not count, whatever their targets hold; if nothing is valid the loss is 0. Computed in
    float32 at least.

    Raises:
      InputError: the task is unknown, outputs is no positive integer, warmup no whole number, 0 for one target a
        sequence, or missing no bool.
    """

    task: str
    """classify | classify_each | label | label_each | regress | regress_each."""
    outputs: int
    """K: the number of classes, or of numbers to predict."""
    warmup: int = 0
    """With `_each`: the steps t < warmup are not scored."""
    missing: bool = False
    """Whether targets may be missing, NaN among numbers and -100 among classes: the mean is over those that are known,
    each of the K numbers by itself. Where False, a NaN is an error and not a gap."""

    def __post_init__(self):
        if self.task not in TASKS:
            raise InputError("task", repr(self.task), f"one of {list(TASKS)}")
        dense(self.outputs)
        whole = isinstance(self.warmup, int | np.integer) and not isinstance(self.warmup, bool)
        if not whole or self.warmup < 0 or (self.warmup and not self.each):
            raise InputError("warmup", repr(self.warmup), "a whole number of steps, 0 for one target a sequence")
        if not isinstance(self.missing, bool):
            raise InputError("missing", repr(self.missing), "True or False")
        object.__setattr__(self, "warmup", int(self.warmup))

    @classmethod
    def of(cls, data: Any) -> Objective:
        """What a `jrnn.data.Dataset`, or a task of `jrnn.data`, asks for."""
        return cls(data.task, data.outputs, data.warmup, bool(getattr(data, "missing", False)))

    @property
    def each(self) -> bool:
        """Whether there is a target for each step; targets are then [T, *B] or [T, *B, K]."""
        return self.task.endswith("_each")

    @property
    def classifies(self) -> bool:
        """Whether targets are classes."""
        return self.task.startswith("classify")

    @property
    def labels(self) -> bool:
        """Whether targets are K labels that are there (1) or not (0)."""
        return self.task.startswith("label")

    def init(self, key: Array, input_size: int) -> Params:
        """The head's parameters, {"w": [input_size, K], "bias": [K]}; input_size is that of the cell's outputs."""
        if key is None:
            raise InputError("key", "None", "a PRNG key, jax.random.key(seed)")
        check_key(key)
        return dense(self.outputs).init(key, input_size)

    def predict(self, loss_params: Params, unrolled: Unrolled) -> Array:
        """z: logits or predictions, [*B, K], or [T, *B, K] for a task with `_each`."""
        if not isinstance(unrolled, Unrolled):
            raise InputError("unrolled", f"a {type(unrolled).__name__}", "what `unroll` returns")
        return self.head(loss_params, unrolled.outputs if self.each else unrolled.last)

    def head(self, loss_params: Params, y: Array) -> Array:
        """z of outputs y [..., input_size] of the cell: logits or predictions [..., K]."""
        self.check_head(loss_params)
        return dense(self.outputs)(loss_params, y)

    def check_head(self, loss_params: Params) -> None:
        """InputError unless these are parameters as from `init`."""
        needed = f'{{"w": [input_size, {self.outputs}], "bias": [{self.outputs}]}}, as from objective.init'
        if not isinstance(loss_params, Mapping) or not {"w", "bias"} <= set(loss_params):
            given = f"the keys {[*loss_params]}" if isinstance(loss_params, Mapping) else f"{loss_params!r:.60}"
            raise InputError("loss_params", given, needed)
        shapes = [jnp.shape(loss_params[name]) for name in ("w", "bias")]
        if len(shapes[0]) != 2 or shapes[0][1] != self.outputs or shapes[1] != (self.outputs,):
            raise InputError("loss_params", f"w and bias of shapes {shapes}", needed)

    def counted(self, unrolled: Unrolled) -> Array:
        """bool [T, *B] (`_each`) or [*B]: what the mean runs over."""
        return self.scored(unrolled.mask)

    def scored(self, mask: Array) -> Array:
        """`counted` for the steps that happened, bool [T, *B]."""
        if not self.each:
            return mask.any(axis=0)
        late = jnp.arange(mask.shape[0]) >= self.warmup
        return mask & late.reshape(-1, *(1,) * (mask.ndim - 1)) if self.warmup else mask

    def __call__(
        self, loss_params: Params, unrolled: Unrolled, batch: Mapping[str, Any]
    ) -> tuple[Array, dict[str, Array]]:
        """The loss and its metrics.

        Args:
          loss_params: as from `init`.
          unrolled: what `unroll` returned for the batch.
          batch: "y": classes [*B] of int, numbers [*B, K] ([*B] too if K = 1); with `_each` a time axis T first.
        Returns:
          (loss, metrics): scalars; metrics has "loss", and "accuracy" in [0, 1] for classes and labels.
        Raises:
          InputError: y does not fit the task.
        """
        y = batch.get("y") if isinstance(batch, Mapping) else None
        if y is None:
            given = f"the keys {[*batch]}" if isinstance(batch, Mapping) else f"a {type(batch).__name__}"
            raise InputError("batch", given, f"a mapping with the targets of {self.task} as y")
        return self.score(self.predict(loss_params, unrolled), self.counted(unrolled), y)

    def score(self, z: Array, counted: Array, y: Any) -> tuple[Array, dict[str, Array]]:
        """The loss and its metrics of predictions that are there already, such as another model's.

        Args:
          z: logits or predictions, [*B, K], or [T, *B, K] for a task with `_each`.
          counted: bool, z's shape without K: what the mean runs over.
          y: the targets, as for a call.
        Returns:
          (loss, metrics), as a call.
        Raises:
          InputError: y does not fit the task.
        """
        wide = wide_dtype(z.dtype)
        z, y = z.astype(wide), self.check_targets(as_array("y", y), counted.shape)
        if self.missing:
            counted = self.known(counted, y)
        count = jnp.maximum(counted.sum(), 1).astype(wide)

        def mean(values: Array) -> Array:
            return jnp.where(counted, values, jnp.zeros_like(values)).sum() / count

        if self.classifies:
            y = jnp.where(counted, y, jnp.zeros_like(y))  # padding may hold any label
            loss = mean(optax.softmax_cross_entropy_with_integer_labels(z, y))
            return loss, {"loss": loss, "accuracy": mean((z.argmax(axis=-1).astype(y.dtype) == y).astype(wide))}
        each = counted if self.missing else jnp.broadcast_to(counted[..., None], y.shape)
        y = jnp.where(each, y, jnp.zeros_like(y)).astype(wide)

        def mean_of_all(values: Array) -> Array:
            return mean(values if self.missing else values.mean(axis=-1))

        if self.labels:
            loss = mean_of_all(optax.sigmoid_binary_cross_entropy(z, y))
            return loss, {"loss": loss, "accuracy": mean_of_all(((z > 0) == (y > 0)).astype(wide))}
        loss = mean_of_all(jnp.square(z - y))
        return loss, {"loss": loss}

    def probabilities(self, z: Array) -> Array:
        """What z says: the probability of each class, or of each label; numbers stay."""
        return jax.nn.softmax(z) if self.classifies else jax.nn.sigmoid(z) if self.labels else z

    def known(self, counted: Array, y: Array) -> Array:
        """What is counted and not missing: bool of the shape of the targets y, classes or numbers [*lead, K]."""
        if self.classifies:
            return counted & (y != UNKNOWN)
        return jnp.broadcast_to(counted[..., None], y.shape) & ~jnp.isnan(y)

    def weight(self, unrolled: Unrolled, y: Any = None) -> Array:
        """How many cases or steps, or known targets where some are missing in y, the means of a batch are over: what
        `evaluate` weighs batches with."""
        counted = self.counted(unrolled)
        if self.missing and y is not None:
            counted = self.known(counted, self.check_targets(as_array("y", y), counted.shape))
        return counted.sum()

    def check_targets(self, y: Array, lead: tuple[int, ...]) -> Array:
        """y as classes [*lead] or numbers [*lead, K], or InputError."""
        if self.classifies:
            if not jnp.issubdtype(y.dtype, jnp.integer) or y.shape != lead:
                raise InputError(
                    "y", f"{y.dtype}{list(y.shape)}", f"classes, integers of shape {list(lead)}, for {self.task}"
                )
            return y
        if self.outputs == 1 and y.shape == lead:
            y = y[..., None]
        if y.shape != (*lead, self.outputs) or jnp.issubdtype(y.dtype, jnp.complexfloating):
            raise InputError(
                "y", f"{y.dtype}{list(y.shape)}", f"numbers of shape {[*lead, self.outputs]}, for {self.task}"
            )
        return y


def loss_and_metrics(
    objective: Any, loss_params: Params, unrolled: Unrolled, batch: Any
) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of a batch by an `Objective`, or by any `loss(loss_params, unrolled, batch) -> scalar | (scalar,
    metrics)`."""
    value, metrics = as_scalar(objective(loss_params, unrolled, batch), "objective", "loss")
    return value, {**metrics, "loss": value}


def as_scalar(result: Any, argument: str, what: str) -> tuple[Array, dict[str, Array]]:
    """(value, metrics) of what a user's function returned: scalar | (scalar, metrics); InputError for anything else."""
    needed = "one real number, alone or as (number, metrics)"
    if isinstance(result, tuple) and (len(result) != 2 or not isinstance(result[1], Mapping)):
        raise InputError(argument, f"a {what} that is a tuple of {[type(part).__name__ for part in result]}", needed)
    value, metrics = result if isinstance(result, tuple) else (result, {})
    for name, metric in metrics.items():
        known = isinstance(metric, jax.Array | np.ndarray | np.generic | bool | int | float)
        if not known or not isinstance(name, str) or jnp.issubdtype(jnp.result_type(metric), jnp.complexfloating):
            given = f"a metric {name!r} of type {jnp.result_type(metric) if known else type(metric).__name__}"
            raise InputError(argument, given, "metrics that are real numbers, by name")
    if not isinstance(value, jax.Array | np.ndarray | np.generic | float):
        raise InputError(argument, f"a {what} of type {type(value).__name__}", needed)
    if jnp.ndim(value) != 0 or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise InputError(argument, f"a {what} of {jnp.result_type(value)}{list(jnp.shape(value))}", needed)
    return jnp.asarray(value), {name: jax.lax.stop_gradient(jnp.asarray(m)) for name, m in metrics.items()}
