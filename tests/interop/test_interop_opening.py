"""`open_gates` on weights of PyTorch and Flax: the libraries' own modules run what comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.interop import open_gates, weights

torch = pytest.importorskip("torch")
nnx = pytest.importorskip("flax.nnx")
linen = pytest.importorskip("flax.linen")

KEY = jax.random.key(5)
H = 3
XS = np.random.default_rng(0).normal(size=(6, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("make", [torch.nn.LSTM, torch.nn.GRU], ids=lambda m: m.__name__)
def test_pytorch(make):
    """Two layers, two directions, beside other entries; b_ih of the keeping gate rises, and nothing else."""
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"rnn": make(2, H, num_layers=2, bidirectional=True), "head": torch.nn.Linear(2, 2)})
    before = model.state_dict()
    after = open_gates(before, 50, key=KEY)
    raised = [name for name in before if not torch.equal(after[name], before[name])]
    assert raised == [name for name in before if "bias_ih" in name] and len(raised) == 4
    for name in raised:
        rise = (after[name] - before[name]).reshape(-1, H).numpy()
        assert (rise[1] > 0).any() and (rise >= 0).all() and not np.delete(rise, 1, axis=0).any()
        total = after[name] + after[name.replace("ih", "hh")]
        assert (total.reshape(-1, H)[1] > -1e-6).all() and after[name].dtype == torch.float32
    model.load_state_dict(after)
    cell, params = weights.from_torch(after, prefix="rnn.")
    ours = jrnn.unroll(cell, params, XS).outputs
    np.testing.assert_allclose(ours, model["rnn"](torch.from_numpy(XS))[0].detach(), atol=2e-6)


@pytest.mark.thorough
def test_linen_and_nnx():
    """Cells anywhere in the tree; by the libraries' own step as by jrnn's."""
    carries = {
        "OptimizedLSTMCell": lambda module: module.OptimizedLSTMCell,
        "LSTMCell": lambda module: module.LSTMCell,
        "GRUCell": lambda module: module.GRUCell,
    }
    for name, of in carries.items():
        cell = of(linen)(H)
        carry = cell.initialize_carry(jax.random.key(0), (2, 2))
        own = cell.init(jax.random.key(1), carry, XS[0])["params"]
        model = {"encoder": {"rnn": own, "head": {"kernel": jnp.ones((2, 2))}}}
        opened = open_gates(model, 50, key=KEY)["encoder"]
        rise = jax.tree.map(lambda a, b: np.asarray(a - b), opened["rnn"], own)
        name = "hf" if "LSTM" in name else "iz"
        assert rise[name]["bias"].any() and sum(np.any(leaf) for leaf in jax.tree.leaves(rise)) == 1
        theirs = cell.apply({"params": opened["rnn"]}, carry, XS[0])[1]
        ours = weights.from_linen(opened["rnn"])
        np.testing.assert_allclose(jrnn.unroll(*ours, XS[:1]).last, theirs, atol=1e-6)

        cell = of(nnx)(2, H, rngs=nnx.Rngs(0))
        state = nnx.state(cell, nnx.Param)
        pure = nnx.to_pure_dict(state)
        opened = open_gates({"layers": {0: pure}}, 50, key=KEY)["layers"][0]
        rise = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), opened, pure)
        assert sum(np.any(leaf) for leaf in jax.tree.leaves(rise)) == 1 and min(map(np.min, jax.tree.leaves(rise))) >= 0
        nnx.replace_by_pure_dict(state, opened)
        nnx.update(cell, state)
        theirs = cell(cell.initialize_carry((2, 2), nnx.Rngs(0)), jnp.asarray(XS[0]))[1]
        np.testing.assert_allclose(jrnn.unroll(*weights.from_nnx(opened), XS[:1]).last, theirs, atol=1e-6)


def test_what_cannot_be_opened():
    for given, match in (
        ({"w": np.ones(2)}, r"weights: got the names \['w'\]; need weights with a flax LSTMCell"),
        (torch.nn.RNN(2, H).state_dict(), "weights: got the names .*; need weights with"),
        (torch.nn.GRU(2, H, bias=False).state_dict(), "weights: got no 'bias_ih_l0'; need a module with biases"),
        ([1], "weights: got a list; need weights with"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            open_gates(given, 20, key=KEY)
