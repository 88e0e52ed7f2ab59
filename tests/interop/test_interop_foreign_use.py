"""Foreign cells in use: instruments, batch shapes, one trace, and what is refused."""

import subprocess
import sys

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jrnn
from jrnn.interop import from_equinox, from_haiku, from_linen, from_nnx
from tests.interop.economy import drawn, jit, module_of, variables_of
from tests.interop.foreign_cases import CASES, IMAGE, D, F, H


@pytest.mark.parametrize("name", ["nnx.LSTMCell", "linen.ConvLSTMCell", "haiku.LSTM", "equinox.LSTMCell"])
def test_any_number_of_batch_axes(name):
    case = CASES[name]()
    xs = drawn((3, 2, 3, *case.shape))

    @jit
    def run(xs):
        flat = xs.reshape(3, 6, *case.shape)
        return [jrnn.unroll(case.cell, case.params, x).outputs for x in (xs, flat, flat[:, 4], xs[:0])]

    two, flat, alone, none = run(xs)
    assert two.shape[:3] == (3, 2, 3) and none.shape == (0, *two.shape[1:])
    np.testing.assert_allclose(two.reshape(flat.shape), flat, rtol=1e-12)
    np.testing.assert_allclose(alone, flat[:, 4], rtol=1e-12)


def test_instruments_agree_with_each_other_under_jit():
    case = CASES["linen.ConvLSTMCell"]()
    xs = drawn((4, 2, *case.shape))
    lengths = jnp.array([4, 2])

    @jit
    def look(params, xs):
        flow = jrnn.gradient_flow(case.cell, params, xs, lambda run: jnp.sum(run.outputs**2), lengths=lengths)
        return flow, jrnn.jacobians(case.cell, params, xs), jrnn.lyapunov_spectrum(case.cell, params, xs).exponents

    flow, J, exponents = look(case.params, xs)
    assert flow.sum_error < 1e-12 and flow.verdict(1).sentence
    assert J.shape == (4, 2, *2 * exponents.shape[-1:]) and np.all(np.isfinite(exponents))
    # the sum of all exponents is the mean of ln |det J|
    np.testing.assert_allclose(
        exponents.sum(-1), np.mean(np.linalg.slogdet(np.asarray(J))[1], axis=0), rtol=1e-9, atol=1e-9
    )


def test_fixed_points_of_a_foreign_cell():
    """Where Flax's own step moves nothing; h and c both count."""
    case = CASES["linen.OptimizedLSTMCell"]()
    x = drawn(case.shape)
    found = jrnn.flow.fixed_points(case.cell, case.params, x, case.cell.initial_state(case.params, (1,)))
    assert found.converged.all() and found.points.shape == (1, 2 * H)
    after = case.cell.step(case.params, jax.tree.map(jnp.asarray, found.states), x[None])
    np.testing.assert_allclose(jrnn.ravel_state(after), found.points, atol=1e-10)


def test_equal_cells_share_one_trace_and_float32_stays():
    traces = []

    @jit
    def run(packed, xs):
        traces.append(0)
        return jrnn.unroll(packed[0], packed[1], xs).outputs

    xs = jnp.ones((2, F), jnp.float32)
    for seed in range(2):
        module = module_of(lambda rngs: nnx.GRUCell(F, H, rngs=rngs), seed)
        assert run(from_nnx(module), xs).dtype == jnp.float32
        core = nn.GRUCell(H)
        run(from_linen(core, variables_of(core, np.ones(H, np.float32), xs[0], seed=seed)), xs)
    assert len(traces) == 2


def test_trained_parameters_go_back():
    module = module_of(lambda rngs: nnx.GRUCell(F, H, param_dtype=D, rngs=rngs))
    cell, params = from_nnx(module)
    nnx.update(module, jax.tree.map(lambda w: 2 * w, params))
    np.testing.assert_array_equal(from_nnx(module)[1].dense_h.kernel[...], 2 * params.dense_h.kernel[...])
    h, x = jnp.ones(H, D), jnp.ones(F, D)
    np.testing.assert_allclose(module(h, x)[0], cell.step(from_nnx(module)[1], h, x), rtol=1e-12)


class Hidden(nn.GRUCell):
    """y_t cannot be had from h_t."""

    @nn.compact
    def __call__(self, carry, x):
        return super().__call__(carry, x)[0], carry


