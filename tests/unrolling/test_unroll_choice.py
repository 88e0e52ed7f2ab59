"""What `explain` says of a call is what the call does, read from the traced program."""

import inspect
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jrnn
from jrnn.kernels import explain, primitives
from jrnn.unrolling import layers, reading

T, B, F, H = 5, 3, 2, 4
LSTM, GRU, ELMAN = jrnn.lstm(H), jrnn.gru(H), jrnn.elman(H)
OWN = jrnn.from_functions(
    init=lambda key, size: {"w": jax.random.normal(key, (size, H))},
    initial_state=lambda params, batch: jnp.zeros((*batch, H)),
    step=lambda params, h, x: jnp.tanh(0.5 * h + x @ params["w"]),
)
NOISY = jrnn.dropout(LSTM, outputs=0.5)
CELLS = {
    "lstm": LSTM,
    "linear": jrnn.linear(H),
    "own": OWN,
    "noisy": NOISY,
    "stack": jrnn.stack(LSTM, GRU),
    "mixed stack": jrnn.stack(OWN, GRU),
    "own stack": jrnn.stack(OWN, OWN),
    "noisy stack": jrnn.stack(NOISY, GRU),
    "both": jrnn.Bidirectional(LSTM, OWN),
    "alike": jrnn.Bidirectional(GRU),
    "noisy both": jrnn.Bidirectional(NOISY, GRU),
    "deep": jrnn.stack(jrnn.Bidirectional(LSTM), NOISY, ELMAN),
    "nested": jrnn.stack(jrnn.stack(LSTM, OWN), GRU),
}


def eqns(jaxpr):
    """Every equation, those of the programs within too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in within(eqn):
            yield from eqns(getattr(inner, "jaxpr", inner))


def within(eqn):
    for value in eqn.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if hasattr(each, "eqns") or hasattr(each, "jaxpr"):
                yield each


def ran(cell, params, xs, **options):
    """The implementations in the traced program; "reference" where cells' own steps are scanned."""
    traced = jax.make_jaxpr(lambda p, x: jrnn.unroll(cell, p, x, **options).outputs)(params, xs)
    names = {
        eqn.params["call"].implementation.name for eqn in eqns(traced.jaxpr) if eqn.primitive is primitives.recur_p
    }
    scans = any(eqn.primitive.name == "scan" for eqn in eqns(traced.jaxpr))
    return names | ({"reference"} if scans else set())


def said(explanation):
    """The names that an explanation gives its parts, or itself."""
    parts = explanation.parts.values()
    return set().union(*map(said, parts)) if parts else {explanation.chosen}


def inputs(*batch, steps=T):
    return jnp.asarray(np.random.default_rng(0).normal(size=(steps, *batch, F)))


