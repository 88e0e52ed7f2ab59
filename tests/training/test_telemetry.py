"""What a run logs of its gradient, against Python loops, NumPy and closed forms."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_same_bits, cases

import jrnn
from jrnn import InputError
from jrnn.training import Objective, delta_metrics, fit, stream, tangent_growth

CELL = jrnn.elman(4)
CLASSIFY = Objective("classify", 3)
NAMES = {"delta_early", "delta_late", "delta_growth", "delta_reach"}


def numpy_metrics(norms, lengths):
    """The formulas of the docstring, from ||dL/dh_j||, [T, B] with row j - 1 for step j."""
    squares = {"early": [], "late": []}
    ways, reaches = [], []
    for b, n in enumerate(lengths):
        if not n:
            continue
        d = norms[:n, b]
        w = int(np.ceil(n / 10))
        squares["early"] += list(d[:w] ** 2)
        squares["late"] += list(d[n - w :] ** 2)
        ways.append(n - w)
        if d.max() > 0:
            carries = d >= 0.01 * d.max()
            e = s = int(np.flatnonzero(carries)[-1])
            while s > 0 and carries[s - 1]:
                s -= 1
            reaches.append(e - s)
    early, late = (np.sqrt(np.mean(squares[k])) if squares[k] else 0.0 for k in ("early", "late"))
    growth = np.log(early / late) / np.mean(ways) if ways and np.mean(ways) else 0.0
    reach = np.mean(reaches) if reaches else 0.0
    return {"delta_early": early, "delta_late": late, "delta_growth": growth, "delta_reach": reach}


def assert_metrics(found, expected, rtol=1e-12):
    assert found.keys() == NAMES
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), value, rtol=rtol, err_msg=name)


def looped_deltas(params, xs, loss, lengths):
    """dL/dh_t [T, B, H] of an Elman network: jax.grad with respect to what a Python loop adds to every state."""
    steps, batch, _ = xs.shape

    def of(added):
        h, states = jnp.zeros((batch, 4)), []
        for t in range(steps):
            bias = jnp.broadcast_to(params["bias"], h.shape)
            new = jnp.tanh(xs[t] @ params["w_in"] + h @ params["w_rec"] + bias) + added[t]
            h = jnp.where((t < lengths)[:, None], new, h)
            states.append(h)
        return loss(jnp.stack(states))

    return jax.jit(jax.grad(of))(jnp.zeros((steps, batch, 4)))


@pytest.mark.parametrize(
    "lengths, each",
    [([23, 0, 1, 17, 10, 11, 2], False), ([23, 0, 1, 17, 10, 11, 2], True), ([0, 0], False), ([1, 1, 1], False)],
)
def test_figures_of_delta_against_a_python_loop(lengths, each, key):
    rng = np.random.default_rng(0)
    xs, lengths = jnp.asarray(rng.normal(size=(23, len(lengths), 3))), jnp.asarray(lengths)
    params = CELL.init(key, 3)
    mask = np.arange(23)[:, None] < np.asarray(lengths)[None]
    weight = jnp.asarray(rng.normal(size=(23, len(lengths), 4)) * mask[..., None])

    def of_outputs(outputs):
        return (jnp.sin(outputs) * weight).sum() if each else (outputs[-1] ** 2 * weight[0]).sum()

    def loss(run):
        held = jnp.where((lengths > 0)[:, None], run.last, 0.0)
        return (jnp.sin(run.outputs) * weight).sum() if each else (held**2 * weight[0]).sum()

    @jax.jit
    def metrics(params):
        _, grads = jrnn.value_and_grads(CELL, params, xs, loss, lengths=lengths)
        return delta_metrics(CELL, grads.states, jnp.asarray(mask))

    found = metrics(params)
    norms = np.linalg.norm(looped_deltas(params, xs, of_outputs, lengths), axis=-1)
    assert_metrics(found, numpy_metrics(norms, lengths), rtol=1e-10)


def made_up(norms, dtype="float64", width=4):
    """delta [T+1, B, H] with the given norms from step 1 on."""
    direction = np.ones(width) / np.sqrt(width)
    delta = np.concatenate([np.full((1, norms.shape[1]), 7.0), norms])[..., None] * direction
    return jnp.asarray(delta, dtype)


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 37])
def test_geometric_decay_and_growth_are_found(steps):
    for rate in (-0.3, 0.2):
        norms = np.exp(rate * np.arange(steps, 0, -1.0))[:, None] * [[1.0, 1.0]]
        found = delta_metrics(CELL, made_up(norms), jnp.ones((steps, 2), bool))
        assert_metrics(found, numpy_metrics(norms, [steps, steps]))
        np.testing.assert_allclose(found["delta_growth"], 0.0 if steps == 1 else rate, atol=1e-12)
        far = steps - 1 if rate > 0 else min(steps - 1, int(np.log(100) / -rate))
        if rate < 0:
            assert found["delta_reach"] == far


@pytest.mark.thorough
@pytest.mark.parametrize("size", [1e-30, 1e-37, 1.0, 1e30])
def test_float32_neither_underflows_nor_overflows(size):
    norms = size * np.array([[1.0, 0.5], [1.0, 2.0], [1.0, 1.0]])
    found = delta_metrics(CELL, made_up(norms, "float32"), jnp.ones((3, 2), bool))
    assert all(value.dtype == jnp.float32 for value in found.values())
    expected = numpy_metrics(norms, [3, 3])
    # a difference of logarithms of up to 70, of 24 bits each
    np.testing.assert_allclose(found["delta_growth"], expected.pop("delta_growth"), atol=1e-5)
    assert_metrics(found, expected | {"delta_growth": found["delta_growth"]}, rtol=1e-5)
    steep = np.array([[1e-30], [1e-3], [1e30]])
    found = delta_metrics(CELL, made_up(steep, "float32"), jnp.ones((3, 1), bool))
    np.testing.assert_allclose(found["delta_growth"], -60 * np.log(10) / 2, rtol=1e-6)


@pytest.mark.thorough
def test_no_gradient_is_reported_as_such():
    def of(norms, mask=None):
        norms = np.asarray(norms, float)[:, None]
        mask = np.ones(norms.shape, bool) if mask is None else mask
        return {name: float(v) for name, v in delta_metrics(CELL, made_up(norms), jnp.asarray(mask)).items()}

    assert of([0, 0, 1]) == {"delta_early": 0, "delta_late": 1, "delta_growth": -np.inf, "delta_reach": 0}
    assert of([1, 0, 0])["delta_growth"] == np.inf
    assert set(of([0, 0, 0]).values()) == {0}
    assert set(of([1, 1, 1], np.zeros((3, 1), bool)).values()) == {0}
    assert of([1, 1, 1, 1e-3, 1, 1, 1e-3])["delta_reach"] == 1  # from step 6 back to 5, where there is a gap
    broken = of([1, np.nan, 1])
    assert broken["delta_reach"] == 0 and broken["delta_growth"] == 0
    assert np.isnan(of([1, 1, np.nan])["delta_late"]) and of([1, 1, np.inf])["delta_late"] == np.inf
    empty = delta_metrics(CELL, jnp.zeros((1, 2, 3)), jnp.zeros((0, 2), bool))
    assert all(v == 0 for v in empty.values())
    none = delta_metrics(CELL, jnp.zeros((4, 0, 3)), jnp.zeros((3, 0), bool))
    assert all(v == 0 for v in none.values())


def test_steps_left_out_by_a_mask_do_not_count():
    norms = np.array([[1.0], [5.0], [2.0], [9.0], [4.0]])
    kept = np.array([True, False, True, False, True])
    found = delta_metrics(CELL, made_up(norms), jnp.asarray(kept[:, None]))
    assert_metrics(found, numpy_metrics(norms[kept], [3]))


@pytest.mark.thorough
def test_reverse_and_both_directions_are_read_in_their_own_order():
    rng = np.random.default_rng(3)
    forward, backward = np.exp(rng.normal(size=(2, 13, 2)))
    lengths = np.array([13, 6])
    mask = jnp.asarray(np.arange(13)[:, None] < lengths[None])
    flipped = np.zeros_like(backward)  # backward[t] is that of the state after step t was read
    for b, n in enumerate(lengths):
        flipped[:n, b] = backward[:n, b][::-1]
    after = made_up(backward)
    reversed_layout = jnp.concatenate([after[1:], after[:1]])
    expected = numpy_metrics(flipped, lengths)
    assert_metrics(delta_metrics(CELL, reversed_layout, mask, reverse=True), expected)
    both = jrnn.Bidirectional(CELL, CELL)
    state = jrnn.cells.BidirectionalState(made_up(forward), reversed_layout)
    found = delta_metrics(both, state, mask)
    one = numpy_metrics(forward, lengths)
    for name in ("delta_early", "delta_late"):
        np.testing.assert_allclose(found[name], np.hypot(one[name], expected[name]), rtol=1e-12)
    assert found["delta_reach"] == (one["delta_reach"] + expected["delta_reach"]) / 2
    layers = delta_metrics(jrnn.stack(both, CELL), (state, made_up(forward)), mask)
    np.testing.assert_allclose(
        layers["delta_late"], np.sqrt(2 * one["delta_late"] ** 2 + expected["delta_late"] ** 2), rtol=1e-12
    )


@pytest.mark.thorough
def test_all_leaves_of_the_state_count():
    h, c = (made_up(np.full((4, 2), size), width=width) for size, width in ((3.0, 2), (4.0, 5)))
    found = delta_metrics(jrnn.lstm(2), jrnn.cells.LSTMState(h, c), jnp.ones((4, 2), bool))
    np.testing.assert_allclose(found["delta_early"], 5.0, rtol=1e-12)


def test_bad_deltas_are_refused():
    with pytest.raises(InputError, match="delta: got complex128; need real"):
        delta_metrics(CELL, jnp.zeros((3, 2), complex), jnp.ones(2, bool))
    with pytest.raises(InputError, match=r"delta: got shapes \[\(3, 2, 4\)\] for a mask \(3, 2\)"):
        delta_metrics(CELL, jnp.zeros((3, 2, 4)), jnp.ones((3, 2), bool))


def product(params, h, x):
    return h @ params["w"] if x is None else h @ params["w"] + x


MAP = jrnn.from_functions(
    init=lambda key, size: {"w": jnp.eye(2)},
    initial_state=lambda params, batch: jnp.zeros((*batch, 2), params["w"].dtype),
    step=product,
    output=None,
)


def test_growth_of_a_scaled_rotation_is_exact(key):
    """h' = a Q h with Q orthogonal: every direction grows by ln |a| in every step."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    growth = jax.jit(lambda w, x: tangent_growth(MAP, {"w": w}, x, key))
    for xs in (jnp.zeros((300, 7, 2)), jnp.zeros((1, 2)), jnp.zeros((40, 3, 2, 2))):
        for scale in (1e-12, 0.5, 1.0, 3e9):
            np.testing.assert_allclose(growth(scale * q, xs), np.log(scale), rtol=1e-12, atol=1e-12)
    for scale in (1e-30, 1e30):  # 300 steps of it in float32
        w, x = jnp.asarray(scale * q, jnp.float32), jnp.zeros((300, 2, 2), jnp.float32)
        found = growth(w, x)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, np.log(scale), rtol=1e-6)


