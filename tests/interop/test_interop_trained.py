"""Trained networks of other packages give their own code's outputs. A package that is not there is said."""

import importlib
import io
import pickle
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import jrnn
from jrnn.extras import package_file
from jrnn.interop import trained
from jrnn.interop.weights import load_onnx
from tests.interop.economy import drawn, jit


def loaded(load, *args):
    """What `load` gives, or a skip that says which package is missing."""
    try:
        return load(*args)
    except jrnn.InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def package(monkeypatch):
    """Imports a module of a package with empty modules in the place of what it asks for besides NumPy."""

    def importing(name, **stubs):
        for stub, names in stubs.items():
            module = types.ModuleType(stub.replace("_", "."))
            module.__dict__.update(names)
            monkeypatch.setitem(sys.modules, stub.replace("_", "."), module)
        return importlib.import_module(name)

    return importing


WORDS = ["gradient", "recurrent", "a", "phonemes"]


@pytest.mark.filterwarnings("ignore")  # its escapes and open files
def test_g2p_en_is_its_own_numpy_code(package):
    encoder, decoder = (loaded(trained.g2p_en, part) for part in ("encoder", "decoder"))
    nothing = lambda *args, **kwargs: None  # noqa: E731
    g2p = package(
        "g2p_en.g2p",
        nltk=dict(pos_tag=nothing, data=types.SimpleNamespace(find=nothing), download=nothing),
        nltk_corpus=dict(cmudict=types.SimpleNamespace(dict=dict)),
        nltk_tokenize=dict(TweetTokenizer=lambda: types.SimpleNamespace(tokenize=str.split)),
        inflect=dict(engine=nothing),
    ).G2p()
    lengths = np.array([len(word) + 1 for word in WORDS])
    letters = np.zeros((max(lengths), len(WORDS)), np.int32)
    for i, word in enumerate(WORDS):
        letters[: lengths[i], i] = [encoder.symbols[letter] for letter in [*word, "</s>"]]
    xs = encoder.embedding[letters]
    run = jit(lambda p, x: jrnn.unroll(encoder.cell, p, x, lengths=jnp.asarray(lengths)))(encoder.params, xs)
    weights = [[getattr(g2p, f"{part}_{n}") for n in ("w_ih", "w_hh", "b_ih", "b_hh")] for part in ("enc", "dec")]
    for i, word in enumerate(WORDS):
        wanted = g2p.gru(g2p.encode(word), lengths[i], *weights[0])
        np.testing.assert_allclose(run.outputs[: lengths[i], i], wanted[0], rtol=1e-5, atol=3e-6)
    # the decoder, fed with the phonemes that it says itself
    said = [g2p.p2idx[phoneme] for phoneme in g2p.predict(WORDS[0])]
    assert " ".join(g2p.predict(WORDS[0])) == "G R EY1 D IY0 AH0 N T"
    start = jax.tree.map(lambda h: h[:1], run.final_state)
    answer = jit(lambda p, x: jrnn.unroll(decoder.cell, p, x, initial_state=start).outputs)(
        decoder.params, decoder.embedding[np.array([2, *said])[:, None]]
    )
    np.testing.assert_array_equal(np.argmax(decoder.head(answer), axis=-1)[:, 0], [*said, 3])


