"""A Flax nnx model with jrnn inside, trained on real data, and where its gradient goes. Digits, pixel by pixel.

Each 8x8 digit is read as 64 steps; the class is asked for at the end. The model is plain Flax: a layer below, jrnn's
RNN in the place of `nnx.RNN`, a layer above. `tap_nnx` finds the RNN inside; the model is not rewritten for it.

Run: python examples/digits_in_flax.py [--short]
"""

import sys

import numpy as np
import optax
from flax import nnx

import jrnn
from jrnn.data import load
from jrnn.interop import tap_nnx
from jrnn.interop.nnx import RNN

SHORT = "--short" in sys.argv
STEPS, HIDDEN, BATCH, SEEN = (5, 16, 32, 4) if SHORT else (600, 32, 64, 32)
data = load("digits")
x, y = data.x[data.train], data.y[data.train]
test_x, test_y = data.x[data.test], data.y[data.test]
T = x.shape[1]


class Reader(nnx.Module):
    """[*B, T, 1] -> [*B, 10]."""

    def __init__(self, cell, rngs):
        self.below = nnx.Linear(1, 8, rngs=rngs)
        self.rnn = RNN(cell, 8, return_carry=True, rngs=rngs)
        self.head = nnx.Linear(HIDDEN, 10, rngs=rngs)

    def __call__(self, xs):
        _, ys = self.rnn(nnx.tanh(self.below(xs)))
        return self.head(ys[..., -1, :])


def loss_fn(model, xs, labels):
    return optax.softmax_cross_entropy_with_integer_labels(model(xs), labels).mean()


@nnx.jit
def train(model, optimizer, xs, labels):
    loss, grads = nnx.value_and_grad(loss_fn)(model, xs, labels)
    optimizer.update(model, grads)
    return loss


@nnx.jit
def flow_inside(model, xs, labels):
    tapped = tap_nnx(lambda model: loss_fn(model, xs, labels), model)
    return jrnn.gradient_flow(tapped.cell, tapped.params, tapped.xs, tapped.loss, output_times=[T])


def diagnose(model):
    """How much of the gradient of the answer reaches each earlier step of held-out digits, and the verdict on it."""
    flow = flow_inside(model, test_x[:SEEN], test_y[:SEEN])
    arrives = np.median(flow.credit[0, :0:-1] / flow.credit[0, T], axis=-1)  # by lag; the median digit
    shares = ", ".join(f"lag {lag}: {arrives[lag]:.2g}" for lag in (8, 32, T - 1))
    return f"{shares}; {flow.verdict(T - 1).kind}"


CELLS = {"Elman": jrnn.elman(HIDDEN), "LSTM, chrono bias": jrnn.lstm(HIDDEN, bias=jrnn.initializers.chrono(T))}
for name, cell in list(CELLS.items())[SHORT:]:
    model = Reader(cell, nnx.Rngs(0))
    chain = jrnn.skip_nonfinite(optax.chain(jrnn.clip_by_global_norm(1.0), optax.adam(3e-3)))
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)
    print(f"{name}\n  as it starts: {diagnose(model)}")
    draws = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = draws.choice(len(x), BATCH, replace=False)
        loss = train(model, optimizer, x[batch], y[batch])
    print(f"  after {STEPS} updates: {diagnose(model)}")
    right = np.mean(np.argmax(model(test_x), axis=-1) == test_y)
    print(f"  loss {float(loss):.2f}, {right:.0%} of the test digits right")
