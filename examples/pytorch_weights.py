"""A PyTorch model's weights, diagnosed and mended without PyTorch.

A state_dict is named arrays. In a process with PyTorch:

    numpy.savez("model.npz", **{name: tensor.numpy() for name, tensor in model.state_dict().items()})

Here such a file is made as PyTorch draws it: an LSTM and a linear layer, all weights uniform within 1/sqrt(H). How
much of the answer's gradient reaches the first pixels of a digit, 64 steps back? Biases mend it, and the file goes back
to PyTorch with `load_state_dict`.

Run: python examples/pytorch_weights.py [--short]
"""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax

import jrnn
from jrnn.data import load
from jrnn.interop import weights

SHORT = "--short" in sys.argv
HIDDEN, SEEN = (16, 4) if SHORT else (64, 32)
data = load("digits")
xs, labels = np.swapaxes(data.x[data.test[:SEEN]], 0, 1), data.y[data.test[:SEEN]]
T = len(xs)


def as_pytorch_draws_it(draws, features, hidden, classes):
    """The state_dict of a module with `rnn = nn.LSTM(features, hidden)` and `head = nn.Linear(hidden, classes)`."""
    shapes = {
        "rnn.weight_ih_l0": (4 * hidden, features),
        "rnn.weight_hh_l0": (4 * hidden, hidden),
        "rnn.bias_ih_l0": (4 * hidden,),
        "rnn.bias_hh_l0": (4 * hidden,),
        "head.weight": (classes, hidden),
        "head.bias": (classes,),
    }
    bound = hidden**-0.5
    return {name: draws.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}


def diagnose(path):
    """How much of the gradient of the answer reaches so many steps back, and the verdict for the first pixel."""
    arrays = weights.load_npz(path)
    cell, params = weights.from_torch(arrays, prefix="rnn.")

    def loss(run):
        logits = run.last @ arrays["head.weight"].T + arrays["head.bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    followed = jax.jit(lambda params, xs: jrnn.gradient_flow(cell, params, xs, loss, output_times=[T]))
    flow = followed(params, xs)
    shares = ", ".join(f"lag {lag}: {flow.verdict(lag).arriving:.2g}" for lag in (8, 32, T - 1))
    print(f"  {shares}; {flow.verdict(T - 1).kind}")


folder = Path(tempfile.mkdtemp())
arrays = as_pytorch_draws_it(np.random.default_rng(0), 1, HIDDEN, 10)
np.savez(folder / "model.npz", **arrays)
print("as PyTorch draws it")
diagnose(folder / "model.npz")

forget = slice(HIDDEN, 2 * HIDDEN)  # PyTorch's gates are i, f, g, o
times = np.random.default_rng(1).uniform(1, T - 1, HIDDEN).astype(np.float32)
arrays["rnn.bias_hh_l0"][forget] += np.log(times)
arrays["rnn.bias_hh_l0"][:HIDDEN] -= np.log(times)
np.savez(folder / "mended.npz", **arrays)
print("with chrono biases: the forget gate open for 1 to T steps, the input gate shut for as long")
diagnose(folder / "mended.npz")
print(f"the whole report:\n  jrnn diagnose --model {folder / 'mended.npz'} --data digits --rnn rnn --head head")
print(f"PyTorch was {'imported' if 'torch' in sys.modules else 'not needed'}")
