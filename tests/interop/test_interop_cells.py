"""Every cell, and every cure of a cell or its parameters, inside jrnn's Flax modules, against `jrnn.unroll`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jrnn
import jrnn.interop.linen
import jrnn.interop.nnx
from jrnn.cures import CURES, Cure, apply_to_cell, cure
from jrnn.interop.flax_calls import carry_of
from tests.interop.economy import OPTIONS, drawn, params_of

jit = partial(jax.jit, compiler_options={**(OPTIONS or {}), "xla_backend_optimization_level": 0})  # half the time

B, T, F, H = 2, 4, 3, 3
XS = drawn((B, T, F))
LENGTHS = np.array([4, 2])
LSTM, GRU, ELMAN = jrnn.lstm(H), jrnn.gru(H), jrnn.elman(H)
CURED = {
    "chrono:9": LSTM,
    "leaky:9": LSTM,
    "uniform-gate:9": GRU,
    "refine": GRU,
    "orthogonal": ELMAN,
    "min-gru:9": GRU,
    "scale-gradient:0.5": LSTM,
    "h-detach:0.25": LSTM,
}
MEASURED = ("tune-gain", "floss")
CELLS = {
    "linear": jrnn.linear(H),
    "leaky_elman": jrnn.leaky(ELMAN, 9),
    "min_lstm": jrnn.min_lstm(H, t_max=9),
    "rg_lru": jrnn.rg_lru(H),
    "lru": jrnn.lru(H, outputs=2),
    "indrnn": jrnn.indrnn(H, "tanh", t_max=9),
    "cornn": jrnn.cornn(H),
    "lem": jrnn.lem(H, dt=0.5),
    "unicornn": jrnn.unicornn(H),
    "antisymmetric": jrnn.antisymmetric(H),
    "zoneout": jrnn.zoneout(GRU, 0.3),
    "teacher_forced": jrnn.cures.teacher_forced(ELMAN, 1),
    "clip_state_gradient": jrnn.clip_state_gradient(GRU, 1e-2),
} | {text: apply_to_cell([cure(text)], cell) for text, cell in CURED.items()}


def test_every_cure_has_its_case():
    """Those that change the training alone leave nothing in the module to be looked at."""
    found = {
        name for name, kind in CURES.items() if kind.on_cell is not Cure.on_cell or kind.on_params is not Cure.on_params
    }
    assert found == {text.partition(":")[0] for text in CURED} | set(MEASURED)


def nnx_module(cell, params):
    """An nnx module with these parameters."""
    module = nnx.eval_shape(lambda: jrnn.interop.nnx.RNN(cell, F, rngs=nnx.Rngs(0)))
    jax.tree.map(lambda p, value: p.set_value(value), module.params, params, is_leaf=is_variable)
    return module


def is_variable(node):
    return isinstance(node, nnx.Variable)


@pytest.mark.parametrize("name", CELLS)
def test_values_gradients_and_start(name):
    """Outputs, carry and the gradient of the parameters, with lengths; the parameters that each module starts with."""
    cell = CELLS[name]
    linen = jrnn.interop.linen.RNN(cell, return_carry=True)

    def called(params, call):
        carry, ys = call(params)
        return sum(jnp.sum(jnp.sin(3 * a)) for a in jax.tree.leaves((carry, ys))), (carry, ys)

    def by_unroll(params):
        ran = jrnn.unroll(cell, params, XS, lengths=LENGTHS, time_axis=1)
        return carry_of(ran.final_state), ran.outputs

    def by_nnx(params):
        return nnx_module(cell, params)(XS, seq_lengths=LENGTHS, return_carry=True, deterministic=True)

    def by_linen(params):
        return linen.apply({"params": {"cell": params}}, XS, seq_lengths=LENGTHS, deterministic=True)

    @jit
    def all_three(params, key):
        return [
            jax.value_and_grad(called, has_aux=True)(params, call) for call in (by_unroll, by_nnx, by_linen)
        ], linen.init(key, XS)

    params = params_of(cell, F)
    (wanted, *found), variables = all_three(params, jax.random.key(0))
    for one in found:
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert all(np.any(g != 0) for g in jax.tree.leaves(wanted[1]))
    started = jrnn.interop.nnx.RNN(cell, F, rngs=nnx.Rngs(0)).cell_params
    own = cell.init(nnx.Rngs(0).params(), F)
    jax.tree.map(np.testing.assert_array_equal, started, own)
    same = lambda a, b: a.shape == b.shape and a.dtype == b.dtype and np.all(np.isfinite(a))  # noqa: E731
    assert jax.tree.all(jax.tree.map(same, variables["params"]["cell"], own))


@pytest.mark.parametrize("name", ["zoneout", "h-detach:0.25"])
def test_what_is_drawn_comes_from_the_stream(name):
    """nnx gives the key of its stream `dropout` to the run; linen draws from the stream of that name."""
    cell = CELLS[name]
    linen = jrnn.interop.linen.RNN(cell)

    def slope(call):
        return jax.grad(lambda params: jnp.sum(jnp.sin(3 * call(params))))

    @jit
    def all_of(params, key):
        rngs = {"dropout": key}
        calls = (
            lambda p: jrnn.unroll(cell, p, XS, time_axis=1, key=nnx.Rngs(dropout=1).dropout()).outputs,
            lambda p: nnx_module(cell, p)(XS, rngs=nnx.Rngs(dropout=1)),
            lambda p: linen.apply({"params": {"cell": p}}, XS, rngs=rngs),
            lambda p: linen.apply({"params": {"cell": p}}, XS, deterministic=True),
        )
        return [slope(call)(params) for call in calls]

    wanted, by_nnx, drawn_by_linen, plain = map(jax.tree.leaves, all_of(params_of(cell, F), jax.random.key(2)))
    for a, b in zip(by_nnx, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert not np.allclose(drawn_by_linen[0], plain[0]) and not np.allclose(by_nnx[0], plain[0])


@pytest.mark.parametrize("name", [*MEASURED, "open_gates"])
def test_measured_starts_go_into_a_module(name):
    """What `cell_params` gives is what the functions on parameters take and return."""
    cell = LSTM if name == "open_gates" else jrnn.elman(H, w_rec="gaussian")
    module = jrnn.interop.nnx.RNN(cell, F, rngs=nnx.Rngs(0))
    given, key, xs = module.cell_params, jax.random.key(1), np.swapaxes(XS, 0, 1)
    if name == "open_gates":
        params = jrnn.cures.open_gates(cell, given, 9, key=key)
    elif name == "floss":
        params = jrnn.cures.floss(cell, given, xs, k=1, steps=2, key=key)
    else:
        params = jrnn.cures.tune_gain(cell, given, xs, target=-1.0, key=key)
    jax.tree.map(lambda p, value: p.set_value(value), module.params, params, is_leaf=is_variable)
    wanted = jrnn.unroll(cell, params, XS, time_axis=1).outputs
    np.testing.assert_array_equal(module(XS), wanted)
    linen = jrnn.interop.linen.RNN(cell).apply({"params": {"cell": params}}, XS)
    np.testing.assert_array_equal(linen, wanted)
    assert not np.allclose(wanted, jrnn.unroll(cell, given, XS, time_axis=1).outputs)
