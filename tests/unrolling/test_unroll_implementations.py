"""Every implementation inside `unroll` against the scan of the cell's own step, whatever the options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.kernels.implementations import native
from jrnn.unrolling import ZeroTap, kernel_calls

needs_kernel = pytest.mark.skipif(isinstance(native.library(), str), reason=str(native.library()))
IMPLEMENTATIONS = ("xla",) if isinstance(native.library(), str) else ("native", "xla")

T, B, F = 7, 4, 3
rng = np.random.default_rng(0)
LENGTHS = jnp.asarray([0, 3, 7, 5])
MASK = jnp.asarray(rng.random((T, B)) < 0.7)
RESETS = jnp.asarray(rng.random((T, B)) < 0.3)

CELLS = {
    "elman": jrnn.elman(5),
    "relu": jrnn.elman(4, "relu"),
    "lstm": jrnn.lstm(4),
    "gru": jrnn.gru(3),
    "gru, reset before": jrnn.gru(3, reset_after=False),
    "stack": jrnn.stack(jrnn.lstm(3), jrnn.gru(4), jrnn.elman(2)),
    "mixed stack": jrnn.stack(jrnn.lstm(3), jrnn.linear(4), jrnn.gru(2)),
    "stack of stacks": jrnn.stack(jrnn.stack(jrnn.gru(3), jrnn.elman(2)), jrnn.lstm(3)),
    "bidirectional": jrnn.Bidirectional(jrnn.lstm(3), jrnn.gru(2)),
    "both alike": jrnn.Bidirectional(jrnn.residual(jrnn.lstm(F))),
    "bidirectional stack": jrnn.stack(jrnn.Bidirectional(jrnn.gru(2)), jrnn.lstm(3)),
    "min_gru": jrnn.min_gru(4, candidate="tanh"),
    "min_lstm": jrnn.min_lstm(4),
    "rg_lru": jrnn.residual(jrnn.rg_lru(F)),
    "lru": jrnn.lru(4, outputs=2),
    "gated both ways": jrnn.stack(jrnn.Bidirectional(jrnn.min_lstm(2)), jrnn.min_gru(3), jrnn.lru(2)),
    "residual": jrnn.residual(jrnn.gru(F)),
    "layer norm": jrnn.layer_norm(jrnn.lstm(4)),
    "learnable start": jrnn.learnable_initial_state(jrnn.lstm(4)),
    "quiet dropout": jrnn.dropout(jrnn.gru(4), outputs=0.5),
}
OPTIONS = {
    "plain": {},
    "lengths": dict(lengths=LENGTHS),
    "everything": dict(lengths=LENGTHS, mask=MASK, resets=RESETS, truncate=2, reverse=True),
    "remat step": dict(remat="step", mask=MASK),
    "remat sqrt": dict(remat="sqrt", lengths=LENGTHS, resets=RESETS),
    "remat 4 reverse": dict(remat=4, reverse=True),
}


def assert_same(cell, options, tap=False, initial=False, shape=(T, B), names=IMPLEMENTATIONS):
    """Values and every gradient by all implementations."""
    params = cell.init(jax.random.key(0), F)
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(p.size), p.shape), params)
    xs = jax.random.normal(jax.random.key(1), (*shape, F))
    look = jax.eval_shape(lambda p: jrnn.unroll(cell, p, xs, return_states=True, **options), params)

    def random(tree, seed):
        numbers = np.random.default_rng(seed)
        return jax.tree.map(lambda a: jnp.asarray(numbers.normal(size=a.shape), a.dtype), tree)

    start = random(look.final_state, 2) if initial else None
    taps = random(look.states, 3) if tap else None
    weights = random((look.outputs, look.final_state, look.states, look.last), 4)

    def run(name):
        def loss(params, xs, start, taps):
            found = jrnn.unroll(
                cell,
                params,
                xs,
                initial_state=start,
                state_tap=taps,
                return_states=True,
                implementation=name,
                **options,
            )
            parts = found.outputs, found.final_state, found.states, found.last
            products = jax.tree.map(lambda a, w: jnp.sum(a * w), parts, weights)
            return sum(jax.tree.leaves(products)), found

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(params, xs, start, taps)

    wanted = run("reference")
    for name in names:
        found = run((name, "reference"))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), found, wanted)


EVERY_OPTION = [("lstm", options) for options in OPTIONS]
EVERY_OPTION += [(cell, "everything") for cell in ("gru", "gru, reset before", "elman")]
EVERY_OPTION += [("gru", "remat sqrt"), ("gru, reset before", "remat step"), ("elman", "remat 4 reverse")]


@pytest.mark.parametrize("cell, options", EVERY_OPTION)
def test_options(cell, options):
    assert_same(CELLS[cell], OPTIONS[options], initial=True)


OTHERWISE = ("lstm", "gru", "gru, reset before", "elman", "stack of stacks", "both alike", "stack", "lru")
"""Those that other tests here run with all or most options."""


@pytest.mark.parametrize("cell", [name for name in CELLS if name not in OTHERWISE])
def test_cells(cell):
    assert_same(CELLS[cell], OPTIONS["everything"])


@pytest.mark.thorough
@pytest.mark.parametrize("cell", ["lstm", "mixed stack", "stack of stacks", "both alike", "bidirectional stack", "lru"])
def test_a_tap_that_is_added(cell):
    assert_same(CELLS[cell], dict(lengths=LENGTHS, mask=MASK, resets=RESETS), tap=True)


@pytest.mark.thorough
def test_gated_cells_in_segments_of_their_own():
    """With `remat` each segment makes the inputs of its kernel anew."""
    assert_same(CELLS["lru"], OPTIONS["remat sqrt"], initial=True, names=[*IMPLEMENTATIONS, "associative"])


@pytest.mark.thorough
@needs_kernel
def test_gated_cells_run_in_pieces_of_the_cache(monkeypatch):
    """Long sequences, whatever was asked for: 13 steps by 3."""
    monkeypatch.setattr(kernel_calls, "CACHED", 3 * B * 4)
    cell = CELLS["min_lstm"]
    assert_same(cell, dict(lengths=LENGTHS, reverse=True), shape=(13, B), names=["native"])
    params = cell.init(jax.random.key(0), F)
    for steps, pieces in ((13, True), (11, False)):
        program = jax.make_jaxpr(lambda p, xs: jrnn.unroll(cell, p, xs).outputs)(params, jnp.ones((steps, B, F)))
        assert ("scan[" in str(program)) == pieces


@pytest.mark.parametrize("cell", ["min_lstm", "lru"])
def test_members_of_an_ensemble_with_inputs_of_their_own(cell):
    """Under vmap a kernel without weights has one group for each set of parameters, or more sequences."""
    cell = CELLS[cell]
    sets = jax.tree.map(lambda *p: jnp.stack(p), *(cell.init(jax.random.key(n), F) for n in range(3)))
    xs, resets = jax.random.normal(jax.random.key(5), (T, B, F)), RESETS

    def gradient(name):
        def loss(params, shift):
            found = jrnn.unroll(cell, params, xs + shift, resets=resets, implementation=name)
            return jnp.sum(jnp.sin(found.outputs)) + sum(map(jnp.sum, jax.tree.leaves(found.final_state)))

        return jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1)), in_axes=(0, None)))(sets, jnp.ones(()))

    wanted = gradient("reference")
    for name in IMPLEMENTATIONS:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11), gradient(name), wanted)


@pytest.mark.parametrize("options", ["everything", "remat sqrt"])
def test_a_linear_cell_by_a_parallel_scan(options):
    assert_same(jrnn.linear(4), OPTIONS[options], tap=options == "remat sqrt", initial=True, names=["associative"])


@pytest.mark.parametrize("shape", [(T,), (T, 2, 3), (1, 2), (0, 2), (3, 0)], ids=str)
def test_batch_axes_and_empty_sequences(shape):
    assert_same(CELLS["lstm"], {}, shape=shape, initial=True)


@pytest.mark.parametrize(
    "cell", ["lstm", "stack", "mixed stack", "layer norm", "bidirectional", "both alike", "gated both ways"]
)
def test_a_silent_tap_takes_the_gradient(cell):
    """delta_t from the kernel's own backward pass."""
    cell = CELLS[cell]
    params = cell.init(jax.random.key(0), F)
    xs = jax.random.normal(jax.random.key(1), (T, B, F))
    look = jax.eval_shape(lambda p: jrnn.unroll(cell, p, xs, return_states=True), params)
    tap = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), look.states)

    def of(name):
        def loss(tap):
            found = jrnn.unroll(cell, params, xs, lengths=LENGTHS, state_tap=ZeroTap(tap), implementation=name)
            return jnp.sum(jnp.sin(found.outputs)) + jnp.sum(found.last**2)

        return jax.jit(jax.grad(loss))(tap)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), of(None), of("reference"))


