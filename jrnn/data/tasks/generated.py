"""A task that makes its own sequences: fresh batches from a key, and a `Dataset` of three parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.data.dataset import Dataset, Task
from jrnn.types import Array, InputError

LONGEST_LAG = 100_000
MOST_CASES, FEWEST_CASES = 12_000, 120
MOST_VALUES = 20_000_000  # of x in a data set, 80 MB
PARTS = (10, 1, 1)  # twelfths of the cases: train, validation, test
Draw = Callable[[int, int, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class GeneratedTask:
    """A task whose answers, lag and plateau are known exactly. Hashable: equal ones share a trace.

    Fields:
      name: as `jrnn.data.load` takes it, for example "marked-bit:200".
      lag: in steps, how far back the answer lies; always the number in the name.
      steps, features: T and F.
      task, outputs, warmup: what is asked and which steps are scored, as in `Dataset`.
      plateau: the loss of the best predictor that makes no use of what lies `lag` steps back, in the loss of
        `jrnn.training.Objective`: nats for classes, mean squared error for numbers.
      plateau_reason: one sentence, what that predictor knows.
      best_loss: the least loss there is: 0 where the answer is certain, as it is but for coins.
      lag_reason, source: one sentence each.
      draw: (lag, T, key) -> (x float32 [T, F], y) of one case, a pure function.
    """

    name: str
    lag: int
    steps: int
    features: int
    task: Task
    outputs: int
    plateau: float
    plateau_reason: str
    lag_reason: str
    source: str
    draw: Draw = field(repr=False)
    warmup: int = 0
    best_loss: float = 0.0

    def batch(self, key: Array, size: int) -> dict[str, Array]:
        """A fresh batch, a pure function of the key; works inside `jit`, and `fit` takes it as a function of the step:
        `lambda step: task.batch(jax.random.fold_in(key, step), 50)`.

        Args:
          key: a PRNG key.
          size: B, a positive integer.
        Returns:
          {"x": float32 [T, B, F], "y": targets}: int32 [B] for classify, int32 [T, B] for classify_each, float32 [B, K]
          for regress, float32 [T, B, K] for regress_each.
        Raises:
          InputError: size is no positive integer.
        """
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise InputError("size", repr(size), "a positive integer, the sequences in the batch")
        x, y = drawn(self, key, int(size))
        return {"x": jnp.swapaxes(x, 0, 1), "y": jnp.swapaxes(y, 0, 1) if self.task.endswith("_each") else y}

    def dataset(self, seed: int = 0, *, cases: int | None = None) -> Dataset:
        """Sequences drawn once, for everything that takes a `Dataset`: ten twelfths to train on, one to choose by, one
        held out. Every case has a key of its own.

        Args:
          seed: a whole number >= 0.
          cases: of all parts together, at least 12; by default 12,000, fewer where T is long (at least 120).
        Raises:
          InputError: seed or cases is not such a number.
        """
        for name, given, least in (("seed", seed, 0), ("cases", cases, sum(PARTS))):
            if given is not None and (
                isinstance(given, bool) or not isinstance(given, int | np.integer) or given < least
            ):
                raise InputError(name, repr(given), f"a whole number of at least {least}")
        if cases is None:
            cases = max(FEWEST_CASES, min(MOST_CASES, MOST_VALUES // (self.steps * self.features)))
        x, y = jax.tree.map(np.asarray, drawn(self, seed_key(seed), int(cases)))
        ends = np.cumsum(PARTS)[:-1] * len(x) // sum(PARTS)
        train, validation, test = np.split(np.arange(len(x)), ends)
        return Dataset(
            self.name, x, y, None, self.task, self.outputs, train, test, self.lag, self.lag_reason, self.source,
            warmup=self.warmup, validation=validation, plateau=self.plateau, plateau_reason=self.plateau_reason,
            best_loss=self.best_loss,
        )  # fmt: skip


@partial(jax.jit, static_argnums=(0, 2))
def drawn(task: GeneratedTask, key: Array, cases: int) -> tuple[Array, Array]:
    """So many cases (x, y), the cases first."""
    return jax.vmap(partial(task.draw, task.lag, task.steps))(jax.random.split(key, cases))


def seed_key(seed: int) -> Array:
    """A key from a whole number of any size."""
    low, high = np.random.SeedSequence(int(seed)).generate_state(2)
    return jax.random.fold_in(jax.random.key(low), high)


def checked_lag(lag: int, least: int, why: str = "", most: int = LONGEST_LAG) -> int:
    """The lag as a plain int, or InputError."""
    whole = isinstance(lag, int | np.integer) and not isinstance(lag, bool)
    if not whole or not least <= lag <= most:
        raise InputError("lag", repr(lag), f"a whole number of steps from {least} to {most:,}{why}")
    return int(lag)


def signs(key: Array, steps: int) -> Array:
    """float32 [T] of -1 and 1, each as likely."""
    return (2 * jax.random.randint(key, (steps,), 0, 2, jnp.int32) - 1).astype(jnp.float32)


def marks(steps: int, *times: Array | int) -> Array:
    """float32 [T], 1 at these times and 0 elsewhere."""
    return jnp.zeros(steps, jnp.float32).at[jnp.array(times)].set(1.0)
