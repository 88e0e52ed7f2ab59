"""One piece of the race: some updates of one arm for a few seeds. A function of picklable values, so that any executor
can run it."""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.cures.base import Cure, apply_to_cell
from jrnn.prescribing.blame import is_users
from jrnn.prescribing.problem import Plan, held_out_loss, needs_noise, own_loss, shares, update
from jrnn.training.batches import time_major, two_epochs
from jrnn.training.random_streams import RandomStream, stream_key
from jrnn.training.training_step import StepKeys
from jrnn.training.weights import cured_weights, initial_weights
from jrnn.types import Array

SKIPPED = 10
"""A run whose last so many updates were all skipped, for a NaN or Inf, has diverged."""


class Job(NamedTuple):
    """What is to be done."""

    cell: Any
    """As the user gave it; the cures are applied by the job."""
    cures: tuple[Cure, ...]
    rate: float
    """The learning rate."""
    plan: Plan
    train: Any
    """Arrays of cases, or a function data(step) -> batch."""
    held_out: dict[str, dict[str, np.ndarray]]
    """Named sets of batches, with an axis of batches in front: the first is evaluated after every interval, the others
    at the end."""
    batch_size: int
    seeds: tuple[int, ...]
    first: int
    """Updates done before."""
    last: int
    """Updates done after."""
    interval: int
    """Updates from one evaluation to the next."""
    carry: Any = None
    """Weights and optimizer state, seeds in front; None to start."""
    lag: int | None = None
    """Where what arrives is measured, before and after; None: nowhere."""
    stop_below: float | None = None
    """A loss on the first set below which a seed has solved the problem: ends when all have."""


class Outcome(NamedTuple):
    """What came of it, as NumPy arrays."""

    carry: Any
    losses: dict[str, np.ndarray]
    """Of each set, [evaluations, seeds]; of the first also before the first update, where the job starts there."""
    shares: np.ndarray
    """[2]: before and after, the median over seeds; NaN where not measured."""
    diverged: np.ndarray
    """[seeds] of bool."""
    seconds: float
    """Of one update of all seeds, the median; without the first, which may be compiled."""
    evaluating: float
    """Of one evaluation, the fastest."""
    updates: np.ndarray
    """[seeds]: the updates done from the start."""


class Failure(NamedTuple):
    """An arm that could not be run."""

    why: str
    """The exception in a line."""


def attempt(job: Job) -> Outcome | Failure:
    """`run_job`, or why the arm failed. What the user's own code raises (`build`, the loss, a function that gives
    batches, the optimizer) is raised, and so is what the network as it is runs into: no cure is to blame for it."""
    try:
        return run_job(job)
    except Exception as error:
        plan = job.plan
        own = [plan.objective, job.train, plan.optimizer, plan.build]
        own += [] if plan.build is None else [own_loss(plan.build, job.cell)]
        if not job.cures or is_users(error, tuple(each for each in own if callable(each))):
            raise
        return Failure(type(error).__name__ + "".join(f": {line}" for line in str(error).strip().splitlines()[:1]))


def run_job(job: Job) -> Outcome:
    """Trains the arm for job.last - job.first updates."""
    cell = apply_to_cell(job.cures, job.cell)
    batches = SeedBatches(job.train, job.batch_size, job.seeds)
    carry = started(job, cell, batches) if job.carry is None else jax.tree.map(jnp.array, job.carry)
    sets = {name: jax.tree.map(jnp.asarray, arrays) for name, arrays in job.held_out.items()}
    (name, watched), *others = sets.items()
    watch, updating = Stopwatch(), Stopwatch()

    def evaluated(arrays: Any) -> np.ndarray:
        return np.asarray(held_out_loss(cell, job.plan, carry[0], arrays), np.float64)

    measured, done = [share_now(job, cell, carry, watched)], job.first
    losses = [] if job.carry is not None else [evaluated(watched)]
    for start in range(job.first, job.last, job.interval):
        for index in range(start, min(start + job.interval, job.last)):
            with updating:
                carry, _ = update(cell, job.plan, carry, job.rate, batches.at(index), keys_at(job, cell, index))
                jax.block_until_ready(carry)
            done = index + 1
        with watch:
            losses.append(evaluated(watched))
        if job.stop_below is not None and (np.minimum.reduce(losses) < job.stop_below).all():
            break
    measured.append(share_now(job, cell, carry, watched))
    every = {name: np.stack(losses), **{other: evaluated(arrays)[None] for other, arrays in others}}
    diverged = (np.asarray(carry[1].consecutive) >= SKIPPED) | ~np.isfinite(losses[-1])
    return Outcome(
        jax.device_get(carry),
        every,
        np.array(measured),
        diverged,
        updating.typical,
        min(watch.laps, default=0.0),
        np.full(len(job.seeds), done),
    )


