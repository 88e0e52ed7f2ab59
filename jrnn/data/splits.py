"""Which cases are held out: at random for separate cases, by time for windows of one series."""

from __future__ import annotations

import numpy as np

from jrnn.types import InputError

HELD_OUT = 0.2


def random_split(cases: int, seed: int, labels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Train and test indices, both shuffled: together every case once, about 20 % in test.

    Args:
      cases: how many there are, at least 2.
      seed: the same seed gives the same split.
      labels: [cases]; with these every class is split 80 / 20 to within one case.
    Raises:
      InputError: fewer than two cases.
    """
    if cases < 2:
        raise InputError("x", f"{cases} case", "at least 2: one to train on, one to hold out")
    # Not scikit-learn's stratified split: a saved model is evaluated on the split that its seed makes again, and under
    # another rule cases that it was trained on would be held out.
    rng = np.random.default_rng(seed)
    order = rng.permutation(cases)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    # Every fifth case of an order sorted by class takes a fifth of each class.
    held = np.zeros(cases, bool)
    held[min(2, cases - 1) :: round(1 / HELD_OUT)] = True
    return rng.permutation(order[~held]), rng.permutation(order[held])


def chronological_starts(steps: int, window: int, limit: int, horizon: int = 1) -> tuple[np.ndarray, np.ndarray, int]:
    """Where windows of a series start, so that the last part is held out and no training window sees its targets.

    A window at s has inputs s..s+window-1 and targets s+1..s+window-1+horizon. With the returned boundary b every index
    of a training window is below b and every target of a test window is at b or later; windows across b are left out.

    Args:
      steps: the length of the series, at least 2 * (window + horizon) - 1.
      window: inputs in one window.
      limit: at most about this many windows in all, spread evenly.
      horizon: how many steps after each input are asked for.
    Returns:
      (training starts, test starts, b); 20 % of the windows are test windows.
    """
    count = steps - 2 * (window + horizon) + 3
    held = max(1, round(HELD_OUT * count))
    boundary = count - held + window + horizon - 1
    share = max(1, round(HELD_OUT * limit))
    train = _spread(0, count - held, limit - share)
    return train, _spread(boundary - 1, steps - window - horizon + 1, share), boundary


def _spread(first: int, stop: int, most: int) -> np.ndarray:
    return np.linspace(first, stop - 1, min(stop - first, most)).round().astype(np.int64)
