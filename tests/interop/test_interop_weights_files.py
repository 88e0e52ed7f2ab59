"""Files of weights with bytes changed at random: read, or refused by name, and nothing else."""

import random

import numpy as np
import pytest

import jrnn
from jrnn.interop import weights
from tests.bad_input.weights import model, state

READERS = {
    "a.onnx": weights.load_onnx,
    "a.npz": lambda path: weights.from_torch(weights.load_npz(path)),
    "a.safetensors": lambda path: weights.from_torch(weights.load_safetensors(path)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_changed_bytes(name, tmp_path):
    model(tmp_path, direction="reverse", activations=["Sigmoid", "Tanh", "Tanh"])
    np.savez(tmp_path / "a.npz", **state())
    weights.save_safetensors(tmp_path / "a.safetensors", state())
    whole, draw, refused = (tmp_path / name).read_bytes(), random.Random(1), 0
    READERS[name](tmp_path / name)
    for _ in range(200):
        data = bytearray(whole)
        for place in draw.sample(range(len(data)), draw.choice([1, 2, 5])):
            data[place] = draw.choice([0, 1, 127, 255, draw.randrange(256), data[place] ^ 1 << draw.randrange(8)])
        (tmp_path / name).write_bytes(data if draw.random() < 0.9 else data[: draw.randrange(len(data))])
        try:
            READERS[name](tmp_path / name)
        except jrnn.InputError:
            refused += 1
    assert 20 < refused < 200
