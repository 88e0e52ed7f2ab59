"""PyTorch's weights, in and out, against PyTorch itself."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import weights
from tests.interop.economy import jit, params_of

torch = pytest.importorskip("torch")

B, T, F, H = 3, 5, 2, 3
LENGTHS = [5, 1, 3]
MODULES = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def arrays_of(module):
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("layers, both", [(1, False), (1, True), (2, False), (2, True)])
def test_outputs_and_states_are_pytorchs(kind, layers, both):
    torch.manual_seed(0)
    for dtype, bias in ((torch.float64, True), (torch.float64, False), (torch.float32, True)):
        if (layers, both) in ((2, False), (1, True)) and not (dtype is torch.float64 and bias):
            continue
        module = MODULES[kind](F, H, layers, bias=bias, bidirectional=both, dtype=dtype)
        xs = torch.randn(T, B, F, dtype=dtype)
        packed = torch.nn.utils.rnn.pack_padded_sequence(xs, torch.tensor(LENGTHS), enforce_sorted=False)
        with torch.no_grad():
            ys, states = module(packed)
        ys = torch.nn.utils.rnn.pad_packed_sequence(ys, total_length=T)[0].numpy()
        cell, params = weights.from_torch(arrays_of(module))
        run = jit(lambda p, x, cell=cell: jrnn.unroll(cell, p, x, lengths=jnp.array(LENGTHS)))(params, xs.numpy())
        tolerance = 1e-12 if dtype is torch.float64 else 1e-6
        np.testing.assert_allclose(run.outputs, ys, rtol=tolerance, atol=tolerance)
        assert run.outputs.dtype == ys.dtype
        finals = run.final_state if layers > 1 else (run.final_state,)
        flat = list(itertools.chain(*finals)) if both else list(finals)
        states = states if kind == "lstm" else (states,)
        for i, state in enumerate(flat):
            for ours, theirs in zip(state, states, strict=True):
                np.testing.assert_allclose(ours, theirs[i].numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", MODULES)
def test_out_to_pytorch_and_back(kind):
    module = MODULES[kind](F, H, 2, bidirectional=True, dtype=torch.float64)
    cell, params = weights.from_torch(arrays_of(module))
    out = weights.to_torch(cell, params, prefix="enc.")
    again, same = weights.from_torch({"other": 3, **out})
    assert again == cell
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)
    xs = torch.randn(T, B, F, dtype=torch.float64)
    fresh = MODULES[kind](F, H, 2, bidirectional=True, dtype=torch.float64)
    fresh.load_state_dict({name[4:]: torch.from_numpy(np.array(array)) for name, array in out.items()})
    with torch.no_grad():
        np.testing.assert_allclose(fresh(xs)[0].numpy(), module(xs)[0].numpy(), rtol=1e-12, atol=1e-12)


def test_a_cell_module_and_relu():
    module = torch.nn.GRUCell(F, H, dtype=torch.float64)
    cell, params = weights.from_torch(arrays_of(module))
    x, h = torch.randn(B, F, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)
    with torch.no_grad():
        wanted = module(x, h).numpy()
    np.testing.assert_allclose(cell.step(params, type(cell.initial_state(params))(h.numpy()), x.numpy()).h, wanted)
    relu = torch.nn.RNN(F, H, nonlinearity="relu", dtype=torch.float64)
    cell, params = weights.from_torch(relu.state_dict(), nonlinearity="relu")
    assert cell == jrnn.elman(H, "relu")
    with torch.no_grad():
        np.testing.assert_allclose(jrnn.unroll(cell, params, x.numpy()[None]).outputs, relu(x[None])[0].numpy())


def test_what_does_not_fit_is_named():
    module = torch.nn.LSTM(F, H, 2)
    arrays = arrays_of(module)
    two = {f"{name}.{key}": value for name in ("encoder", "decoder") for key, value in arrays.items()}
    projected = arrays_of(torch.nn.LSTM(F, H, proj_size=2))
    short = {name: value for name, value in arrays.items() if name != "bias_hh_l1"}
    gap = {name.replace("_l1", "_l2"): value for name, value in arrays.items()}
    gru = jrnn.gru(2, reset_after=False)
    for call, match in (
        (lambda: weights.from_torch(two), r"recurrent modules named \['decoder.', 'encoder.'\]"),
        (lambda: weights.from_torch(two, prefix="rnn."), "prefix: got 'rnn.'; need one of"),
        (lambda: weights.from_torch({"w": 1}), "no entry weight_ih_l0"),
        (lambda: weights.from_torch(projected), r"weight_hr_l0: got a projection of h \(proj_size\)"),
        (lambda: weights.from_torch(short), r"bias_hh_l1: got none among .*; need an array of shape \[12\]"),
        (lambda: weights.from_torch(gap), "without a gap"),
        (lambda: weights.from_torch(arrays | {"weight_ih_l1": np.ones((12, 5, 1))}), r"weight_ih_l1: .*\(12, 5, 1\)"),
        (lambda: weights.from_torch(arrays | {"weight_hh_l0": np.ones((7, 3))}), "weight_hh_l0: .* 1, 3 or 4 gates"),
        (lambda: weights.from_torch(arrays, nonlinearity="sin"), "nonlinearity: got 'sin'"),
        (lambda: weights.to_torch(gru, params_of(gru, 2)), "reset_after=True"),
        (lambda: weights.to_torch(jrnn.linear(2), {}), "cell: got Linear; need"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()
    assert weights.from_torch(two, prefix="encoder.")[0] == jrnn.stack(jrnn.lstm(H), jrnn.lstm(H))
