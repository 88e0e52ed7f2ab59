"""`jrnn.probe` against `delta_metrics`, `gradient_flow` and loops written out; how often it is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jrnn
from jrnn.training import delta_metrics, probe
from jrnn.training.telemetry.probing.wide_sums import log_of, sum_of
from tests.interop.economy import drawn, jit, params_of

T, B, F, H = 12, 3, 2, 4
XS = drawn((T, B, F))
LENGTHS = np.array([12, 7, 0])
MASK = drawn((T, B), 3) < 1
RESETS = np.zeros((T, B), bool)
RESETS[4, 0] = RESETS[2, 1] = True
LAGS = (0, 2, 5)


def one_number(run):
    return jnp.sum(jnp.sin(3 * run.outputs) * jnp.arange(1.0, T + 1)[:, None, None]) + jnp.sum(run.last)


def arrivals(flow):
    """The ratio of sums that the metric is, from every pair of `gradient_flow`."""
    credit, segments, times = (np.asarray(x) for x in (flow.credit, flow.segments, flow.output_times))
    found = {}
    for lag in LAGS:
        arrived = sent = 0.0
        for row, t in enumerate(times):
            here = t - 1 if flow.reverse else t
            k = here + lag if flow.reverse else here - lag
            if (k < T) if flow.reverse else (k >= 1):
                there = segments[k] == segments[here]
                arrived, sent = arrived + credit[row, k][there].sum(), sent + credit[row, here][there].sum()
        found[f"arrival_{lag}"] = arrived / sent
    return found


CASES = {
    "backwards": (jrnn.gru(H), {"reverse": True, "lengths": LENGTHS, "resets": RESETS}),
    "stack": (jrnn.stack(jrnn.layer_norm(jrnn.elman(H)), jrnn.lstm(2)), {"mask": MASK, "truncate": 7}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_figures_are_those_of_the_instruments(name):
    cell, options = CASES[name]
    params = params_of(cell, F)

    @jit
    def both(params):
        value, grads, metrics = probe(
            lambda p, xs: one_number(jrnn.unroll(cell, p, xs, **options)), params, XS, lags=LAGS, outputs=T
        )
        wanted, by = jrnn.value_and_grads(cell, params, XS, one_number, **options)
        mask = jrnn.unroll(cell, params, XS, **options).mask
        of_delta = delta_metrics(cell, by.states, mask, reverse=options.get("reverse", False))
        return (value, grads), (wanted, by.params), metrics, of_delta

    ours, wanted, metrics, of_delta = both(params)
    for a, b in zip(*map(jax.tree.leaves, (ours, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    flow = jrnn.gradient_flow(cell, params, XS, one_number, by_lag=False, **options)
    of_delta.pop("delta_reach")
    expected = of_delta | arrivals(flow) | {"grad_norm": optax.tree.norm(wanted[1])}
    assert metrics.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(metrics[key], expected[key], rtol=1e-9, err_msg=key)


def by_hand(params, xs):
    """An LSTM in a scan, with the reset written out, and y_t = h_t."""
    cell = jrnn.lstm(H)

    def step(carry, inputs):
        x, reset = inputs
        h, c = (jnp.where(reset[:, None], jnp.zeros_like(part), part) for part in carry)
        after = cell.step(params, jrnn.LSTMState(h, c), x)
        return tuple(after), after.h

    zeros = jnp.zeros((B, H))
    return jax.lax.scan(step, (zeros, zeros), (xs, RESETS))[1]


def by_unroll(params, xs):
    return jrnn.unroll(jrnn.lstm(H), params, xs, resets=RESETS).outputs


def in_chunks(run):
    """The loss summed by a scan over xs and 2 xs."""

    def loss(params, xs):
        def step(total, xs):
            return total + jnp.sum(jnp.sin(3 * run(params, xs))), None

        return jax.lax.scan(step, jnp.zeros(()), jnp.stack([xs, 2 * xs]))[0]

    return loss


def plain(run):
    return lambda params, xs: jnp.sum(jnp.sin(3 * run(params, xs)))


def mapped(run):
    return lambda p, xs: jnp.sum(jax.vmap(plain(run), (None, 0))(p, jnp.stack([xs, 2 * xs])))


def either(run):
    return lambda p, xs: jax.lax.cond(xs[0, 0, 0] > -9, plain(run), lambda p, xs: jnp.zeros(()), p, xs)


ONCE = {
    "jit, by hand": jax.jit(plain(by_hand)),
    "checkpoint": jax.checkpoint(plain(by_unroll)),
    "checkpoint, by hand": jax.checkpoint(plain(by_hand)),
    "cond, by hand": either(by_hand),
}
TWICE = {"scan": in_chunks(by_unroll), "vmap": mapped(by_unroll), "vmap, by hand": mapped(by_hand)}


@pytest.mark.thorough
def test_it_sees_through_transformations_and_into_scans_by_hand():
    """What is mapped or repeated is pooled: with xs and 2 xs as with both in one batch."""
    params = params_of(jrnn.lstm(H), F)
    twice, resets = np.concatenate([XS, 2 * XS], axis=1), np.concatenate([RESETS, RESETS], axis=1)

    def together(params, xs):
        return jrnn.unroll(jrnn.lstm(H), params, xs, resets=resets).outputs

    @jit
    def all_of_them(params):
        once = {name: probe(loss, params, XS) for name, loss in ONCE.items()}
        pooled = {name: probe(loss, params, XS) for name, loss in TWICE.items()}
        return once, pooled, probe(plain(by_unroll), params, XS), probe(plain(together), params, twice)

    once, pooled, of_one, of_two = all_of_them(params)
    for found, wanted in [(each, of_one) for each in once.items()] + [(each, of_two) for each in pooled.items()]:
        for a, b in zip(*map(jax.tree.leaves, (found[1], wanted)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13, err_msg=found[0])


@pytest.mark.thorough
def test_arrivals_of_a_scan_by_hand():
    """Without resets they are those of `unroll`; the outputs read h after the tap, as the cell's do."""
    cell = jrnn.lstm(H)

    def scanned(params, xs):
        def step(carry, x):
            after = cell.step(params, jrnn.LSTMState(*carry), x)
            return tuple(after), jnp.tanh(after.h)

        zeros = jnp.zeros((B, H))
        return jnp.sum(jax.lax.scan(step, (zeros, zeros), xs, reverse=True)[1])

    def unrolled(params, xs):
        return jnp.sum(jnp.tanh(jrnn.unroll(cell, params, xs, reverse=True).outputs))

    @jit
    def both(params):
        return [probe(f, params, XS, lags=(1, 3), outputs=3)[2] for f in (scanned, jax.checkpoint(unrolled))]

    one, other = both(params_of(cell, F))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, err_msg=name)