def test_an_output_that_the_state_does_not_hold():
    core = Hidden(H, param_dtype=D)
    variables = variables_of(core, np.ones(H), np.ones(F))
    xs = jnp.ones((3, F), D)
    with pytest.raises(jrnn.InputError, match="reads_previous=True"):
        jrnn.unroll(*from_linen(core, variables), xs)
    cell, params = from_linen(core, variables, reads_previous=True)
    run = jrnn.unroll(cell, params, xs, return_states=True)
    np.testing.assert_array_equal(run.outputs, run.states[:-1])
    cell, params = from_linen(core, variables, output=lambda params, h, x: 3 * h)
    run = jrnn.unroll(cell, params, xs, return_states=True)
    np.testing.assert_array_equal(run.outputs, 3 * run.states[1:])


class Drawing(nnx.GRUCell):
    """Dropout in the step, and a count of its calls."""

    def __init__(self, rngs):
        super().__init__(F, H, param_dtype=D, rngs=rngs)
        self.dropout, self.calls = nnx.Dropout(0.5, rngs=rngs), nnx.Variable(jnp.zeros((), D))
        self.counting = False

    def __call__(self, carry, x):
        if self.counting:
            self.calls[...] += 1
        return super().__call__(carry, self.dropout(x))


def test_a_step_that_draws_or_keeps_state_of_its_own_is_refused():
    module = module_of(Drawing)
    xs = jnp.ones((3, F), D)
    with pytest.raises(jrnn.InputError, match=r"draws random numbers.*cell\.eval\(\)"):
        jrnn.unroll(*from_nnx(module), xs)
    module.eval()
    assert jrnn.unroll(*from_nnx(module), xs).outputs.shape == (3, H)
    assert module.dropout.rngs is not None, "the user's module is left as it is"
    module.counting = True
    with pytest.raises(jrnn.InputError, match="changes its own variable calls"):
        jrnn.unroll(*from_nnx(module), xs)


def test_bad_cells_are_named():
    core = nn.ConvLSTMCell(2, (2, 2), param_dtype=D)
    variables = variables_of(core, core.initialize_carry(jax.random.key(0), IMAGE), np.ones(IMAGE))
    for call, match in (
        (
            lambda: from_nnx(module_of(lambda rngs: nnx.Linear(2, 2, rngs=rngs))),
            "cell: got Linear; need a recurrent cell",
        ),
        (lambda: from_nnx(nnx.GRUCell), "cell: got GRUCell; need a recurrent cell"),
        (lambda: from_linen(nn.Dense(2), {"params": {}}), "cell: got Dense; need a recurrent cell"),
        (lambda: from_linen(core, variables), "input_shape: got None; need .* 3 sizes"),
        (lambda: from_linen(core, variables, input_shape=(3, 2)), r"input_shape: got \(3, 2\); need a tuple of 3"),
        (lambda: from_linen(nn.GRUCell(2), {"in": 1}), r"variables: got \['in'\]; need"),
        (lambda: from_linen(nn.GRUCell(2), {"params": {}}, output=3), "output: got int"),
        (lambda: from_equinox(np.ones(3)), "cell: got ndarray; need a recurrent cell"),
        (
            lambda: from_equinox(eqx.filter_eval_shape(lambda: eqx.nn.Linear(2, 2, key=jax.random.key(0)))),
            "initial_state: got None for a Linear",
        ),
        (lambda: from_haiku(lambda: hk.Linear(2), {}), "make_core: got a function that makes a Linear"),
        (lambda: from_haiku(None, {}), "make_core: got NoneType"),
        (lambda: from_haiku(lambda: hk.LSTM(2), None), "params: got NoneType"),
        (
            lambda: from_nnx(module_of(lambda rngs: nnx.GRUCell(1, 1, rngs=rngs)))[0].init(jax.random.key(0), 1),
            "init: got NnxCell",
        ),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()


def test_without_a_library_the_extra_is_named():
    program = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("flax", "equinox", "haiku"):
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Refuse())
import jrnn
import jrnn.interop as interop

for call in (interop.from_nnx, interop.from_equinox, interop.from_haiku):
    try:
        call(*[None] * (1 + (call is interop.from_haiku)))
    except jrnn.InputError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, extra in zip(done.stdout.splitlines(), ("flax", "equinox", "haiku"), strict=True):
        assert line == f'package {extra}: got not installed; need pip install "jrnn[{extra}]"'
