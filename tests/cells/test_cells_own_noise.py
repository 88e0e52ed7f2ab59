"""Noise of a user's own cells: against plain loops that make the same draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cells import draws_noise
from tests.cells.cases import FOREIGN, OWN

T, B, H = 5, 3, 4
KEY = jax.random.key(3)
PARAMS = jnp.asarray(np.random.default_rng(0).normal(size=(H, H))) / 2
XS = np.random.default_rng(1).normal(size=(T, B, H))


def start(params, batch_shape):
    return jnp.zeros((*batch_shape, H))


def start_of_one(params):
    return jnp.zeros(H)


def draw(params, key, t, batch_shape):
    """Anew for every step, and a gain drawn once a sequence."""
    units = jax.random.normal(jax.random.fold_in(key, t), (*batch_shape, H))
    return {"units": units, "gain": jax.random.uniform(key, (*batch_shape, 1))}


def noisy_step(w, h, x, noise):
    return jnp.tanh(h @ w + x) if noise is None else jnp.tanh(h @ w + noise["gain"] * x + 0.3 * noise["units"])


def noisy_output(w, h, x, noise=None):
    return h if noise is None else h + noise["units"]


def noisy_scan_step(w, h, x, noise):
    after = noisy_step(w, h, x, noise)
    return after, after[:2]


OURS = jrnn.from_functions(initial_state=start, step=noisy_step, output=noisy_output, noise=draw)
ALONE = jrnn.from_step(noisy_scan_step, initial_state=start_of_one, noise=draw, batched=False)


def plain_loop(w, drawn):
    """[T + 1, B, H] in NumPy; drawn(t) is the noise of all sequences."""
    states = [np.zeros((B, H))]
    for t in range(T):
        noise = jax.tree.map(np.asarray, drawn(t))
        states.append(np.tanh(states[-1] @ w + noise["gain"] * XS[t] + 0.3 * noise["units"]))
    return np.stack(states)


def test_noise_is_what_the_function_draws():
    def drawn(t):
        return draw(PARAMS, KEY, t, (B,))

    expected = plain_loop(PARAMS, drawn)
    run = jax.jit(lambda w, key: jrnn.unroll(OURS, w, XS, key=key, return_states=True))(PARAMS, KEY)
    np.testing.assert_allclose(run.states, expected, rtol=1e-12)
    units = np.stack([drawn(t)["units"] for t in range(T)])
    np.testing.assert_allclose(run.outputs, expected[1:] + units, rtol=1e-12)

    state, y = jrnn.step(OURS, PARAMS, expected[2], XS[2], key=KEY, t=2)  # step after step it is the same run
    np.testing.assert_allclose(state, expected[3], rtol=1e-12)
    np.testing.assert_allclose(y, expected[3] + units[2], rtol=1e-12)
    J = jrnn.jacobians(OURS, PARAMS, XS, key=KEY)
    np.testing.assert_allclose(J[2], (1 - expected[3] ** 2)[..., None] * np.asarray(PARAMS).T, rtol=1e-12)

    quiet = jrnn.unroll(OURS, PARAMS, XS, return_states=True)  # without a key there is none
    np.testing.assert_allclose(quiet.states[1], np.tanh(XS[0]), rtol=1e-12)
    np.testing.assert_array_equal(quiet.outputs, quiet.states[1:])


def test_a_step_of_one_sequence_draws_for_each():
    def drawn(t):
        each = [draw(PARAMS, key, t, ()) for key in jax.random.split(KEY, B)]
        return jax.tree.map(lambda *a: np.stack(a), *each)

    expected = plain_loop(PARAMS, drawn)
    wrapped = jrnn.learnable_initial_state(ALONE)  # a combinator hands it on
    for cell, params in ((ALONE, PARAMS), (wrapped, {"cell": PARAMS, "initial_state": np.zeros(H)})):
        assert draws_noise(cell)
        run = jrnn.unroll(cell, params, XS, key=KEY)
        np.testing.assert_allclose(run.final_state, expected[-1], rtol=1e-12)
        np.testing.assert_allclose(run.outputs, expected[1:, :, :2], rtol=1e-12)
    wide = jrnn.unroll(ALONE, PARAMS, XS[:, None], key=KEY).outputs  # two batch axes
    np.testing.assert_allclose(wide[:, 0], expected[1:, :, :2], rtol=1e-12)


@pytest.mark.parametrize("cell", [OWN, FOREIGN, jrnn.stack(OWN)], ids=["functions", "step", "stack"])
def test_a_key_is_refused_where_nothing_is_drawn(cell):
    assert not draws_noise(cell)
    params = cell.init(KEY, 3)
    for run in (jrnn.unroll, jrnn.jacobians):
        with pytest.raises(jrnn.InputError, match=r"^key: got a key for .*, which draws no noise; .*from_functions"):
            run(cell, params, jnp.ones((2, 3)), key=KEY)
    with pytest.raises(jrnn.InputError, match="^key: got a key for"):
        jrnn.step(cell, params, cell.initial_state(params, ()), jnp.ones(3), key=KEY)


@pytest.mark.parametrize("make", [jrnn.from_functions, jrnn.from_step])
def test_functions_that_take_no_noise_are_named(make):
    parts = {"initial_state": start, "step": noisy_step, "noise": draw}
    for name, bad, needed in (
        ("noise", lambda key: key, r"\(params, key, t, batch_shape\)"),
        ("step", lambda w, h, x: h, r"\(params, state, x, noise\)"),
        ("output", lambda w, h, x: h, r"\(params, state, x, noise\)"),
    ):
        with pytest.raises(jrnn.InputError, match=f"^{name}: got a function of .*{needed}, beside `noise=`"):
            make(**parts | {name: bad})
    with pytest.raises(jrnn.InputError, match=r"^step: got a function of .* or noise=, what draws the fourth argument"):
        make(initial_state=start, step=lambda params, state, x, noise: state)
    with pytest.raises(jrnn.InputError, match="^noise: got float; need a function, or None"):
        make(**parts | {"noise": 0.1})


@pytest.mark.parametrize("make", [jrnn.from_functions, jrnn.from_step])
def test_a_step_that_cannot_do_without_noise_is_told(make):
    """None is what a run without a key gives, and what every run is checked with; other errors are left as they are."""

    def step(w, h, x, noise):
        return (h + 0.1 * noise, h)[: 1 if make is jrnn.from_functions else 2]

    def wrong(w, h, x, noise):
        return h + w["no such"]

    for key in (KEY, None):
        with pytest.raises(jrnn.InputError, match="^step: got .*NoneType.*, where noise is None, .* if noise is None"):
            jrnn.unroll(make(initial_state=start, step=step, noise=draw), jnp.eye(2), jnp.ones((3, 2)), key=key)
    with pytest.raises(TypeError):
        jrnn.unroll(make(initial_state=start, step=wrong, noise=draw), jnp.eye(2), jnp.ones((3, 2)), key=KEY)