def test_an_autonomous_cell():
    cell = jrnn.gru(4)
    params = cell.init(jax.random.key(0), None)
    start = jrnn.GRUState(jax.random.normal(jax.random.key(1), (2, 4)))
    found, wanted = (
        jrnn.unroll(cell, params, None, length=9, initial_state=start, implementation=name).outputs
        for name in (None, "reference")
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@needs_kernel
def test_both_directions_are_one_call():
    """Forwards and backwards; two cells that differ are two."""
    for cell, calls in ((jrnn.Bidirectional(jrnn.gru(3)), 1), (jrnn.Bidirectional(jrnn.gru(3), jrnn.gru(4)), 2)):
        params, xs = cell.init(jax.random.key(0), F), jnp.ones((T, B, F))
        grad = jax.jit(jax.grad(lambda p, cell=cell, xs=xs: jnp.sum(jrnn.unroll(cell, p, xs).outputs ** 2)))
        text = grad.lower(params).compile().as_text()
        assert [text.count(f'custom_call_target="jrnn_{way}ward"') for way in ("for", "back")] == [calls, calls]


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["native", "xla"])
def test_two_directions_that_differ_in_what_they_give_are_two_calls(name):
    """A wrapper needs all of its states, a plain cell none; a tap of one side alone."""
    if name == "native" and isinstance(native.library(), str):
        pytest.skip(native.library())
    xs = jax.random.normal(jax.random.key(1), (6, 2, 4), jnp.float64)
    lstm = jrnn.lstm(4, dtype="float64")
    for cell in (jrnn.Bidirectional(lstm, jrnn.residual(lstm)), jrnn.Bidirectional(jrnn.residual(lstm), lstm)):
        params = cell.init(jax.random.key(0), 4)
        found, wanted = (jrnn.unroll(cell, params, xs, implementation=each) for each in (name, "reference"))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), found, wanted)
    cell = jrnn.Bidirectional(lstm)
    params = cell.init(jax.random.key(0), 4)
    states = jrnn.unroll(cell, params, xs, return_states=True).states

    def pulled(tap, each):
        tap = states._replace(forward=tap, backward=None)
        return jnp.sum(jrnn.unroll(cell, params, xs, state_tap=tap, implementation=each).outputs ** 2)

    silence = jax.tree.map(jnp.zeros_like, states.forward)
    found, wanted = (jax.grad(pulled)(silence, each) for each in (name, "reference"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), found, wanted)


@needs_kernel
def test_value_and_grads_by_the_kernel():
    """One program, with the kernel in it, and the same delta as the scan's."""
    cell = jrnn.lstm(4)
    params, xs = cell.init(jax.random.key(0), F), jax.random.normal(jax.random.key(1), (T, B, F))

    def of(name):
        return jax.jit(
            lambda p: jrnn.value_and_grads(cell, p, xs, lambda u: jnp.sum(u.outputs**2), implementation=name)
        )

    text = of(None).lower(params).compile().as_text()
    assert text.count('custom_call_target="jrnn_backward"') == 1
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), of(None)(params), of("reference")(params)
    )
