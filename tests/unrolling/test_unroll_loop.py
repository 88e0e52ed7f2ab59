"""`unroll` against a plain Python loop over `cell.step` and `cell.output`; gradients, jit, vmap, jvp, two devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import from_functions, from_step, gru, learnable_initial_state, lstm
from jrnn.unrolling import unroll

from .brute_force import CELLS, compare, inputs, make, random_like

close = partial(assert_allclose, rtol=1e-12, atol=1e-12)


def loop(cell, params, xs, start, steps):
    """(outputs, final_state, last, states), as the words say it: one step after the other."""
    state, outputs, states = start, [], [start]
    for t in range(steps):
        x = jax.tree.map(lambda a: a[t], xs)  # noqa: B023
        state = cell.step(params, state, x)
        outputs.append(cell.output(params, state, x))
        states.append(state)
    return join(outputs), state, outputs[-1], join(states)


def join(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def scanned(cell, params, xs, start, **options):
    run = unroll(cell, params, xs, initial_state=start, return_states=True, **options)
    return run.outputs, run.final_state, run.last, run.states


def both(cell, params, xs, start, steps, **options):
    """Values and gradients of loop and scan, with the same random cotangents."""
    cotangents = random_like(
        np.random.default_rng(3), jax.eval_shape(lambda p, x, s: loop(cell, p, x, s, steps), params, xs, start)
    )

    @partial(jax.jit, static_argnums=0)
    def run(function, p, x, s):
        values, pull = jax.vjp(function, p, x, s)
        return values, pull(cotangents)

    by_loop, by_scan = (partial(loop, cell, steps=steps), partial(scanned, cell, **options))
    return run(by_loop, params, xs, start), run(by_scan, params, xs, start)


@pytest.mark.parametrize("name", ["lstm", "stack", "pair"])
def test_scan_equals_python_loop_with_every_gradient(name):
    cell, params = make(name)
    xs = jax.tree.map(jnp.asarray, inputs(name, 3, (2,)))
    start = random_like(np.random.default_rng(0), cell.initial_state(params, (2,)))
    jax.tree.map(close, *both(cell, params, xs, start, 3))


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
@pytest.mark.parametrize("name", ["lstm", "pair"])
def test_every_batch_shape(name, batch):
    cell, params = make(name)
    compare(cell, params, inputs(name, 5, batch), steps=5, batch=batch, tol=1e-12)


@pytest.mark.parametrize("name", ["elman", "gru", "gru_before", "linear", "stack"])
def test_every_cell(name):
    batch = (2,)
    cell, params = make(name)
    compare(cell, params, inputs(name, 5, batch), steps=5, batch=batch, tol=1e-12)


@pytest.mark.parametrize(("steps", "batch"), [(1, (2,)), (0, (2,)), (0, ()), (3, (0,)), (0, (0,))], ids=str)
def test_shortest_and_empty(steps, batch):
    cell, params = make("lstm")
    values, grads = compare(cell, params, inputs("lstm", steps, batch), steps=steps, batch=batch)
    assert values[0].shape == (steps, *batch, 2)
    assert values[3].h.shape == (steps + 1, *batch, 2)
    if steps == 0:
        assert_array_equal(values[2], 0.0)


def test_default_initial_state_passes_its_gradient_to_the_parameters():
    cell = learnable_initial_state(gru(2))
    params = cell.init(jax.random.key(0), 2)
    params["initial_state"] = random_like(np.random.default_rng(0), params["initial_state"])
    xs = jnp.asarray(inputs("gru", 3, (2,)))

    def by_loop(params):
        start = jax.tree.map(lambda h: jnp.broadcast_to(h, (2, *h.shape)), params["initial_state"])
        return jnp.sum(jnp.sin(loop(cell, params, xs, start, 3)[0]))

    got = jax.grad(lambda p: jnp.sum(jnp.sin(unroll(cell, p, xs).outputs)))(params)
    assert np.abs(got["initial_state"].h).min() > 1e-3
    jax.tree.map(close, got, jax.grad(by_loop)(params))


def test_steps_per_iteration_change_nothing():
    cell, params = make("gru")
    compare(cell, params, inputs("gru", 5, (2,)), steps=5, batch=(2,), unroll=3)  # which does not divide 5


@pytest.mark.parametrize("axis", [1, 2])
def test_time_axis(axis):
    cell, params = make("lstm")
    xs = inputs("lstm", 4, (2, 3))
    rng = np.random.default_rng(0)
    mask, resets = rng.random((4, 2, 3)) < 0.7, rng.random((4, 2, 3)) < 0.3
    tap = random_like(rng, cell.initial_state(params, (5, 2, 3)))
    lengths = np.array([[4, 0, 2], [1, 3, 4]])
    plain = unroll(
        cell, params, xs, mask=mask, resets=resets, lengths=lengths, state_tap=tap, return_states=True, reverse=True
    )
    moved = unroll(
        cell,
        params,
        np.moveaxis(xs, 0, axis),
        mask=np.moveaxis(mask, 0, axis),
        resets=np.moveaxis(resets, 0, axis),
        state_tap=jax.tree.map(lambda a: jnp.moveaxis(a, 0, axis), tap),
        lengths=lengths,
        return_states=True,
        reverse=True,
        time_axis=axis,
    )
    for name in ("outputs", "states", "mask"):
        back = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), getattr(moved, name))
        jax.tree.map(assert_array_equal, back, getattr(plain, name))
    jax.tree.map(assert_array_equal, (moved.final_state, moved.last), (plain.final_state, plain.last))


def test_autonomous_cell_without_inputs():
    def step(params, state, x):
        assert x is None
        return params * state * (1 - state)

    cell = from_functions(initial_state=lambda params, batch: jnp.full((*batch, 1), 0.3), step=step)
    h, want = 0.3, []
    for _ in range(6):
        h = 3.7 * h * (1 - h)
        want.append(h)
    got = unroll(cell, jnp.asarray(3.7), None, length=6)
    close(got.outputs[:, 0], want)
    lengths = np.array([6, 2, 0])
    batched = unroll(cell, jnp.asarray(3.7), None, length=6, lengths=lengths)
    close(batched.last[:, 0], [want[5], want[1], 0.0])
    carried = unroll(cell, jnp.asarray(3.7), None, length=4, initial_state=jnp.asarray([[want[1]]]))
    close(carried.outputs[:, 0, 0], want[2:])
    close(unroll(lstm(2), make("lstm", 0)[1], None, length=2).outputs.shape, (2, 2))


def test_foreign_step_whose_output_reads_the_previous_state():
    cell = from_step(
        lambda params, state, x: (jnp.tanh(params * state + x), 3 * state + x),
        initial_state=lambda params, batch: jnp.zeros((*batch, 2)),
    )
    xs, params = jnp.asarray(inputs("elman", 4, (2,))), jnp.asarray(0.7)
    state, want = jnp.zeros((2, 2)), []
    for x in xs:
        want.append(3 * state + x)
        state = jnp.tanh(0.7 * state + x)
    run = unroll(cell, params, xs)
    close(run.outputs, jnp.stack(want))
    close(run.final_state, state)


def test_float32_stays_float32():
    cell, wide = make("gru")
    params = jax.tree.map(lambda a: a.astype(jnp.float32), wide)
    xs = inputs("gru", 5, (2,))
    run = unroll(cell, params, xs.astype(np.float32), return_states=True, lengths=np.array([5, 2]))
    for leaf in jax.tree.leaves((run.outputs, run.final_state, run.states, run.last)):
        assert leaf.dtype == jnp.float32
    assert_allclose(run.outputs, unroll(cell, wide, xs, lengths=np.array([5, 2])).outputs, atol=2e-6)


def test_states_and_taps_follow_the_cells_dtype():
    cell, params = make("gru")
    start = cell.initial_state(params, (2,))._replace(h=np.ones((2, 3), np.float32))
    assert unroll(cell, params, inputs("gru", 2, (2,)), initial_state=start).final_state.h.dtype == jnp.float64


def test_vmap_over_batch_and_parameters():
    cell, params = make("lstm")
    xs, lengths = inputs("lstm", 4, (3,)), np.array([4, 0, 2])
    want = unroll(cell, params, xs, lengths=lengths)
    got = jax.vmap(lambda x, n: unroll(cell, params, x, lengths=n), in_axes=(1, 0), out_axes=1)(xs, lengths)
    close(got.outputs, want.outputs)
    many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    outputs = jax.vmap(lambda p: unroll(cell, p, xs).outputs)(many)
    for i in range(2):
        close(outputs[i], unroll(cell, jax.tree.map(lambda a: a[i], many), xs).outputs)  # noqa: B023


def test_forward_mode_and_hessian_vector_product():
    cell, params = make("gru")
    xs = jnp.asarray(inputs("gru", 3, (2,)))
    start = cell.initial_state(params, (2,))
    direction = random_like(np.random.default_rng(5), params)
    lengths = np.array([3, 3])

    def by_loop(p):
        return jnp.sum(loop(cell, p, xs, start, 3)[0] ** 3)

    def by_scan(p):
        return jnp.sum(unroll(cell, p, xs, lengths=lengths).outputs ** 3)

    def forward(f):
        return jax.jit(lambda p: jax.jvp(f, (p,), (direction,)))(params)

    def curved(f):
        return jax.jit(lambda p: jax.jvp(jax.grad(f), (p,), (direction,))[1])(params)

    jax.tree.map(close, forward(by_scan), forward(by_loop))
    jax.tree.map(close, curved(by_scan), curved(by_loop))


def test_scalar_linear_derivatives_in_closed_form():
    # h_T = w^T h_0: first and second derivative are T w^(T-1) h_0 and T (T-1) w^(T-2) h_0
    cell, steps, w, h0 = CELLS["linear"], 9, 0.9, 1.3
    params = {"w_in": jnp.zeros((1, 3)), "bias": jnp.zeros(3), "w_rec": jnp.full(3, w)}
    start = cell.initial_state(params, ())._replace(h=jnp.full(3, h0))

    def final(w):
        run = unroll(cell, params | {"w_rec": jnp.full(3, 1.0) * w}, jnp.zeros((steps, 1)), initial_state=start)
        return run.final_state.h[0]

    close(jax.grad(final)(w), steps * w ** (steps - 1) * h0, rtol=1e-14)
    close(jax.grad(jax.grad(final))(w), steps * (steps - 1) * w ** (steps - 2) * h0, rtol=1e-14)


def counting_cell():
    traces = []

    def step(params, state, x):
        traces.append(None)
        return jnp.tanh(params * state + x)

    return from_functions(initial_state=lambda params, batch: jnp.zeros((*batch, 2)), step=step), traces


@pytest.mark.parametrize("jitted", [True, False])
def test_one_trace_per_shape(jitted):
    cell, traces = counting_cell()

    def call(params, xs, lengths):
        return unroll(cell, params, xs, lengths=lengths).outputs

    call = jax.jit(call) if jitted else call
    call(jnp.ones(()), jnp.ones((4, 2, 2)), np.array([1, 2]))
    first = len(traces)
    assert first > 0
    call(jnp.zeros(()), jnp.zeros((4, 2, 2)), np.array([4, 3]))
    assert len(traces) == first, "equal shapes were traced again"
    call(jnp.zeros(()), jnp.zeros((5, 2, 2)), np.array([4, 3]))
    assert len(traces) > first, "the counter counts"


def test_equal_descriptions_share_a_trace():
    traces = []

    @partial(jax.jit, static_argnums=0)
    def call(cell, params, xs):
        traces.append(None)
        return unroll(cell, params, xs).last

    for _ in range(2):
        call(gru(2), make(gru(2))[1], jnp.zeros((3, 2)))
    assert len(traces) == 1


def test_a_users_class_needs_no_registration():
    class Leaky:
        def init(self, key, input_size):
            return {"keep": jnp.asarray(0.5)}

        def initial_state(self, params, batch_shape):
            return jnp.zeros((*batch_shape, 1))

        def step(self, params, state, x):
            return params["keep"] * state + x

        def output(self, params, state, x):
            return state

    cell = Leaky()
    close(unroll(cell, cell.init(None, 1), jnp.ones((3, 1))).last, [1.75])


def test_two_devices_give_the_same():
    devices = jax.devices()
    assert len(devices) == 2
    mesh = jax.sharding.Mesh(np.array(devices), ("batch",))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "batch"))
    cell, params = make("lstm")
    xs = jnp.asarray(inputs("lstm", 5, (4,)))
    lengths = jnp.asarray([5, 0, 3, 4])

    @jax.jit
    def call(params, xs):
        def of(params, xs):
            run = unroll(cell, params, xs, lengths=lengths)
            return jnp.sum(run.outputs**2) + jnp.sum(run.last), run.outputs

        return jax.value_and_grad(of, argnums=(0, 1), has_aux=True)(params, xs)

    (value, outputs), grads = call(params, jax.device_put(xs, split))
    assert len(outputs.sharding.device_set) == 2
    jax.tree.map(close, ((value, outputs), grads), call(params, xs))
