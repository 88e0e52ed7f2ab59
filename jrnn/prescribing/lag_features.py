"""What a linear predictor is given of the last steps before an answer: sums over stretches of lags, and single lags."""

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from jrnn.prescribing.lag_samples import Samples

PRODUCTS, CHANNELS = 4, 16
"""Up to so many inputs have their products too; of more inputs than CHANNELS the main components are taken."""
SINGLE = 8
"""Lags that are looked at alone."""
SEEN = 200_000
"""Steps at most that the scale of the inputs is taken from."""


@dataclass(frozen=True)
class LagFeatures:
    """z(x) of a step, and which lags a predictor is given."""

    mean: np.ndarray
    basis: np.ndarray
    """[F, C]: channels (x - mean) basis."""
    centre: np.ndarray
    """[D]: the mean of z: a step that is not there counts as a mean one, 0."""
    lag: int
    steps: int
    """T: the longest window."""
    single: tuple[int, ...] = ()
    """Lags whose z is given alone."""

    @classmethod
    def of(cls, train: Samples, target: np.ndarray, lag: int) -> "LagFeatures":
        """The features of these inputs; the single lags are those that explain most of the target."""
        x = train.x.reshape(-1, train.x.shape[2])
        x = x[:: max(1, len(x) // SEEN)].astype(np.float64)
        mean, spread = x.mean(axis=0), x.std(axis=0)
        basis = np.diag(inverse(spread, 1e-9 * np.abs(x).max(initial=0.0)))
        if len(mean) > CHANNELS:
            scaled = (x - mean) @ basis
            basis = basis @ np.linalg.eigh(scaled.T @ scaled)[1][:, -CHANNELS:]
        steps = max(int(train.times.max()) + 1, lag + 1)
        found = cls(mean, basis, np.zeros(1), lag, steps)
        found = replace(found, centre=found.z((x - mean) @ basis).mean(axis=0))
        channels = found.channels(train)
        alone = [correlation(found.at(train, channels, j), target) for j in range(steps)]
        return replace(found, single=tuple(sorted(sorted(range(steps), key=lambda j: -alone[j])[:SINGLE])))

    def channels(self, samples: Samples) -> np.ndarray:
        """[cases, T, C] of these inputs."""
        return ((samples.x - self.mean.astype(np.float32)) @ self.basis.astype(np.float32)).astype(np.float32)

    def z(self, channels: np.ndarray) -> np.ndarray:
        """[..., D]: the channels [..., C], and of a few the products of any two."""
        count = channels.shape[-1]
        pairs = combinations_with_replacement(range(count), 2) if count <= PRODUCTS else ()
        products = [channels[..., i, None] * channels[..., j, None] for i, j in pairs]
        return np.concatenate([channels, *products], axis=-1) - self.centre

    @property
    def windows(self) -> list[int]:
        """Numbers of last steps: powers of 2, L, L + 1 and T."""
        powers = [2**i for i in range(self.steps.bit_length()) if 2**i < self.steps]
        return sorted({*powers, self.lag, self.lag + 1, self.steps})

    def at(self, samples: Samples, channels: np.ndarray, lag: int) -> np.ndarray:
        """[n, D]: z so many steps before each answer; 0 before the sequence."""
        times = samples.times - lag
        found = self.z(channels[samples.cases, np.maximum(times, 0)].astype(np.float64))
        return np.where((times >= 0)[:, None], found, 0.0)

    def given(self, samples: Samples) -> "Given":
        """What predictors are made from."""
        edges = [0, *self.windows]
        sums = np.zeros((len(self.windows), len(samples.y), len(self.centre)))
        alone, channels = {}, self.channels(samples)
        for i, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            for lag in range(low, high):
                z = self.at(samples, channels, lag)
                sums[i] += z
                if lag in self.single:
                    alone[lag] = z
        return Given(sums, alone)


class Given(NamedTuple):
    """z of some answers."""

    sums: np.ndarray
    """[windows, n, D]: of the lags that each window adds to the one before."""
    alone: dict[int, np.ndarray]
    """[n, D], by lag."""

    def sum_of(self, place: int) -> np.ndarray:
        """[n, D]: the sum over all lags of the window at this place, -1 the longest."""
        return self.sums[: place % len(self.sums) + 1].sum(axis=0)

    def of_window(self, place: int, k: int) -> np.ndarray:
        """[n, P]: what a predictor from the last k steps is given; `place` is that of k among the windows."""
        return np.concatenate([*self.sums[: place + 1], *(z for lag, z in self.alone.items() if lag < k)], axis=1)


def correlation(features: np.ndarray, target: np.ndarray) -> float:
    """The largest squared correlation of a feature [n, D] with a target [n, K], both without their mean."""
    centred = features - features.mean(axis=0)
    scale = inverse(centred.std(axis=0), 1e-9) * inverse(target.std(axis=0), 1e-300)[:, None]
    return float(np.max((target.T @ centred * scale / len(target)) ** 2, initial=0.0))


class Fit(NamedTuple):
    """f = (features - mean) slopes."""

    mean: np.ndarray
    slopes: np.ndarray
    """[P, K]."""

    @classmethod
    def of(cls, features: np.ndarray, target: np.ndarray) -> "Fit":
        """Least squares of [n, K] by [n, P], with a ridge of P / n on features of variance 1."""
        mean, spread = features.mean(axis=0), features.std(axis=0)
        scale = inverse(spread, 1e-6 * spread.max(initial=0.0))
        scaled, (count, used) = (features - mean) * scale, features.shape
        gram = scaled.T @ scaled / count + used / count * np.eye(used)
        return cls(mean, np.linalg.solve(gram, scaled.T @ target / count) * scale[:, None])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) @ self.slopes


def inverse(spread: np.ndarray, least: float) -> np.ndarray:
    """1 / spread; 0 of what hardly varies."""
    return np.where(spread > least, 1 / np.where(spread > least, spread, 1.0), 0.0)