KEY = jax.random.key(1)
CALLS = {
    "plain": (inputs(B), {}),
    "alone": (inputs(), {}),
    "several axes": (inputs(2, 3), {}),
    "no steps": (inputs(B, steps=0), {}),
    "no sequences": (inputs(0), {}),
    "lengths": (inputs(B), {"lengths": np.array([5, 0, 2])}),
    "xla": (inputs(B), {"implementation": "xla"}),
    "xla or reference": (inputs(B), {"implementation": ("xla", "reference")}),
    "reference": (inputs(B), {"implementation": "reference"}),
    "backwards": (inputs(B), {"reverse": True, "return_states": True}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", CELLS)
def test_what_is_said_is_what_runs(name, call):
    cell, (xs, options) = CELLS[name], CALLS[call]
    params = cell.init(jax.random.key(0), F)
    try:
        explained = explain(cell, params, xs=xs, **options)
    except jrnn.InputError as refused:
        with pytest.raises(jrnn.InputError) as error:
            jrnn.unroll(cell, params, xs, **options)
        assert str(error.value) == str(refused)
        return
    assert ran(cell, params, xs, **options) == said(explained)


@pytest.mark.parametrize("name", [name for name in CELLS if "noisy" in name or name == "deep"])
def test_what_is_said_of_noise_is_what_runs(name):
    cell, xs = CELLS[name], inputs(B)
    params = cell.init(jax.random.key(0), F)
    for options in ({"key": KEY}, {}):
        explained = explain(cell, params, xs=xs, **options)
        assert ran(cell, params, xs, **options) == said(explained)
        assert ("the call draws noise" in str(explained)) == bool(options)


def test_reasons_name_the_call():
    params = LSTM.init(jax.random.key(0), F)
    first = explain(LSTM, params).chosen
    assert explain(LSTM, params, xs=inputs(B, steps=0)).refused[first] == "the call has no steps"
    assert explain(LSTM, params, xs=inputs(0)).refused[first] == "the call has no sequences"
    assert str(explain(LSTM, params, "xla", inputs(B))) == "xla"
    counter = jrnn.from_functions(
        init=lambda key, size: (), initial_state=lambda p, batch: jnp.zeros(batch), step=lambda p, h, x: h + 1
    )
    assert explain(counter, (), length=3).chosen == "reference"
    with pytest.raises(jrnn.InputError, match="length"):
        explain(LSTM, params, reverse=True)  # a call without inputs


def test_a_mesh_of_explicit_axes():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    params = LSTM.init(jax.random.key(0), F)
    with jax.set_mesh(mesh):
        split = jax.device_put(inputs(B), NamedSharding(mesh, PartitionSpec(None, "data")))
        assert explain(LSTM, params, xs=split).chosen == "xla"
        assert ran(LSTM, params, split) == {"xla"}
        merged = jax.device_put(inputs(2, 3), NamedSharding(mesh, PartitionSpec(None, "data")))
        assert explain(LSTM, params, xs=merged).chosen == "reference"
        assert "Explicit" in str(explain(LSTM, params, xs=merged))
        assert ran(LSTM, params, merged) == {"reference"}


@pytest.mark.thorough
@pytest.mark.parametrize("cell", [LSTM, ELMAN])
def test_the_way_to_the_kernel_is_short(cell, monkeypatch):
    """From `unroll` to the primitive's call no more than 8 functions of jrnn's."""
    ways = []

    def bind(*args, **options):
        frame, own = sys._getframe(1), []
        while frame is not None:
            name = frame.f_globals.get("__name__", "")
            own += [f"{name}.{frame.f_code.co_name}"] if name.startswith("jrnn.") else []
            frame = frame.f_back
        ways.append(own[::-1])
        return inner(*args, **options)

    inner = primitives.recur_p.bind
    monkeypatch.setattr(primitives.recur_p, "bind", bind)
    jax.clear_caches()
    jrnn.unroll(cell, cell.init(jax.random.key(0), F), inputs(B))
    assert ways and all(len(way) <= 8 and way[0].endswith(".unroll") for way in ways), ways


def test_the_gradients_check_their_options_once(monkeypatch):
    calls = []
    for room, name in (
        (reading, "check_given"),
        (reading, "check_lengths"),
        (reading, "names_of"),
        (layers, "choose_for"),
    ):
        function = getattr(room, name)
        monkeypatch.setattr(room, name, lambda *a, f=function, n=name, **k: (calls.append(n), f(*a, **k))[1])
    params = LSTM.init(jax.random.key(0), F)
    start = LSTM.initial_state(params, (B,))
    options = dict(initial_state=start, lengths=np.array([5, 0, 2]))
    jrnn.value_and_grads(LSTM, params, inputs(B), lambda unrolled: jnp.sum(unrolled.outputs), **options)
    assert sorted(calls) == ["check_given", "check_lengths", "choose_for", "names_of"]


def test_the_record_has_every_keyword_of_unroll():
    """`read` takes what `unroll` takes, with the same defaults."""
    ours, theirs = (inspect.signature(f).parameters for f in (reading.read, jrnn.unroll))
    assert {name: each.default for name, each in ours.items()} == {name: each.default for name, each in theirs.items()}