def test_growth_of_an_autonomous_map_tends_to_its_eigenvalue(key):
    w = np.array([[0.9, 5.0], [0.0, 0.3]])
    found = tangent_growth(MAP, {"w": jnp.asarray(w.T)}, None, key, length=4000)
    np.testing.assert_allclose(found, np.log(0.9), atol=2e-3)


@pytest.mark.parametrize("reverse", [False, True])
def test_growth_of_a_tanh_network_against_explicit_jacobians(reverse, key):
    rng = np.random.default_rng(5)
    params = CELL.init(key, 3)
    xs, lengths, few = rng.normal(size=(11, 6, 3)), np.array([11, 0, 1, 7, 11, 11]), 4
    start = 0.1 * rng.normal(size=(6, 4))
    own = jax.random.normal(jax.random.fold_in(key, 0), (few, 4), jnp.float64)
    total = count = 0
    for b in range(few):
        h, v = start[b], np.asarray(own[b]) / np.linalg.norm(own[b])
        order = range(lengths[b])
        for t in reversed(order) if reverse else order:
            w = np.asarray(params["w_rec"])
            h = np.tanh(xs[t, b] @ np.asarray(params["w_in"]) + h @ w + np.asarray(params["bias"]))
            v = np.diag(1 - h**2) @ w.T @ v
            total, count = total + np.log(np.linalg.norm(v)), count + 1
            v = v / np.linalg.norm(v)
    state = jrnn.cells.ElmanState(jnp.asarray(start))
    options = {"lengths": jnp.asarray(lengths), "initial_state": state, "reverse": reverse, "truncate": 3}
    found = tangent_growth(CELL, params, jnp.asarray(xs), key, sequences=few, remat="sqrt", **options)
    np.testing.assert_allclose(found, total / count, rtol=1e-11)
    turned = jnp.swapaxes(jnp.asarray(xs), 0, 1)
    again = tangent_growth(CELL, params, turned, key, sequences=few, time_axis=1, **options)
    np.testing.assert_allclose(again, found, rtol=1e-13)


