"""Where the first NaN or Inf of a training step appeared: the step is done again, and looked at in the order of
cause."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jrnn.cells import check_cell
from jrnn.cures.base import Cure, Training, apply_to_cell, apply_to_training, check_cures
from jrnn.cures.clipping import check_max_norm
from jrnn.training.arguments import check_arrays, check_batch, check_objective
from jrnn.training.optimizing import clipped_optimizer
from jrnn.training.penalties import Penalty, check_penalties
from jrnn.training.random_streams import chunk_penalty_key
from jrnn.training.step_values import values_of_step
from jrnn.training.training_step import StepKeys, TrainingStep
from jrnn.training.unroll_options import check_options, reads_backwards, time_axis_of
from jrnn.training.weights import Weights
from jrnn.types import Array, Params


class NonFinite(NamedTuple):
    """The first number that is not finite, in the order in which a training step computes."""

    place: str
    """parameters | inputs | states | outputs | loss | penalties | state gradients | parameter gradients | penalty
    gradients | update: the first of these that holds a NaN or Inf. "state gradients" and "parameter gradients" are
    those of the objective; "update": all of them are finite, the optimizer's arithmetic is not."""
    time: int | None
    """The index on the time axis where it appeared: t of x_t for inputs and outputs (0..T-1), k of h_k for states and
    of dL/dh_k for their gradients (0..T, 0 the initial state). In the order of computation: the smallest for what
    runs forward, the largest for gradients (the other way round with reverse=True). None where there is no time."""
    leaf: str
    """The array within its tree: cell['w_rec'], loss['bias'], x, h, [0].c (layer 0's c), ...; of the optimizer's state:
    state[0].norm; of the penalties: the name of one."""
    at: tuple[int, ...]
    """The index of the number in that array, time first; () for a scalar."""
    value: float
    """nan, inf or -inf."""
    parameter: str | None
    """The parameter concerned: the one that is not finite itself, or else the first whose gradient is not; for
    "update" the first whose gradient alone makes the update or the optimizer's state not finite, or else the one with
    the largest gradient."""
    parameters: tuple[str, ...]
    """All parameters whose gradient is not finite."""

    def __str__(self) -> str:
        time = "" if self.time is None else f", time index {self.time}"
        parameter = "none" if self.parameter is None else self.parameter
        where = f"{self.leaf}{list(self.at)}" if self.at else self.leaf
        return f"the first {self.value} is in the {self.place}{time}: {where}; parameter {parameter}"


class NonFiniteError(RuntimeError):
    """A run stopped because its last updates were all skipped: NaN or Inf in each."""

    def __init__(self, step: int, skipped: int, report: NonFinite):
        super().__init__(f"step {step}: the last {skipped} updates were skipped; {report}")
        self.step = step
        """The step whose batch was done again, counted from 0."""
        self.report = report
        """A `NonFinite`."""


def first_nonfinite(
    cell: Any,
    objective: Any,
    params: Params,
    loss_params: Params,
    batch: dict[str, Any],
    *,
    key: Array | None = None,
    unroll_options: dict[str, Any] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    opt_state: Any = None,
    max_norm: float | None = None,
    penalties: Sequence[Penalty] = (),
    cures: Sequence[Cure] = (),
) -> NonFinite:
    """Does one training step again and names the first NaN or Inf, in the order parameters, inputs, states in time
    order, outputs, loss, penalties, dL/dh_k from the end, parameter gradients, update. For the host: it looks at
    values, so it does not run under `jit`.

    Args:
      cell, objective, params, loss_params: as for `fit`.
      batch: {"x": [T, *B, F], "y": ..., "lengths": ...}, as the objective gets it; padded inputs do not count.
      key: the key given to `unroll`, for cells with noise; penalties draw as in the first chunk of a `stream` with it.
      unroll_options: as for `fit`.
      optimizer, opt_state: the Optax transformation (not wrapped in `skip_nonfinite`) and its state before the step,
        that of the clip and of what cures add included; without them nothing is said about an update's parameter.
      max_norm: the clip in front of the optimizer, as for `fit`; None for none.
      penalties, cures: as for `fit`; the parameters are those of the cell after the cures.
    Returns:
      a `NonFinite`; its place is "update" if all these numbers are finite.
    """
    check_cell(cell)
    cures = check_cures(cures)
    cell = apply_to_cell(cures, cell)
    check_objective(objective)
    check_options(unroll_options)
    check_arrays("params", params)
    check_arrays("loss_params", loss_params)
    batch = check_batch("batch", batch, "[T, *B, F]")
    max_norm = None if max_norm is None else check_max_norm(max_norm)
    training = Training(optax.identity() if optimizer is None else optimizer, max_norm, check_penalties(penalties))
    training = apply_to_training(cures, training)
    clipped = None if optimizer is None else clipped_optimizer(training.optimizer, training.max_norm)
    options = dict(unroll_options or {})
    training_step = TrainingStep(cell, objective, clipped, options, check_penalties(training.penalties))
    keys = StepKeys(key, penalties=chunk_penalty_key(key, 0) if training_step.penalties else None)
    return look_again(training_step, {"cell": params, "loss": loss_params}, batch, keys, opt_state)


