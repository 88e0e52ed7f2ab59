"""`jrnn diagnose --model` with weights in a file and with a user's function, against PyTorch and Flax themselves."""

import sys
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnx.numpy_helper
import pytest

import jrnn
from jrnn.cli import main, network_of
from jrnn.commands import diagnosing, measurement, output
from jrnn.interop import model_argument, weights
from jrnn.interop.model_argument import Network
from jrnn.report.page import html_page
from tests.interop.economy import drawn, jit, params_of

CASES, T, F, H, K = 20, 7, 2, 4, 2
MODELS = '''
"""Models of a user's, for --model."""

import jax
import jax.numpy as jnp
from flax import linen, nnx

import jrnn


class Tagger(nnx.Module):
    def __init__(self, rngs, **options):
        self.below = nnx.Linear(2, 3, rngs=rngs)
        self.rnn = nnx.RNN(nnx.GRUCell(3, 4, rngs=rngs), rngs=rngs, **options)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x, lengths):
        return self.head(self.rnn(nnx.tanh(self.below(x)), seq_lengths=lengths))


class Ends(linen.Module):
    @linen.compact
    def __call__(self, x, lengths):
        (_, h), _ = linen.RNN(linen.LSTMCell(4), return_carry=True)(x, seq_lengths=lengths)
        return linen.Dense(2)(h)


class Two(Tagger):
    def __init__(self, rngs):
        super().__init__(rngs)
        self.other = nnx.RNN(nnx.GRUCell(3, 4, rngs=rngs), rngs=rngs)


def tagger():
    return Tagger(nnx.Rngs(0))


def backward():
    return Tagger(nnx.Rngs(0), reverse=True, keep_order=True)


def two():
    return Two(nnx.Rngs(0))


def ends():
    return Ends(), Ends().init(jax.random.key(0), jnp.zeros((1, 7, 2)), jnp.array([3]))


def cell():
    return nnx.LSTMCell(2, 4, rngs=nnx.Rngs(0))


def linen_cell():
    cell = linen.SimpleCell(4)
    return cell, cell.init(jax.random.key(0), jnp.zeros(4), jnp.zeros(2))


def own():
    return jrnn.elman(4), jrnn.elman(4).init(jax.random.key(0), 2)


def narrow():
    return nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0))


def alone():
    return nnx.RNN(nnx.GRUCell(2, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))


def number():
    return 3


def fails():
    raise ValueError("no\\nnetwork")
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data of two tasks, weights of a PyTorch-like model, and a module of models; all in one folder."""
    folder = tmp_path_factory.mktemp("given")
    lengths = np.random.default_rng(0).integers(2, T + 1, CASES)
    x = drawn((CASES, T, F), 1, np.float32)
    np.savez(folder / "ends.npz", x=x, y=(x[:, 0, 0] > 0).astype(np.int64), lengths=lengths)
    np.savez(folder / "each.npz", x=x, y=(x[..., 0] > 0).astype(np.int64), lengths=lengths)
    np.savez(folder / "wide.npz", x=drawn((CASES, T, 3)), y=np.arange(CASES) % 2)
    np.savez(folder / "three.npz", x=x, y=np.arange(CASES) % 3)
    arrays = {}
    for i, (prefix, cell) in enumerate(MADE.items()):
        shapes = jax.eval_shape(lambda key, cell=cell: cell.init(key, F), jax.random.key(0))
        params = jax.tree.map(lambda leaf, i=i: jnp.asarray(0.5 * drawn(leaf.shape, i), jnp.float32), shapes)
        arrays |= weights.to_torch(cell, params, prefix=f"{prefix}.")
    arrays |= {"fc.weight": drawn((K, H), 7, np.float32), "fc.bias": drawn((K,), 8, np.float32)}
    np.savez(folder / "state.npz", **arrays)
    weights.save_safetensors(folder / "state.safetensors", arrays)
    np.savez(folder / "one.npz", **{name: a for name, a in arrays.items() if not name.startswith("both")})
    (folder / "their_models.py").write_text(MODELS)
    (folder / "broken.onnx").write_text("none")
    (folder / "broken.npz").write_text("none")
    return folder


MADE = {"rnn": jrnn.lstm(H), "both": jrnn.Bidirectional(jrnn.gru(H), jrnn.gru(H))}


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


@pytest.fixture
def shown(monkeypatch):
    """What a command would have drawn and written."""
    seen = []
    monkeypatch.setattr(output, "write_report", lambda found, out: seen.append(found) or [Path("report.html")])
    return seen


@contextmanager
def plain():
    """JAX as a user has it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), jax.enable_x64(False):
        yield


def diagnosis(shown, *args):
    """What `jrnn diagnose` found."""
    with plain():
        assert main(["diagnose", *args, "--lag", "3", "--out", "seen"]) == 0
    return shown[-1]


def test_a_state_dict_and_its_head_are_pytorchs(here):
    torch = pytest.importorskip("torch")
    arrays = {name: torch.from_numpy(array) for name, array in np.load("state.npz").items()}
    xs = drawn((T, 1, F), 3, np.float32)
    modules = {"rnn": torch.nn.LSTM(F, H), "both": torch.nn.GRU(F, H, bidirectional=True)}
    for prefix, module in modules.items():
        own = {name.removeprefix(f"{prefix}."): a for name, a in arrays.items() if name.startswith(f"{prefix}.")}
        module.load_state_dict(own)
        with torch.no_grad():
            ys = module(torch.from_numpy(xs))[0].numpy()
        for i, direction in enumerate([None] if prefix == "rnn" else ["forward", "backward"]):
            found = network_of("state.npz", rnn=[prefix], direction=direction)
            assert found.reverse == (direction == "backward")
            inputs = xs[::-1] if found.reverse else xs
            made = jit(lambda p, x, cell=found.cell: jrnn.unroll(cell, p, x).outputs)(found.params, inputs)
            np.testing.assert_allclose(
                made[::-1] if found.reverse else made, ys[..., i * H : (i + 1) * H], rtol=1e-5, atol=1e-6
            )
    head = network_of("state.safetensors", rnn=["rnn."], head="fc").head
    y = drawn((3, H), 4, np.float32)
    linear = torch.nn.functional.linear(torch.from_numpy(y), arrays["fc.weight"], arrays["fc.bias"]).numpy()
    np.testing.assert_allclose(y @ head["w"] + head["bias"], linear, rtol=1e-5, atol=1e-6)


@pytest.mark.thorough
def test_weights_with_their_head_are_diagnosed_by_the_task(here, shown):
    found = diagnosis(shown, "--model", "state.safetensors", "--data", "ends.npz", "--rnn", "rnn", "--head", "fc")
    stage = found.stages[0]
    assert found.title == f"LSTM, {H} units, on ends.npz" and "loss" not in found.model
    data, network = jrnn.data.load("ends.npz"), network_of("state.npz", rnn=["rnn"], head="fc")
    cases = data.subset(data.test)
    ys = jit(lambda x: jrnn.unroll(network.cell, network.params, x).outputs)(np.swapaxes(cases["x"], 0, 1))
    lasts = np.asarray(ys)[cases["lengths"] - 1, np.arange(len(cases["x"]))]
    logits = lasts @ network.head["w"] + network.head["bias"]
    log_p = jax.nn.log_softmax(logits)[np.arange(len(logits)), cases["y"]]
    np.testing.assert_allclose(stage.scores["loss"], -np.mean(log_p), rtol=1e-5)


@pytest.mark.thorough
def test_weights_without_a_head_are_pulled_in_random_directions(here, shown, capsys):
    """What arrives is ||(dy_T/dh_k)^T v|| for a normal v: compared by Jacobians, the median over sequences."""
    found = diagnosis(shown, "--model", "one.npz", "--data", "ends.npz")
    assert "random direction" in found.model["loss"] and "No readout is known" in capsys.readouterr().out
    assert found.stages[0].scores == {} and "random direction" in html_page(found, {})
    data, network = jrnn.data.load("ends.npz"), network_of("one.npz")
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), network.params)
    cases = data.subset(measurement.held_out_sample(data))
    v = np.asarray(jax.random.normal(jax.random.key(0), (len(cases["x"]), H), jnp.float64))
    ratios = []
    for x, length, pull in zip(cases["x"], cases["lengths"], v):
        if length > 3:
            J = jit(lambda x: jrnn.jacobians(network.cell, params, x))(jnp.asarray(x[:length], jnp.float64))
            way = np.concatenate([pull, np.zeros(H)])  # y_T is h_T of (h, c)
            for i in range(3):
                way = np.asarray(J)[-1 - i].T @ way
            ratios.append(np.linalg.norm(way) / np.linalg.norm(pull))
    np.testing.assert_allclose(found.stages[0].flow.arriving[3], np.median(ratios), rtol=1e-5)


def test_the_nodes_of_an_onnx_file(here):
    nodes, stored = [], []
    for name, direction in (("low", "forward"), ("high", "forward"), ("both", "bidirectional"), ("back", "reverse")):
        made = MADE["both" if name == "both" else "rnn"]
        arrays = weights.to_onnx(made, jax.tree.map(np.float32, params_of(made, H if name == "high" else F)))
        stored += [onnx.numpy_helper.from_array(array, f"{name}{letter}") for letter, array in arrays.items()]
        inputs = ["X", *(f"{name}{letter}" for letter in arrays)]
        options = {"linear_before_reset": 1, "name": name} if name == "both" else {"name": name}
        op = "GRU" if name == "both" else "LSTM"
        nodes.append(onnx.helper.make_node(op, inputs, [f"{name}Y"], hidden_size=H, direction=direction, **options))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], stored)), "four.onnx")
    assert network_of("four.onnx", rnn=["low", "high"]).cell == jrnn.stack(MADE["rnn"], MADE["rnn"])
    assert network_of("four.onnx", rnn=["back"]).reverse
    backward = network_of("four.onnx", rnn=["both"], direction="backward")
    assert backward.reverse and backward.cell == jrnn.gru(H) and backward.head is None


def test_what_a_state_dict_does_not_say_is_noted(here):
    cell = jrnn.elman(H)
    np.savez("elman.npz", **weights.to_torch(cell, params_of(cell, F)))
    assert "tanh" in network_of("elman.npz").note and not network_of("one.npz").note


def test_a_bidirectional_layer_backward_reads_the_sequences_turned_round(here):
    network = network_of("state.npz", rnn=["both"], direction="backward")
    data = jrnn.data.load("each.npz")
    turned = network.fed(data)
    for i, length in enumerate(data.lengths):
        np.testing.assert_array_equal(turned.x[i, :length], data.x[i, :length][::-1])
        np.testing.assert_array_equal(turned.y[i, :length], data.y[i, :length][::-1])


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["tagger", "backward", "ends"])
def test_the_rnn_in_a_flax_model_has_the_models_own_gradient(here, name):
    """dL/dparams of the RNN by way of the tap, and by Flax's own differentiation."""
    from flax import nnx

    from jrnn.training import Objective

    with plain():
        model = network_of(f"their_models:{name}")
        data = jrnn.data.load("ends.npz" if name == "ends" else "each.npz")
        objective, batch = Objective(data.task, data.outputs), data.subset(data.test)
        found = model.tapped(objective, batch)
        assert "reverse" not in found.options
        run = lambda p: found.loss(jrnn.unroll(found.cell, p, found.xs, **found.options))  # noqa: E731
        value, ours = jit(jax.value_and_grad(run))(found.params)

        def loss(variables):
            z = model.apply(variables, jnp.asarray(batch["x"]), jnp.asarray(batch["lengths"]))
            counted = np.arange(T) < batch["lengths"][:, None] if z.ndim == 3 else batch["lengths"] > 0
            chosen = jnp.take_along_axis(jax.nn.log_softmax(z), jnp.asarray(batch["y"])[..., None], -1)[..., 0]
            return -jnp.sum(jnp.where(counted, chosen, 0)) / counted.sum()

        if name == "ends":
            wanted, grads = jit(jax.value_and_grad(loss))(model.variables)
            theirs = grads["params"]["LSTMCell_0"]
            ours = ours["params"]
        else:
            wanted, grads = nnx.jit(nnx.value_and_grad(loss))(model.variables)
            theirs = nnx.to_pure_dict(grads["rnn"]["cell"])
            ours = nnx.to_pure_dict(nnx.filter_state(ours, nnx.Param))
        np.testing.assert_allclose(value, wanted, rtol=1e-5)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(model.scores(objective, batch, batch_size=2)["loss"], wanted, rtol=1e-5)


@pytest.mark.parametrize("name, kind", [("cell", "LSTMCell"), ("linen_cell", "SimpleCell"), ("own", "Elman")])
def test_cells_of_a_function(here, name, kind):
    with plain():
        network = network_of(f"their_models:{name}")
        data = network.fed(jrnn.data.load("ends.npz"))
    assert data.x.shape == (CASES, T, F)
    assert getattr(network.cell, "kind", type(network.cell).__name__) == kind


def test_a_warm_up_is_not_turned_round():
    """Which steps are scored says nothing to a network that reads from the end."""
    cell = jrnn.elman(2)
    network = Network(cell, cell.init(jax.random.key(0), 1), None, reverse=True)
    with pytest.raises(jrnn.InputError, match="^data: got two-lag-coin:2, whose first 2 steps are not scored"):
        network.fed(jrnn.data.two_lag_coin(2).dataset(cases=12))


@pytest.mark.thorough
def test_a_flax_model_is_diagnosed_by_the_task(here, shown):
    found = diagnosis(shown, "--model", "their_models:tagger", "--data", "each.npz")
    assert (
        found.title == f"GRUCell, {H} numbers of state, on each.npz" and found.model["model"] == "their_models:tagger"
    )
    (stage,) = found.stages
    assert stage.name == "as given" and 0 <= stage.scores["accuracy"] <= 1
    assert stage.flow.outputs == T and stage.flow.sequences == len(jrnn.data.load("each.npz").test)


def test_the_commands_know_every_ending_of_weights():
    """They may not import the edge, which says what to do with each ending."""
    assert set(diagnosing.WEIGHTS) == {*model_argument.READ, *model_argument.ELSEWHERE}


@pytest.mark.parametrize(
    "args, words",
    [
        (["state.npz"], ["--rnn", "None", "['both.', 'rnn.']"]),
        (["state.npz", "--rnn", "up"], ["--rnn", "'up'", "['both.', 'rnn.']"]),
        (["state.npz", "--rnn", "up", "--rnn", "down"], ["--rnn", "one name"]),
        (["state.npz", "--rnn", "both"], ["--direction", "forward or backward"]),
        (["state.npz", "--rnn", "both", "--direction", "up"], ["--direction", "'up'", "forward or backward"]),
        (["state.npz", "--rnn", "rnn", "--direction", "forward"], ["--direction", "reads one way"]),
        (["state.npz", "--rnn", "rnn", "--head", "out"], ["out.weight", "fc.weight", "[*, 4]"]),
        (["state.npz", "--rnn", "rnn", "--head", "fc", "--data", "three.npz"], ["--data", "3 outputs", "2 outputs"]),
        (["one.npz", "--data", "wide.npz"], ["--data", "3 features", "2 features"]),
        (["one.npz", "--hidden", "3"], ["--hidden", "--model"]),
        (["one.npz", "--resume"], ["--resume", "--model"]),
        (["one.npz", "--lag", "9"], ["--lag", "9"]),
        (["ends.npz"], ["--model", "no entry weight_ih_l0"]),
        (["missing.npz"], ["--model", "missing.npz"]),
        (["missing.onnx"], ["--model", "missing.onnx"]),
        (["broken.npz"], ["--model", "broken.npz"]),
        (["broken.onnx"], ["--model", "broken.onnx"]),
        (["broken.onnx", "--head", "fc"], ["--head", "'fc'", ".onnx"]),
        (["model.pt"], ["--model", "'model.pt'", "numpy.savez", "state_dict"]),
        (["their_models.py"], ["--model", "package.module:function"]),
        (["nowhere:f"], ["--model", "nowhere", "ModuleNotFoundError"]),
        (["their_models:f"], ["--model", "their_models", "no attribute 'f'"]),
        (["their_models:fails"], ["ValueError: no network (their_models.py:", "without arguments"]),
        (["their_models:number"], ["returns int", "(cell, params)"]),
        (["their_models:narrow"], ["--data", "2 features", "TypeError"]),
        (["their_models:alone"], ["--model", "RNN", "a model with an RNN inside"]),
        (["their_models:two"], ["--rnn", "None", "['other', 'rnn']"]),
        (["their_models:tagger"], ["--model", "shape (4, 7, 2)", "predictions [4, 2]"]),
        (["their_models:tagger", "--data", "three.npz"], ["--model", "Tagger", "TypeError", "lengths"]),
        (["their_models:tagger", "--head", "fc"], ["--head", "brings its readout"]),
        (["their_models:tagger", "--direction", "forward"], ["--direction"]),
        (["nowhere", "--rnn", "rnn"], ["--rnn", "--model"]),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(here, capsys, args, words):
    given = args if "--data" in args else [*args, "--data", "ends.npz"]
    assert main(["diagnose", "--model", *given]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said and all(word in said for word in words), said
    assert not list(here.glob("jrnn-report*"))


def test_data_are_needed(here, capsys):
    assert main(["diagnose", "--model", "one.npz"]) == 2
    assert "--data: got none" in capsys.readouterr().err