@pytest.mark.thorough
def test_a_reset_begins_again_with_the_cells_own_state_and_the_first_tangent(key):
    cell = jrnn.learnable_initial_state(CELL)
    params, xs = cell.init(key, 3), jax.random.normal(key, (7, 2, 3))
    params["initial_state"] = params["initial_state"]._replace(h=jnp.asarray([0.4, -0.3, 0.2, 0.9]))
    carried = jrnn.unroll(cell, params, xs).final_state
    resets = jnp.zeros((7, 2), bool).at[3].set(True)
    found = tangent_growth(cell, params, xs, key, initial_state=carried, resets=resets)
    first = tangent_growth(cell, params, xs[:3], key, initial_state=carried)
    np.testing.assert_allclose(found, (3 * first + 4 * tangent_growth(cell, params, xs[3:], key)) / 7, rtol=1e-12)


def test_growth_of_an_lstm_and_a_stack_against_jacobians(key):
    cell = jrnn.stack(jrnn.lstm(3), jrnn.gru(2))
    params, xs = cell.init(key, 2), jax.random.normal(key, (9, 2))
    J = np.asarray(jrnn.jacobians(cell, params, xs))
    like = jax.tree.leaves(cell.initial_state(params, ()))
    v = np.concatenate([jax.random.normal(jax.random.fold_in(key, i), a.shape, a.dtype) for i, a in enumerate(like)])
    whole = np.linalg.multi_dot([*J[::-1], v / np.linalg.norm(v)])
    found = tangent_growth(cell, params, xs, key)
    np.testing.assert_allclose(found, np.log(np.linalg.norm(whole)) / 9, rtol=1e-11)