class Stopwatch:
    """Seconds of the blocks it is entered for."""

    def __init__(self):
        self.laps: list[float] = []

    def __enter__(self) -> None:
        self.begun = time.perf_counter()

    def __exit__(self, *raised: object) -> None:
        self.laps.append(time.perf_counter() - self.begun)

    @property
    def typical(self) -> float:
        """The median, without the first, which may be compiled; NaN of none."""
        return float(np.median(self.laps[1:] or self.laps)) if self.laps else float("nan")


def started(job: Job, cell: Any, batches: "SeedBatches") -> Any:
    """Weights and optimizer state of every seed before its first update, as `fit` makes them, stacked."""
    optimizer, _ = job.plan.chain(job.rate)
    carries = []
    for row, seed in enumerate(job.seeds):
        if job.plan.build is not None:
            weights = job.plan.build(cell, stream_key(seed, RandomStream.PARAMS))[0]
        else:
            batch = batches.one(row, job.plan)
            weights = initial_weights(cell, job.plan.objective, None, None, batch, seed)
            if any(cure.measures for cure in job.cures):
                weights = cured_weights(job.cures, cell, weights, batch, seed)
        carries.append((weights, optimizer.init(weights)))
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *carries)


def share_now(job: Job, cell: Any, carry: Any, arrays: Any) -> float:
    """What arrives at the lag: the median over seeds, on a few held-out cases."""
    if job.lag is None:
        return float("nan")
    batch = jax.tree.map(lambda a: a[0], arrays)
    return float(np.median(np.asarray(shares(cell, job.plan, carry[0], batch, job.lag))))


def keys_at(job: Job, cell: Any, index: int) -> StepKeys:
    """The random numbers of an update, as `fit` draws them, seeds in front."""
    noise = streams(job.seeds, RandomStream.NOISE, index) if needs_noise(cell, job.plan) else None
    penalties = streams(job.seeds, RandomStream.PENALTIES, index) if job.plan.cures else None
    return StepKeys(noise, None, penalties)


def streams(seeds: tuple[int, ...], stream: RandomStream, index: int) -> Array:
    """The keys of one update, [seeds]."""
    return jnp.stack([stream_key(seed, stream, index) for seed in seeds])


class SeedBatches:
    """The batches of several seeds side by side: the cases that `fit` with each seed would draw, [seeds, B, ...]."""

    def __init__(self, train: Any, batch_size: int, seeds: tuple[int, ...]):
        self.train, self.seeds = train, seeds
        self.drawn: tuple[int, Array] | None = None
        if not callable(train):
            self.arrays = jax.tree.map(jnp.asarray, train)
            self.cases = len(next(iter(train.values())))
            self.batch_size = min(batch_size, self.cases)

    def at(self, index: int) -> Any:
        """The batch of an update, seeds in front."""
        if callable(self.train):
            given: Any = self.train(index)
            batch = {name: array for name, array in given.items() if array is not None}
            return jax.tree.map(lambda a: jnp.broadcast_to(a, (len(self.seeds), *jnp.shape(a))), batch)
        epoch, offset = divmod(index * self.batch_size, self.cases)
        if self.drawn is None or self.drawn[0] != epoch:
            keys = [stream_key(seed, RandomStream.BATCHES) for seed in self.seeds]
            self.drawn = epoch, jnp.stack([two_epochs(key, epoch, self.cases) for key in keys])
        return rows_of(self.arrays, self.drawn[1], np.int32(offset), self.batch_size)

    def one(self, row: int, plan: Plan) -> dict[str, Any]:
        """The first batch of one seed, as the loss takes it."""
        batch = jax.tree.map(lambda a: a[row], self.at(0))
        return batch if plan.as_given else time_major(batch, plan.each)


@partial(jax.jit, static_argnums=3)
def rows_of(arrays: Any, orders: Array, offset: Any, batch_size: int) -> Any:
    """The cases orders[:, offset : offset + B] of each array, [seeds, B, ...]."""
    rows = jax.lax.dynamic_slice_in_dim(orders, offset, batch_size, axis=1)
    return jax.tree.map(lambda array: jnp.take(array, rows, axis=0), arrays)