@pytest.mark.filterwarnings("ignore")  # its escapes and open files
def test_g2pm_is_its_own_numpy_code(package):
    ours = loaded(trained.g2pm)
    g2pm = package("g2pM.g2pM").G2pM()
    lengths = np.array([9, 5])
    characters = np.random.default_rng(0).integers(1, 5000, size=(2, 9))
    characters[1, 5:] = 0
    options = {"lengths": jnp.asarray(lengths)}
    xs = ours.embedding[characters.T]
    ys = jit(lambda p, x: jrnn.unroll(ours.cell, p, x, **options).outputs)(ours.params, xs)
    reading, heard = [], []
    g2pm.fc_layer = lambda hidden, full=g2pm.fc_layer: (
        heard.append(hidden) or reading.append(full(hidden)) or full(hidden)
    )
    for target in ([0, 0], [8, 4], [3, 2]):
        g2pm.predict(characters.astype(np.int32), target)
        seen = np.stack([ys[t, i] for i, t in enumerate(target)])
        np.testing.assert_allclose(seen, heard[-1], rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(ours.head(jnp.asarray(seen)), reading[-1], rtol=1e-4, atol=1e-4)


def by_onnx(frames, h, c):
    """(probabilities, h_T, c_T, the LSTM's inputs, its outputs) of silero-vad's file for sequences."""
    model = onnx.load(package_file("silero_vad", "data/silero_vad_16k_sequence.onnx"))
    inside = ["/Transpose_output_0", "/recurrent/LSTM_output_0"]
    model.graph.output.extend([onnx.helper.make_empty_tensor_value_info(name) for name in inside])
    return ReferenceEvaluator(model).run(None, {"input": frames, "h": h, "c": c})


def test_silero_vad_is_its_onnx_file():
    ours = loaded(trained.silero_vad)
    frames = 0.1 * drawn((6, 576), 0, np.float32)
    h, c = drawn((2, 1, 1, 128), 1, np.float32)
    said, h_end, c_end, xs, ys = by_onnx(frames, h, c)
    # in float64: XLA's float32 is up to 3e-6 off, the file's 4e-7
    start = jrnn.cells.LSTMState(*(jnp.asarray(state[0], jnp.float64) for state in (h, c)))
    params = jax.tree.map(lambda weight: jnp.asarray(weight, jnp.float64), ours.params)
    run = jit(lambda p, x: jrnn.unroll(ours.cell, p, x, initial_state=start))(params, xs.astype(np.float64))
    np.testing.assert_allclose(run.outputs, ys[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.final_state.h, h_end[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run.final_state.c, c_end[0], rtol=1e-5, atol=1e-6)
    heard = ours.head(run.outputs.astype(jnp.float32))
    np.testing.assert_allclose(jax.nn.sigmoid(heard)[:, 0, 0], said, rtol=1e-5, atol=1e-6)


def test_silero_vads_file_for_streams():
    """It holds four LSTMs in branches of If, two a sample rate, each made from one pair of weights."""
    ours = loaded(trained.silero_vad)
    path = package_file("silero_vad", "data/silero_vad.onnx")
    with pytest.raises(jrnn.InputError, match="one of .*else_branch.*rnn/LSTM"):
        load_onnx(path)
    inside = load_onnx(path, "If_0_then_branch__Inline_0__/decoder/rnn/LSTM")  # 16 kHz
    for name, array in ours.params.items():
        np.testing.assert_array_equal(inside.params[name], array)
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames, start = 0.1 * drawn((6, 576), 0, np.float32), np.zeros((1, 1, 128), np.float32)
    state, said = np.zeros((2, 1, 128), np.float32), []
    for frame in frames:
        probability, state = session.run(None, {"input": frame[None], "state": state, "sr": np.array(16000)})
        said.append(probability[0, 0])
    xs = by_onnx(frames, start, start)[3]
    run = jit(lambda p, x: jrnn.unroll(inside.cell, p, x))(inside.params, xs)
    np.testing.assert_allclose(jax.nn.sigmoid(ours.head(run.outputs))[:, 0, 0], said, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.final_state.h, state[0], rtol=1e-4, atol=1e-5)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for load, needed in (
        (trained.g2p_en, r'pip install "jrnn\[trained\]"'),
        (trained.g2pm, r'pip install "jrnn\[trained\]"'),
        (trained.silero_vad, "pip install --no-deps silero-vad==6.2.3"),
    ):
        with pytest.raises(jrnn.InputError, match=f"package .*: got not installed; need {needed}"):
            load()
    with pytest.raises(jrnn.InputError, match="part: got 'head'; need 'encoder' or 'decoder'"):
        trained.g2p_en("head")


def test_only_arrays_are_unpickled():
    with pytest.raises(jrnn.InputError, match=r"np_ckpt.pkl: got .*; need NumPy arrays only"):
        trained.ArraysOnly(io.BytesIO(pickle.dumps(print))).load()