def test_dead_directions_and_empty_runs(key):
    params, xs = {"w": jnp.zeros((2, 2))}, jnp.ones((4, 2, 2))
    assert tangent_growth(MAP, params, xs, key) == -jnp.inf
    assert tangent_growth(MAP, params, xs, key, lengths=jnp.zeros(2, int)) == 0
    assert tangent_growth(MAP, params, xs[:0], key) == 0
    with pytest.raises(InputError, match="cell: got Bidirectional; need a causal cell"):
        tangent_growth(jrnn.Bidirectional(CELL, CELL), (params, params), xs, key)


@pytest.mark.thorough
@pytest.mark.thorough
@pytest.mark.parametrize(
    "cell, unroll_options",
    [
        (jrnn.stack(jrnn.lstm(3, dtype="bfloat16"), jrnn.dropout(jrnn.gru(2), outputs=0.2)), {"truncate": 2}),
        (jrnn.Bidirectional(jrnn.elman(3), jrnn.gru(2)), {"remat": "sqrt"}),
    ],
    ids=["stack", "bidirectional"],
)
def test_fit_logs_it_and_resumes_with_the_same_bits(cell, unroll_options, tmp_path):
    options = {"batch_size": 8, "checkpoint_every": 4, "log_every": 3, "flow_every": 4}
    options |= {"unroll_options": unroll_options}
    whole = fit(cell, CLASSIFY, cases(), steps=10, out=tmp_path / "whole", **options)
    for steps in (5, 10):
        parts = fit(cell, CLASSIFY, cases(), steps=steps, out=tmp_path / "parts", resume=True, **options)
    assert_same_bits((parts.params, parts.opt_state), (whole.params, whole.opt_state))
    assert whole.history.keys() == parts.history.keys() >= NAMES
    for name, values in whole.history.items():
        np.testing.assert_array_equal(parts.history[name], values)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    flow = NAMES if isinstance(cell, jrnn.Bidirectional) else {*NAMES, "tangent_growth"}
    for name in (*NAMES, "tangent_growth"):
        steps = [row["step"] for row in rows if name in row]
        assert steps == ([0, 4, 8] if name in flow else [])
        if name in flow:
            assert steps == list(np.flatnonzero(np.isfinite(whole.history[name])))


def test_the_first_row_of_fit_is_that_of_value_and_grads():
    data, key = cases(count=8), jax.random.key(1)
    params, lengths = CELL.init(key, 3), jnp.asarray(data["lengths"])
    batch = {"x": jnp.asarray(data["x"]), "lengths": lengths}  # [B, T, F]
    loss = lambda head, run, batch: (run.last**2).sum() + jnp.sin(run.outputs).sum()  # noqa: E731
    options = {"lengths": lengths, "time_axis": 1}
    fitted = fit(CELL, loss, lambda step: batch, steps=1, params=params, unroll_options={"time_axis": 1})
    grads = jax.jit(
        lambda params: jrnn.value_and_grads(CELL, params, batch["x"], lambda run: loss(None, run, batch), **options)[1]
    )(params)
    norms = np.linalg.norm(np.swapaxes(grads.states.h, 0, 1)[1:], axis=-1)
    assert_metrics({name: fitted.history[name][0] for name in NAMES}, numpy_metrics(norms, data["lengths"]), 1e-10)
    # the probe of step 0: its key is that of the seed, 4 and the step
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 4), 0)
    growth = tangent_growth(CELL, params, jnp.swapaxes(batch["x"], 0, 1), key, lengths=lengths)
    np.testing.assert_allclose(fitted.history["tangent_growth"], [growth], rtol=1e-12)
    plain = fit(
        CELL, loss, lambda step: batch, steps=1, params=params, unroll_options={"time_axis": 1}, flow_every=None
    )
    assert not plain.history.keys() & {*NAMES, "tangent_growth"}
    np.testing.assert_allclose(plain.history["grad_norm"], fitted.history["grad_norm"], rtol=1e-12)