def test_arrivals_of_a_scan_that_hands_out_its_state_before_the_step():
    """h' = a h + x and y = h: a^(lag - 1) arrives, all of it at the first lag; as of `return new, new` a^lag."""

    def loss(old):
        def step(a, h, x):
            new = a * h + x
            return new, h if old else new

        return lambda p: jnp.sum(jax.lax.scan(lambda h, x: jax.jit(step)(p, h, x), jnp.zeros((B, F)), XS)[1])

    @jit
    def both(a):
        return [probe(loss(old), a, lags=(1, 3), outputs=3)[2] for old in (True, False)]

    before, after = both(jnp.full((B, F), 0.5))
    assert (before["arrival_1"], before["arrival_3"], after["arrival_1"], after["arrival_3"]) == (1, 0.25, 0.5, 0.125)


def test_a_sum_in_the_carry_is_no_state():
    """With a sum beside h, in a jitted or checkpointed step too, the figures are those of outputs summed outside."""

    def outside(p):
        ys = jrnn.unroll(jrnn.elman(H), p, XS).outputs
        return jnp.sum(ys) + jnp.sum(jnp.sin(3 * ys[-1]))

    def inside(wrap):
        @wrap
        def step(p, carry, x):
            h, total = carry
            h = jrnn.elman(H).step(p, h, x)
            return h, total + jnp.sum(h.h, axis=-1)

        def loss(p):
            start = jrnn.elman(H).initial_state(p, (B,)), jnp.zeros(B)
            h, total = jax.lax.scan(lambda carry, x: (step(p, carry, x), None), start, XS)[0]
            return jnp.sum(total) + jnp.sum(jnp.sin(3 * h.h))

        return loss

    @jit
    def all_of_them(params):
        losses = outside, *(inside(wrap) for wrap in (lambda f: f, jax.jit, jax.checkpoint))
        return [probe(loss, params, lags=LAGS, outputs=T)[1:] for loss in losses]

    wanted, *others = all_of_them(params_of(jrnn.elman(H), F))
    for other in others:
        for a, b in zip(*map(jax.tree.leaves, (other, wanted)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_it_is_compiled_once_and_measures_lags_every_so_often():
    cell, traces = jrnn.gru(H), []
    params = params_of(cell, F)
    optimizer = optax.chain(jrnn.clip_by_global_norm(0.5), optax.sgd(0.1))

    def loss_fn(params, xs):
        traces.append(1)
        outputs = jrnn.unroll(cell, params, xs).outputs
        return jnp.mean(outputs**2), {"mean": outputs.mean()}

    @jit
    def update(params, opt_state, step):
        (loss, aux), grads, metrics = probe(
            loss_fn, params, XS, has_aux=True, lags=(1,), outputs=2, every=3, step=step, opt_state=opt_state
        )
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, metrics | aux

    opt_state, rows = optimizer.init(params), []
    for step in range(7):
        params, opt_state, metrics = update(params, opt_state, step)
        rows.append({name: float(value) for name, value in metrics.items()})
    assert len(traces) == 1
    assert [np.isfinite(row["arrival_1"]) for row in rows] == [True, False, False, True, False, False, True]
    assert all(np.isfinite(value) for row in rows for name, value in row.items() if name != "arrival_1")
    assert rows[0]["clip_rate"] == 0 and rows[-1]["clip_rate"] == sum(row["grad_norm"] >= 0.5 for row in rows[:-1]) / 6


@pytest.mark.thorough
def test_aux_may_hold_what_is_no_array():
    """As that of `value_and_grad`: strings and numbers of Python come back as they are, in their places."""
    params = params_of(jrnn.elman(2), F)

    def loss(p):
        ys = jrnn.unroll(jrnn.elman(2), p, XS).outputs
        return jnp.sum(ys), {"a": "words", "b": ys, "c": (3, None, 0.5), "d": XS}

    ours = probe(loss, params, has_aux=True)[0][1]
    theirs = jax.value_and_grad(loss, has_aux=True)(params)[0][1]
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    assert (ours["a"], ours["c"]) == (theirs["a"], theirs["c"]) == ("words", (3, None, 0.5))
    np.testing.assert_allclose(ours["b"], theirs["b"], rtol=1e-12)
    np.testing.assert_array_equal(ours["d"], XS)


@pytest.mark.thorough
def test_a_loss_with_derivatives_in_it():
    """A penalty on dL/dx, backwards and forwards: the gradient is right, and the one run is seen."""
    cell = jrnn.layer_norm(jrnn.gru(2), on="hidden")  # a scan, which is not taken for one by hand

    def loss_fn(params, penalty):
        own = lambda xs: jnp.sum(jnp.sin(jrnn.unroll(cell, params, xs).outputs))  # noqa: E731
        return own(XS) + penalty(own)

    backwards = lambda own: jnp.sum(jax.grad(own)(XS) ** 2)  # noqa: E731
    forwards = lambda own: jax.jvp(own, (XS,), (XS,))[1]  # noqa: E731

    @jit
    def both(params):
        found = [probe(loss_fn, params, backwards, lags=(1,)), probe(loss_fn, params, forwards)]
        return found, [jax.grad(loss_fn)(params, penalty) for penalty in (backwards, forwards)]

    for (_, grads, metrics), wanted in zip(*both(params_of(cell, F)), strict=True):
        for a, b in zip(*map(jax.tree.leaves, (grads, wanted)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert "delta_early" in metrics and not any("/" in name for name in metrics)


@pytest.mark.thorough
def test_a_batch_split_over_devices():
    """On a mesh of Explicit axes the figures are those of one device."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    cell, xs = jrnn.gru(2), np.concatenate([XS, XS[:, :1]], axis=1)
    loss = lambda p, xs: jnp.sum(jnp.sin(jrnn.unroll(cell, p, xs).outputs))  # noqa: E731
    figures = jit(lambda p, xs: probe(loss, p, xs, lags=(1,), outputs=2)[2])
    params = params_of(cell, F)
    wanted = figures(params, xs)
    with jax.set_mesh(mesh):
        found = figures(params, jax.device_put(xs, NamedSharding(mesh, PartitionSpec(None, "data"))))
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-9, err_msg=name)


def test_several_recurrences_are_told_apart_and_what_no_gradient_passes_is_nan():
    gru, elman = jrnn.gru(3), jrnn.elman(2)
    params = {"a": params_of(gru, F), "b": params_of(elman, 3)}

    def loss_fn(params):
        below = jrnn.unroll(gru, params["a"], XS).outputs
        quiet = jrnn.unroll(jrnn.linear(2), params_of(jrnn.linear(2), F), XS).outputs
        return jnp.sum(jrnn.unroll(elman, params["b"], below).outputs) + jnp.sum(jax.lax.stop_gradient(quiet))

    metrics = jit(lambda p: probe(loss_fn, p))(params)[2]
    named = {f"{cell}/delta_{end}" for cell in ("gru", "elman", "linear") for end in ("early", "late", "growth")}
    assert metrics.keys() == named | {"grad_norm"}
    assert all(np.isnan(value) == key.startswith("linear") for key, value in metrics.items())


def test_a_wide_sum_holds_what_no_square_holds():
    """Sums of e^-180 and smaller, and of e^170, in float32, added as JAX adds gradients."""
    pairs = np.array([[-180, -181], [170, 169], [-200, 150], [-np.inf, 3], [-np.inf, -np.inf]], np.float32)
    odd = np.array([[np.nan, 0], [np.inf, 0]], np.float32)

    @jit
    @jax.vmap
    def added(logs):
        return log_of(sum_of(logs[0], jnp.float32) + sum_of(logs[1], jnp.float32))

    *found, nan, infinite = added(np.concatenate([pairs, odd]))
    np.testing.assert_allclose(found, np.logaddexp(*pairs.T), rtol=1e-6)
    assert np.isnan(nan) and infinite == np.inf


def test_bad_input_is_named():
    cell = jrnn.gru(2)
    params = params_of(cell, F)
    loss = lambda p: jnp.sum(jrnn.unroll(cell, p, XS).outputs)  # noqa: E731
    hidden = jax.custom_vjp(loss)
    hidden.defvjp(lambda p: jax.vjp(loss, p), lambda pull, g: pull(g))
    forwards = lambda p: jax.jvp(loss, (p,), (p,))[1]  # noqa: E731
    for call, match in (
        (lambda: probe(lambda p: jnp.sum(p["w_in"]), params), "without a recurrence in sight.* Python loop over time"),
        (lambda: probe(lambda p: jrnn.unroll(cell, p, XS).outputs, params), r"loss_fn: got .*float64\[12, 3, 2\]"),
        (lambda: probe(lambda p: hidden(p), params), "loss_fn: got a loss with a jax.custom_vjp around a recurrence"),
        (lambda: probe(forwards, params, lags=(1,)), "lags: got lags beside a loss that differentiates forwards"),
        (lambda: probe(loss, params, lags=(-1,)), "lags: got -1"),
        (lambda: probe(loss, params, lags=3), "lags: got 3; need a tuple"),
        (lambda: probe(loss, params, outputs=0), "outputs: got 0"),
        (lambda: probe(loss, params, step=0.5), "step: got float"),
        (lambda: probe(3, params), "loss"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()
