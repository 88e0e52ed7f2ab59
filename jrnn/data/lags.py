"""The lag a task needs, measured on the data, with one sentence that says how."""

from __future__ import annotations

import numpy as np

from jrnn.data.periods import typical_period

SYMBOLS = 100  # rarer symbols are counted as one, which bounds the table of pairs
SHUFFLES = 4


def whole_sequence_lag(x: np.ndarray, lengths: np.ndarray | None) -> tuple[int, str]:
    """For an answer at the end: from the last valid step back to the first whose input varies between cases.

    Args:
      x: [cases, T, F]; lengths: [cases] or None. With lengths the median one stands for the last step.
    Returns:
      (lag, reason); T - 1 where no step varies.
    """
    steps = x.shape[1]
    valid = np.ones(x.shape[:2], bool) if lengths is None else np.arange(steps) < lengths[:, None]
    high = np.where(valid[:, :, None], x, -np.inf).max(0)
    low = np.where(valid[:, :, None], x, np.inf).min(0)
    varies = np.flatnonzero((high > low).any(-1))
    if not len(varies):
        return _within(steps - 1, steps), "no step's input varies between cases, so the whole sequence: T - 1"
    first = int(varies[0])
    last = steps - 1 if lengths is None else int(np.median(lengths)) - 1
    ends = f"the answer comes at step {last}" + (" (the median length)" if lengths is not None else "")
    return _within(last - first, steps), f"{ends} and inputs first vary between cases at step {first}"


def period_lag(x: np.ndarray, steps: int, lengths: np.ndarray | None = None) -> tuple[int, str]:
    """For a forecast: the typical period of x [cases, time, F], at most steps - 1; that where none is clear."""
    valid = None if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
    return lag_of_period(*typical_period(x, valid), steps)


def lag_of_period(period: int | None, clause: str, steps: int) -> tuple[int, str]:
    """What `typical_period` says as a lag within T = steps, with its sentence."""
    if period is None:
        return _within(steps - 1, steps), f"{clause}, so the whole window: T - 1"
    return _within(period, steps), clause + (", cut to T - 1" if period > steps - 1 else "")


def one_hot_symbols(x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray | None:
    """The symbols [cases, T] of a one-hot x [cases, T, V], or None where a valid step is not one-hot or V = 1."""
    valid = slice(None) if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
    steps = x[valid]
    one_hot = x.shape[2] > 1 and bool(((steps == 0) | (steps == 1)).all() and (steps.sum(-1) == 1).all())
    return x.argmax(-1) if one_hot else None


def information_lag(source: np.ndarray, target: np.ndarray, lengths: np.ndarray | None = None) -> tuple[int, str]:
    """The largest lag at which `source` clearly informs about `target`, by mutual information.

    Clear is ten standard deviations above the floor: the same with each case's sources shuffled in time, which keeps
    what kind of case it is and loses the order.

    Args:
      source, target: integers >= 0 [cases, T]: x_{t-lag} and what is asked for at t.
      lengths: [cases] or None.
    Returns:
      (lag, reason); T - 1 where no lag stands out, not even 0.
    """
    steps = source.shape[1]
    # The cost grows with cases * T * T; evenly chosen cases keep it to a few seconds.
    chosen = np.unique(np.linspace(0, len(source) - 1, min(len(source), max(1, 10**8 // steps**2))).astype(int))
    source, target = _common_symbols(source[chosen]), _common_symbols(target[chosen])
    valid = np.arange(steps) < (np.full(len(chosen), steps) if lengths is None else lengths[chosen])[:, None]
    rng = np.random.default_rng(0)
    # Padding is given a random key above every valid one, so that a sort shuffles the valid steps among themselves.
    shuffled = [
        np.take_along_axis(source, np.argsort(rng.random(source.shape) + ~valid, axis=1), 1) for _ in range(SHUFFLES)
    ]
    seen, floor = np.zeros(steps), np.zeros((steps, SHUFFLES))
    for lag in range(steps):
        pairs = valid[:, lag:]
        asked = target[:, lag:][pairs]
        seen[lag] = _mutual_information(asked, source[:, : steps - lag][pairs])
        floor[lag] = [_mutual_information(asked, other[:, : steps - lag][pairs]) for other in shuffled]
    mean = floor.mean(1)
    # The spread relative to the floor is much the same at every lag; pooled, four shuffles are enough.
    known = mean > 1e-12
    spread = np.sqrt(np.mean((floor[known].std(1, ddof=1) / mean[known]) ** 2)) if known.any() else 0.0
    clear = np.flatnonzero(seen > mean * (1 + 10 * spread) + 1e-9)
    if not len(clear):
        return _within(steps - 1, steps), "no lag's mutual information stands out, so the whole sequence: T - 1"
    lag = _within(int(clear[-1]), steps)
    return lag, f"the largest lag with mutual information clearly above its shuffled floor is {clear[-1]} steps"


def _mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    if not a.size:
        return 0.0
    joint = np.bincount(a * SYMBOLS + b, minlength=SYMBOLS**2).reshape(SYMBOLS, SYMBOLS) / a.size
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    met = joint > 0
    return float((joint[met] * np.log(joint[met] / apart[met])).sum())


def _common_symbols(symbols: np.ndarray) -> np.ndarray:
    _, index, counts = np.unique(symbols, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    return np.minimum(rank[index].reshape(symbols.shape), SYMBOLS - 1)


def _within(lag: int, steps: int) -> int:
    return min(max(lag, 1), steps - 1)