@jax.custom_vjp
def by_hand(params, h, x):
    return jnp.tanh(h * params["w"] + x)


by_hand.defvjp(lambda p, h, x: (by_hand(p, h, x), (p, h, x)), lambda saved, g: ({"w": jnp.zeros(())}, 0.5 * g, g))


def test_a_step_without_a_forward_derivative_is_trained_without_the_probe():
    cell = jrnn.from_functions(
        init=lambda key, size: {"w": jnp.ones(())},
        initial_state=lambda params, batch: jnp.zeros((*batch, 3)),
        step=by_hand,
        output=None,
    )
    fitted = fit(cell, CLASSIFY, cases(), steps=2)
    assert fitted.history.keys() >= NAMES and "tangent_growth" not in fitted.history


def test_integers_in_the_state_are_let_be():
    def step(params, state, x):
        count, h = state
        return count + 1, jnp.tanh(h @ params["w"] + x)

    cell = jrnn.from_functions(
        init=lambda key, size: {"w": 0.5 * jnp.eye(3)},
        initial_state=lambda params, batch: (jnp.zeros(batch, jnp.int32), jnp.zeros((*batch, 3))),
        step=step,
        output=lambda params, state, x: state[1],
    )
    fitted = fit(cell, CLASSIFY, cases(), steps=2, flow_every=1)
    assert np.isfinite(fitted.history["tangent_growth"][0]) and (fitted.history["delta_late"] > 0).all()
    assert fitted.history["tangent_growth"][0] < np.log(0.5)


@pytest.mark.thorough
def test_a_stream_has_the_same_metrics(key):
    rng = np.random.default_rng(0)
    chunks = [{"x": rng.normal(size=(6, 2, 3)), "y": rng.integers(0, 3, (6, 2))} for _ in range(4)]
    task = Objective("classify_each", 3)
    params, head = CELL.init(key, 3), task.init(key, 4)
    options = {"params": params, "loss_params": head, "optimizer": optax.sgd(0.0)}
    seen = [result.metrics for result in stream(CELL, task, chunks, flow_every=3, **options)]
    measured = [True, False, False, True]
    assert [m.keys() >= {*NAMES, "tangent_growth"} for m in seen] == measured
    assert [bool(m.keys() & {*NAMES, "tangent_growth"}) for m in seen] == measured
    start = None
    for chunk, metrics in zip(chunks, seen, strict=True):
        _, grads = jrnn.value_and_grads(
            CELL,
            params,
            jnp.asarray(chunk["x"]),
            lambda p, run, chunk=chunk: task(p, run, chunk)[0],
            loss_params=head,
            initial_state=start,
        )
        norms = np.linalg.norm(grads.states.h[1:], axis=-1)
        if metrics.keys() >= NAMES:
            assert_metrics({name: metrics[name] for name in NAMES}, numpy_metrics(norms, [6, 6]), 1e-10)
        start = jrnn.unroll(CELL, params, jnp.asarray(chunk["x"]), initial_state=start).final_state
    plain = next(iter(stream(CELL, task, chunks, flow_every=None, **options))).metrics
    assert not plain.keys() & NAMES


@pytest.mark.parametrize("value", [0, -1, 2.5, True])
def test_flow_every_is_a_positive_number(value, key):
    for call in (
        lambda: fit(CELL, Objective("classify", 3), cases(), steps=1, flow_every=value),
        lambda: stream(CELL, lambda *_: 0.0, [], params={}, optimizer=None, flow_every=value),
    ):
        with pytest.raises(InputError, match=r"flow_every|optimizer"):
            call()


@pytest.mark.thorough
def test_a_named_implementation_does_not_stop_the_probe():
    """What follows the tangents is no recurrence that a kernel has."""
    out = fit(jrnn.lstm(3), Objective("classify", 3), cases(), steps=2, unroll_options={"implementation": "xla"})
    assert np.isfinite(out.history["tangent_growth"][0])
