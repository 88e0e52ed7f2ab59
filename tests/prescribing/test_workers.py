"""A budget is turned into more updates where an executor runs several arms at a time."""

import itertools
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import jrnn
from jrnn.prescribing import prescribe, prescription
from jrnn.prescribing.schedule import Cost, Schedule, schedule_for, side_by_side
from jrnn.prescribing.workers import workers_of
from jrnn.training import Objective
from jrnn.types import InputError


class Own(Executor):
    """Of a user's own: it tells nothing."""


def test_what_executors_tell():
    with ThreadPoolExecutor(3) as threads:
        assert workers_of(threads) == 3 and workers_of(threads, 2) == 2
    with ProcessPoolExecutor(2) as processes:
        assert workers_of(processes) == 2
    assert workers_of(None) == workers_of(Own()) == 1 and workers_of(Own(), 5) == 5
    dask = SimpleNamespace(_client=SimpleNamespace(nthreads=lambda: {"tcp://a": 2, "tcp://b": 3}))
    assert workers_of(dask) == 5
    assert workers_of(SimpleNamespace(num_workers=7)) == 7 and workers_of(SimpleNamespace(_max_workers=None)) == 1
    for given in (0, -1, 1.5, True, "2"):
        with pytest.raises(InputError, match="workers"):
            workers_of(Own(), given)
    with pytest.raises(InputError, match="an executor beside it"):
        workers_of(None, 2)


def test_jobs_side_by_side_against_plain_lists():
    """Whatever the order in which free workers take jobs, they are done by then; one worker takes the sum."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        jobs, workers = rng.uniform(0.1, 3.0, 5).tolist(), int(rng.integers(1, 7))
        for order in itertools.permutations(jobs):
            free = [0.0] * workers
            for job in order:
                free[free.index(min(free))] += job
            assert max(free) <= side_by_side(jobs, workers) + 1e-12
        assert side_by_side(jobs, 1) == pytest.approx(sum(jobs))
        assert side_by_side(jobs, 99) <= sum(jobs)
    assert side_by_side([], 3) == 0


def test_more_workers_more_updates():
    costs = [Cost(0.01, 0.05), *[Cost(0.02, 0.1)] * 8]
    updates = [schedule_for(100.0, 9, 8, costs, costs[0], workers).updates for workers in (1, 2, 4)]
    assert 1.5 * updates[0] < updates[1] < 2 * updates[0] and 1.3 * updates[1] < updates[2] < 2 * updates[1]


@pytest.mark.thorough
def test_prescribe_counts_the_workers_of_its_executor(monkeypatch):
    asked = []

    def schedule(seconds, arms, seeds, each, own, workers):
        asked.append(workers)
        return Schedule.of(18, arms, seeds)

    monkeypatch.setattr(prescription, "schedule_for", schedule)
    x = np.random.default_rng(0).choice([-1.0, 1.0], (40, 5, 1)).astype(np.float32)
    data, objective = {"x": x, "y": (x[:, 0, 0] > 0).astype(np.int32)}, Objective("classify", 2)
    with ThreadPoolExecutor(2) as threads:
        for workers in (None, 3):
            prescribe(jrnn.elman(2), data, objective, lag=4, candidates=[], executor=threads, workers=workers)
    prescribe(jrnn.elman(2), data, objective, lag=4, candidates=[])
    assert asked == [2, 3, 1]