def look_again(
    training_step: TrainingStep, weights: Weights, batch: dict[str, Any], keys: StepKeys, opt_state: Any
) -> NonFinite:
    """`first_nonfinite` of a step, penalties included; its optimizer may be None."""
    options = training_step.unroll_options
    reverse, in_time = reads_backwards(options), partial(find, time_axis=time_axis_of(options))
    values = jax.jit(partial(values_of_step, training_step))(weights, batch, keys)
    broken = tuple(dict.fromkeys(bad[0] for bad in find(values.gradients)))
    stages = (
        ("parameters", find(weights)),
        ("inputs", in_time({"x": batch.get("x")}, mask=np.asarray(values.unrolled.mask))),
        ("states", in_time(values.unrolled.states, from_end=reverse)),
        ("outputs", in_time(values.unrolled.outputs, from_end=reverse)),
        ("loss", find(values.loss)),
        ("penalties", find(values.penalties)),
        ("state gradients", in_time(values.state_gradients, from_end=not reverse)),
        ("parameter gradients", find(values.loss_gradients)),
        ("penalty gradients", find(values.gradients)),
    )
    for place, bad in stages:
        if bad:
            leaf, index, number, time = bad[0]
            parameter = leaf if place.startswith("parameter") else broken[0] if broken else None
            return NonFinite(place, time, leaf, index, number, parameter, broken)
    if training_step.optimizer is not None:
        report = in_update(training_step.optimizer, opt_state, weights, values.gradients, values.minimised)
        if report is not None:
            return report
    return NonFinite("update", None, "the optimizer's arithmetic", (), float("nan"), None, broken)


def in_update(optimizer: Any, opt_state: Any, weights: Any, grads: Any, value: Array) -> NonFinite | None:
    """What is not finite in the update, or newly so in the optimizer's state; the parameter is found by giving the
    optimizer one gradient at a time."""
    update = optax.with_extra_args_support(optimizer).update
    broken = {bad[0] for bad in find(opt_state)}

    def look(grads: Any) -> list[Any]:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, state = update(grads, opt_state, weights, value=value)
        return find(updates) + [(f"state{f[0]}", *f[1:]) for f in find(state) if f[0] not in broken]

    bad = look(grads)
    if not bad:
        return None
    paths, treedef = jax.tree_util.tree_flatten_with_path(grads)

    def alone(i: int) -> Any:
        return treedef.unflatten([g if j == i else jnp.zeros_like(g) for j, (_, g) in enumerate(paths)])

    largest = max(range(len(paths)), key=lambda i: float(jnp.abs(paths[i][1]).max(initial=0)))
    culprit = next((i for i in range(len(paths)) if look(alone(i))), largest)
    leaf, index, number, _ = bad[0]
    return NonFinite("update", None, leaf, index, number, named(paths[culprit][0]), ())


def find(
    tree: Any, *, time_axis: int | None = None, from_end: bool = False, mask: np.ndarray | None = None
) -> list[tuple[str, tuple[int, ...], float, int | None]]:
    """(path, index, value, time) of the first number that is not finite in each leaf, earliest in time first.

    Args:
      time_axis: which axis is time; it comes first in the index. None: there is no time.
      from_end: time runs backwards.
      mask: the steps that happened, its axes those of the arrays; only they count.
    """
    first = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            continue
        array = np.asarray(leaf)
        if array.dtype.kind in "biu" or array.dtype == jax.dtypes.float0:
            continue
        bad = ~np.isfinite(array)
        if mask is not None:
            bad &= mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
        timed = time_axis is not None
        if timed:
            array, bad = np.moveaxis(array, time_axis, 0), np.moveaxis(bad, time_axis, 0)
        if not bad.any():
            continue
        places = np.argwhere(bad)
        at = places[places[:, 0].argmax() if timed and from_end else 0]
        index = tuple(int(i) for i in at)
        first.append((named(path), index, float(array[index]), index[0] if timed else None))
    return sorted(first, key=lambda f: (-f[3] if from_end else f[3]) if f[3] is not None else 0)


def named(path: Any) -> str:
    """A tree path as in cell['w_rec']: the first key plain, the others as one would index."""
    if not path:
        return "value"
    plain = not isinstance(path[0], jax.tree_util.SequenceKey)
    first = jax.tree_util.keystr(path[:1], simple=plain)
    return first + jax.tree_util.keystr(path[1:])
