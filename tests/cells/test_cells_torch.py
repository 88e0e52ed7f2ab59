"""PyTorch on the CPU as the oracle: values and every gradient of RNN, LSTM and GRU, stacked and bidirectional.

The loss is the inner product of random cotangents with all outputs and the final state; compared are the gradients of
every parameter, of the inputs and of the initial state, float64. Weights go both ways through the documented layout.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cells import torch_layout
from tests.cells.cases import inner

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed here")

T, B, F, H = 7, 3, 4, 5
CLOSE = {"rtol": 1e-11, "atol": 1e-12}
KINDS = {
    "rnn_tanh": (lambda: jrnn.elman(H), lambda **o: torch.nn.RNN(F, H, nonlinearity="tanh", **o)),
    "rnn_relu": (lambda: jrnn.elman(H, "relu"), lambda **o: torch.nn.RNN(F, H, nonlinearity="relu", **o)),
    "lstm": (lambda: jrnn.lstm(H), lambda **o: torch.nn.LSTM(F, H, **o)),
    "gru": (lambda: jrnn.gru(H), lambda **o: torch.nn.GRU(F, H, **o)),
}
NETWORKS = [(kind, layers, both) for kind in KINDS for layers, both in ((1, False), (3, False), (1, True), (2, True))]
NETWORKS = [n for n in NETWORKS if n[0] != "rnn_relu" or n[1:] in ((1, False), (2, True))]  # as tanh, but for the kink


def pair(kind, layers, both, **options):
    """The same network in jrnn and in PyTorch (which draws its own weights)."""
    make, module = KINDS[kind]
    cells = [jrnn.Bidirectional(make()) if both else make() for _ in range(layers)]
    torch.manual_seed(7)
    network = module(num_layers=layers, bidirectional=both, dtype=torch.float64, **options)
    return (cells[0] if layers == 1 else jrnn.stack(*cells)), network


def to_states(kind, both, layers, arrays):
    """PyTorch's h (and c), [layers * directions, B, H] each, as a jrnn state."""
    wrap = {"lstm": jrnn.LSTMState, "gru": jrnn.GRUState}.get(kind, jrnn.ElmanState)
    ones = [wrap(*parts) for parts in zip(*arrays, strict=True)]
    if both:
        ones = [jrnn.BidirectionalState(*ones[i : i + 2]) for i in range(0, 2 * layers, 2)]
    return ones[0] if layers == 1 else tuple(ones)


def from_states(state):
    """The inverse: h (and c) stacked over layers and directions."""
    leaves = jax.tree.leaves(state, is_leaf=lambda s: hasattr(s, "h"))
    return [np.stack(parts) for parts in zip(*leaves, strict=True)]


@jax.jit
def pulled_back(cell, params, xs, state, lengths, cotangents):
    """Outputs, final state, and the gradients of params, xs and initial state."""

    def f(params, xs, state):
        unrolled = jrnn.unroll(cell, params, xs, initial_state=state, lengths=lengths)
        return unrolled.outputs, unrolled.final_state

    value, pull = jax.vjp(f, params, xs, state)
    return value, pull(cotangents)


def compare(kind, layers, both, cell, network, params, lengths=None, batch_first=False):
    """Both networks on the same random sequences and cotangents."""
    rng = np.random.default_rng(3)
    many, width = layers * (2 if both else 1), H * (2 if both else 1)
    x, ct = rng.normal(size=(T, B, F)), rng.normal(size=(T, B, width))
    if lengths is not None:
        ct *= (np.arange(T)[:, None] < lengths)[..., None]
    parts = 2 if kind == "lstm" else 1
    start, ct_final = rng.normal(size=(2, parts, many, B, H))

    leaf_x = torch.tensor(x.swapaxes(0, 1).copy() if batch_first else x, requires_grad=True)
    leaf_start = [torch.tensor(part, requires_grad=True) for part in start]
    given = leaf_x
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            leaf_x, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False
        )
    outputs, final = network(given, tuple(leaf_start) if kind == "lstm" else leaf_start[0])
    if lengths is not None:
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=batch_first, total_length=T)
    final = list(final) if kind == "lstm" else [final]
    if batch_first:
        outputs = outputs.transpose(0, 1)
    loss = (outputs * torch.tensor(ct)).sum()
    for part, weight in zip(final, ct_final, strict=True):
        loss = loss + (part * torch.tensor(weight)).sum()
    network.zero_grad()
    loss.backward()

    (ys, last), (of_params, of_xs, of_state) = pulled_back(
        cell, params, x, to_states(kind, both, layers, start), lengths, (ct, to_states(kind, both, layers, ct_final))
    )
    np.testing.assert_allclose(ys, outputs.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(from_states(last), [part.detach().numpy() for part in final], **CLOSE)
    of_x = leaf_x.grad.numpy()
    np.testing.assert_allclose(of_xs, of_x.swapaxes(0, 1) if batch_first else of_x, **CLOSE)
    np.testing.assert_allclose(from_states(of_state), [part.grad.numpy() for part in leaf_start], **CLOSE)
    expected = torch_layout.gradients(network)
    assert jax.tree.structure(of_params) == jax.tree.structure(expected)
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, **CLOSE), of_params, expected)
    assert all(np.all(np.any(np.asarray(leaf) != 0, axis=0)) for leaf in jax.tree.leaves(expected))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: f"{n[0]}_{n[1]}{'_both' if n[2] else ''}")
