"""What helps the RNN inside a Flax model, with everything above it trained along. Digits, pixel by pixel.

The model's own code does not change but for the cell, which is an argument. `build` makes parameters and loss for a
cell; `jrnn.prescribe` races cures of the cell, at three learning rates each, and says which one helps on held-out
digits, or to keep the cell as it is.

Run: python examples/prescribe_in_flax.py [--short]
"""

import sys

import optax
from flax import nnx

import jrnn
from jrnn.interop.nnx import RNN

SHORT = "--short" in sys.argv
HIDDEN, UPDATES, CASES = (8, 18, 200) if SHORT else (32, 360, 1797)
digits = jrnn.data.load("digits")
data = digits.subset(range(CASES))
LAG = digits.x.shape[1] - 1


class Reader(nnx.Module):
    """[*B, T, 1] -> [*B, 10]."""

    def __init__(self, cell, rngs):
        self.below = nnx.Linear(1, 8, rngs=rngs)
        self.rnn = RNN(cell, 8, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, 10, rngs=rngs)

    def __call__(self, xs):
        return self.head(self.rnn(nnx.tanh(self.below(xs)))[..., -1, :])


def build(cell, key):
    """(params, loss(params, batch, key)) of the whole model around a cell."""
    graph, params = nnx.split(Reader(cell, nnx.Rngs(key)), nnx.Param)

    def loss(params, batch, key):
        logits = nnx.merge(graph, params)(batch["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return params, loss


found = jrnn.prescribe(
    jrnn.lstm(HIDDEN), data, None, build=build, lag=LAG, updates=UPDATES, learning_rate=3e-3, batch_size=64,
    candidates=[f"chrono:{LAG}"] if SHORT else [f"chrono:{LAG}", f"uniform-gate:{LAG}", f"min-gru:{LAG}"], say=print,
)  # fmt: skip
print(f"\n{found.sentence}\n{found.evidence}\n\n{found.recipe}")
for row in found.table:
    print(f"{row.cure:18} rate {row.learning_rate:8.2g}  held-out loss {row.loss:.3f}  {row.milliseconds:.1f} ms")