def test_values_and_gradients(network):
    kind, layers, both = network
    cell, module = pair(*network)
    compare(*network, cell, module, torch_layout.from_torch(module))  # PyTorch's own weights in jrnn
    shapes = jax.eval_shape(lambda key: cell.init(key, F), jax.random.key(0))
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda a: 0.5 * rng.normal(size=a.shape), shapes)
    torch_layout.to_torch(torch, module, params, 6)
    compare(*network, cell, module, params)  # and jrnn's in PyTorch


@pytest.mark.parametrize("network", [("lstm", 2, True), ("gru", 3, False)], ids=lambda n: n[0])
def test_packed_sequences(network):
    """Lengths are PyTorch's packed sequences, the backward direction from each sequence's own end."""
    cell, module = pair(*network, batch_first=True)
    params = torch_layout.from_torch(module)
    compare(*network, cell, module, params, lengths=np.array([4, 7, 1]), batch_first=True)


def test_batch_first_is_time_axis_1():
    cell, module = pair("lstm", 1, False, batch_first=True)
    x = np.random.default_rng(0).normal(size=(B, T, F))
    expected = module(torch.tensor(x))[0].detach().numpy()
    unrolled = jrnn.unroll(cell, torch_layout.from_torch(module), x, time_axis=1)
    np.testing.assert_allclose(unrolled.outputs, expected, **CLOSE)


def test_streaming_is_the_torch_cell():
    """Step by step, `jrnn.step` equals `torch.nn.LSTMCell`."""
    torch.manual_seed(1)
    module = torch.nn.LSTMCell(F, H, dtype=torch.float64)
    params = {
        "w_in": module.weight_ih.detach().numpy().T,
        "w_rec": module.weight_hh.detach().numpy().T,
        "bias": (module.bias_ih + module.bias_hh).detach().numpy(),
    }
    cell = jrnn.lstm(H)
    h = c = torch.zeros(B, H, dtype=torch.float64)
    state = cell.initial_state(params, (B,))
    for x in np.random.default_rng(0).normal(size=(T, B, F)):
        h, c = module(torch.tensor(x), (h, c))
        state, y = jrnn.step(cell, params, state, x)
        np.testing.assert_allclose(y, h.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(state.c, c.detach().numpy(), **CLOSE)


def test_layer_norm():
    """Values and every gradient of `layer_norm` against torch.nn.functional.layer_norm on the same outputs."""
    cell = jrnn.layer_norm(jrnn.elman(H))
    rng = np.random.default_rng(0)
    h, scale, bias, ct = rng.normal(size=(2, H)), rng.normal(size=H), rng.normal(size=H), rng.normal(size=(2, H))
    h *= 1e-2  # so small that epsilon counts

    def normalised(h, scale, bias):
        return cell.output({"cell": None, "scale": scale, "bias": bias}, jrnn.ElmanState(h), None)

    y, pull = jax.vjp(normalised, *map(jnp.asarray, (h, scale, bias)))
    leaves = [torch.tensor(a, requires_grad=True) for a in (h, scale, bias)]
    expected = torch.nn.functional.layer_norm(leaves[0], (H,), leaves[1], leaves[2], eps=1e-5)
    (expected * torch.tensor(ct)).sum().backward()
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-11)
    for got, leaf in zip(pull(jnp.asarray(ct)), leaves, strict=True):
        np.testing.assert_allclose(got, leaf.grad.numpy(), **CLOSE)


def test_cotangents_reach_the_loss():
    """The inner product of these tests sees every leaf."""
    assert inner({"a": np.ones(2), "b": np.ones(3)}, {"a": np.ones(2), "b": 2 * np.ones(3)}) == 8
