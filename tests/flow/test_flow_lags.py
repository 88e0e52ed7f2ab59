"""The parameter gradient split by lag: against plain loops in which every step has parameters of its own."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jrnn.cells import elman, from_step, gru, layer_norm, learnable_initial_state, linear, lstm, stack
from jrnn.flow import gradient_flow
from jrnn.types import InputError
from jrnn.unrolling import unroll, value_and_grads

close = partial(assert_allclose, rtol=1e-11, atol=1e-13)
STEPS, BATCH, FEATURES = 4, 3, 2
LENGTHS = np.array([4, 0, 2])
RESETS = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]], bool)
MASK = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
XS = np.random.default_rng(0).normal(size=(STEPS, BATCH, FEATURES))


def foreign_step(params, h, x):
    h = jnp.tanh(h @ params["u"] + x @ params["w"])
    return h, h @ params["read"]


FOREIGN = from_step(foreign_step, initial_state=lambda params, batch: jnp.zeros((*batch, 3)))
RNG = np.random.default_rng(1)
FOREIGN_PARAMS = {"u": RNG.normal(size=(3, 3)), "w": RNG.normal(size=(FEATURES, 3)), "read": RNG.normal(size=(3, 2))}
CELLS = {
    "elman": elman(3),
    "lstm": lstm(3),
    "stack": stack(gru(2), lstm(3)),
    "learnt start": learnable_initial_state(gru(3)),
    "foreign": FOREIGN,
}


def parameters(name):
    if name == "foreign":
        return jax.tree.map(jnp.asarray, FOREIGN_PARAMS)
    params = CELLS[name].init(jax.random.key(0), FEATURES)
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(2)
    return treedef.unflatten([jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape)) for leaf in leaves])


def total(tree):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(tree))


def loss(u):
    return jnp.sum(jnp.tanh(u.outputs) ** 2) * (1 + jnp.sum(u.last)) + total(u.final_state)


def split_by_loops(cell, params, lengths, resets, mask, reverse=False, truncate=None):
    """{tau: G_tau}: <y_t, g_t> of every output t differentiated by the parameters as every step used them."""
    run = unroll(cell, params, XS, lengths=lengths, resets=resets, mask=mask, reverse=reverse)
    g, g_final, g_last = jax.grad(
        lambda y, f, e: loss(run._replace(outputs=y, final_state=f, last=e)), argnums=(0, 1, 2)
    )(run.outputs, run.final_state, run.last)

    def scores(copies):
        found = []
        own = [jax.tree.map(lambda a, k=k: a[k], copies) for k in range(STEPS + 1)]
        for b in range(BATCH):
            pick = partial(jax.tree.map, lambda a, b=b: a[b])
            h = cell.initial_state(own[0], ())
            y_last, score = None, [0.0] * (STEPS + 1)
            order = range(lengths[b])
            read_at = dict(zip(reversed(order) if reverse else order, range(STEPS - lengths[b] + 1, STEPS + 1)))
            read_at = read_at if reverse else {t: t + 1 for t in order}
            done = 0
            for t, k in read_at.items():  # step k in reading order reads input t
                if truncate and done and done % truncate == 0:
                    h = jax.lax.stop_gradient(h)
                if resets[t + 1 if reverse else t, b] if not reverse or t + 1 < lengths[b] else False:
                    h = cell.initial_state(own[k - 1], ())
                done += 1
                if mask[t, b]:
                    after = cell.step(own[k], h, XS[t, b])
                    y = cell.output(own[k], h if cell is FOREIGN else after, XS[t, b])
                    h, y_last = after, (k, y)
                    score[k] += jnp.sum(y * g[t, b])
            if y_last is not None:
                score[y_last[0]] += jnp.sum(y_last[1] * g_last[b])
            end = list(read_at.values())[-1] if read_at else (STEPS if reverse else 1)
            score[end] += sum(map(jnp.vdot, jax.tree.leaves(pick(g_final)), jax.tree.leaves(h)))
            found.append(jnp.stack([jnp.asarray(s, float) for s in score]))
        return sum(found)

    copies = jax.tree.map(lambda a: jnp.broadcast_to(a, (STEPS + 1, *a.shape)), params)
    by_pair = jax.jit(jax.jacrev(scores))(copies)  # leaves [t, k, ...]
    lags = np.arange(STEPS + 1)[:, None] - np.arange(STEPS + 1)
    return {tau: jax.tree.map(lambda a, tau=tau: a[lags == tau].sum(0), by_pair) for tau in range(STEPS + 1)}


def vector(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@partial(jax.jit, static_argnames=("cell", "parts", "lag_gradients"))
def flow_of(cell, params, **options):
    return gradient_flow(cell, params, XS, loss, **options)


EVERY = {"lengths": np.full(BATCH, STEPS), "resets": np.zeros_like(RESETS), "mask": np.ones_like(MASK)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("elman", {}),
        ("stack", {"lengths": LENGTHS, "mask": MASK}),
        ("learnt start", {"lengths": LENGTHS, "resets": RESETS}),
        ("learnt start", {"reverse": True, "lengths": LENGTHS}),
        ("lstm", {"truncate": 2}),
        ("foreign", {"resets": RESETS}),
    ],
    ids=["elman", "stack masked", "resets", "reverse", "truncated", "reads the state before"],
)
def test_every_lag_by_loops(name, options):
    cell, params = CELLS[name], parameters(name)
    want = split_by_loops(cell, params, **EVERY | options)
    flow = jax.jit(lambda p: gradient_flow(cell, p, XS, loss, **options))(params)
    whole = vector(jax.jit(lambda p: value_and_grads(cell, p, XS, loss, **options)[1].params)(params))
    for tau in range(STEPS + 1):
        G = vector(want[tau])
        close(vector(jax.tree.map(lambda a, tau=tau: a[tau], flow.lag_gradients)), G)
        close(flow.lag_norms[tau], np.linalg.norm(G))
        close(flow.lag_shares[tau], G @ whole / (whole @ whole))
        cosine = G @ whole / np.linalg.norm(G) / np.linalg.norm(whole) if G.any() else 0.0
        close(flow.lag_cosines[tau], cosine)
    # sum_tau G_tau = dL/dparams, relative to the sum of norms
    assert np.linalg.norm(sum(map(vector, want.values())) - whole) <= 1e-12 * float(np.sum(flow.lag_norms))
    close(np.sum(flow.lag_shares), 1.0)
    assert bool(flow.exact) and float(flow.sum_error) <= 1e-13
    norms = np.cumsum(flow.lag_norms)
    assert int(flow.effective_horizon()) == np.flatnonzero(norms >= 0.95 * norms[-1])[0]


@pytest.mark.thorough
def test_chosen_outputs_leave_their_own_share():
    cell, params = CELLS["learnt start"], parameters("learnt start")
    options = {"resets": RESETS, "lengths": LENGTHS}
    every = flow_of(cell, params, **options)
    some = [flow_of(cell, params, output_times=jnp.array(t), **options) for t in ([1, 4], [3, 2])]
    for a, b, c in zip(*map(jax.tree.leaves, (every.lag_gradients, *(s.lag_gradients for s in some))), strict=True):
        close(b + c, a)
    assert not some[0].exact and flow_of(cell, params, output_times=jnp.array([4, 2, 3, 1]), **options).exact
    assert float(some[0].sum_error) > 1e-3


def test_parts_on_request_and_by_state():
    cell, params = CELLS["lstm"], parameters("lstm")
    flow = flow_of(cell, params, parts=True, mask=MASK)
    assert flow.parts.shape == (STEPS, STEPS + 1, BATCH, 6)
    close(np.linalg.norm(flow.parts, axis=-1), flow.credit)
    close(flow.parts.sum(0), flow.state_gradients)
    close(flow.credit_by_state.h, np.linalg.norm(flow.parts[..., :3], axis=-1))
    close(flow.credit_by_state.c, np.linalg.norm(flow.parts[..., 3:], axis=-1))
    assert flow_of(cell, params, mask=MASK).parts is None


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["lstm", "stack"])
def test_by_gate(name):
    cell, params = CELLS[name], parameters(name)
    flow = flow_of(cell, params)
    by_gate = flow.lag_norms_by_gate
    if name == "lstm":
        assert sorted(by_gate) == ["f", "g", "i", "o"]
        own = flow.lag_gradients
        f = np.concatenate([np.reshape(own[leaf][..., 3:6], (STEPS + 1, -1)) for leaf in own], axis=1)
        close(by_gate["f"], np.linalg.norm(f, axis=1))
    else:
        assert sorted(by_gate) == ["0.n", "0.r", "0.z", "1.f", "1.g", "1.i", "1.o"]
        own = flow.lag_gradients[0]
        n = [own["w_in"][..., 4:], own["w_rec"][..., 4:], own["bias"][..., 4:], own["bias_rec"]]
        close(by_gate["0.n"], np.linalg.norm(np.concatenate([np.reshape(a, (5, -1)) for a in n], axis=1), axis=1))
    close(np.sqrt(sum(np.square(norm) for norm in by_gate.values())), flow.lag_norms)
    assert flow_of(elman(3), parameters("elman")).lag_norms_by_gate == {}
    wrapped = layer_norm(cell)
    bare = {"cell": params} | {k: v for k, v in wrapped.init(jax.random.key(0), FEATURES).items() if k != "cell"}
    assert list(flow_of(wrapped, bare).lag_norms_by_gate) == list(by_gate)


@pytest.mark.thorough
def test_too_many_pairs_are_sampled_with_a_measured_error():
    cell, params = linear(1), {"w_in": jnp.ones((1, 1)), "bias": jnp.zeros(1), "w_rec": jnp.full(1, 0.8)}
    T = 60
    xs = np.ones((T, 2, 1))
    flows = [jax.jit(lambda p, n=n: gradient_flow(cell, p, xs, lambda u: jnp.sum(u.outputs), max_pairs=n))(params)
             for n in (10**6, 20 * 61 * 2)]  # fmt: skip
    assert bool(flows[0].exact) and not bool(flows[1].exact)
    assert flows[1].credit.shape == (20, T + 1, 2)
    assert len(set(np.asarray(flows[1].output_times))) == 20
    close(flows[1].credit, flows[0].credit[flows[1].output_times - 1])
    close(flows[1].state_gradients, flows[0].state_gradients)
    # sampled evenly: each lag's sum over outputs is estimated within a few per cent, and the error is the true one
    estimated, true = (vector(jax.tree.map(lambda a: a.sum(0), flow.lag_gradients)) for flow in flows)
    assert_allclose(flows[1].lag_norms[:10], flows[0].lag_norms[:10], rtol=0.05)
    assert_allclose(flows[1].sum_error, np.linalg.norm(estimated - true) / np.sum(flows[1].lag_norms), rtol=1e-10)
    assert 0 < float(flows[1].sum_error) < 0.05
    # a loss of the last output alone: one row carries it all, and nothing is estimated
    last = gradient_flow(cell, params, xs, lambda u: jnp.sum(u.last), max_pairs=3 * 61 * 2)
    assert bool(last.exact) and T in np.asarray(last.output_times) and float(last.sum_error) < 1e-13
    close(np.sum(last.lag_shares), 1.0)


def test_outputs_that_disagree_are_estimated_without_counting_scatter_as_signal():
    cell, params = CELLS["elman"], parameters("elman")
    rng = np.random.default_rng(7)
    xs, weight = rng.normal(size=(200, 2, FEATURES)), rng.normal(size=(200, 2, 3))
    flow = jax.jit(
        lambda p, most: gradient_flow(cell, p, xs, lambda u: jnp.sum(u.outputs * weight), max_pairs=most),
        static_argnums=1,
    )
    exact, sampled = flow(params, 10**6), flow(params, 50 * 201 * 2)
    assert bool(exact.exact) and not bool(sampled.exact)
    near = slice(0, 4)
    # n / R times the norm of the sample would be about sqrt(n / R) = 2 times too large
    assert np.mean(sampled.lag_norms[near] / exact.lag_norms[near]) < 1.5
    gaps = np.sqrt(sum(
        np.sum(np.square(a[near] - b[near]).reshape(4, -1), axis=1)
        for a, b in zip(*map(jax.tree.leaves, (sampled.lag_gradients, exact.lag_gradients)), strict=True)
    ))  # fmt: skip
    assert_allclose(np.mean(gaps / sampled.lag_errors[near]), 1, atol=0.4)
    assert_array_equal(exact.lag_errors, 0)


@pytest.mark.thorough
def test_it_has_a_gradient():
    cell, params = CELLS["lstm"], parameters("lstm")

    def figure(scale):
        own = jax.tree.map(lambda a: scale * a, params)
        flow = gradient_flow(cell, own, XS, loss, lengths=LENGTHS)
        return jnp.sum(flow.credit) + flow.lag_norms[2] + jnp.sum(flow.lag_shares[:2]) + jnp.sum(flow.lag_cosines)

    slope, at = jax.jit(jax.grad(figure)), jax.jit(figure)
    assert_allclose(slope(1.0), (at(1 + 1e-5) - at(1 - 1e-5)) / 2e-5, rtol=1e-6)


def test_gates_are_of_jrnns_own_cells():
    mine = from_step(foreign_step, initial_state=lambda params, batch: jnp.zeros((*batch, 3)))
    object.__setattr__(mine, "gates", ("a", "b"))
    assert flow_of(mine, parameters("foreign")).lag_norms_by_gate == {}


@pytest.mark.thorough
def test_long_runs_in_blocks_of_lags():
    cell, params = CELLS["lstm"], parameters("lstm")
    xs = np.random.default_rng(5).normal(size=(150, FEATURES))
    flow = jax.jit(lambda p, **how: gradient_flow(cell, p, xs, lambda u: jnp.sum(jnp.sin(u.outputs)), **how))
    blocks, rows = flow(params), flow(params, output_times=jnp.arange(1, 151))
    close(blocks.credit, rows.credit)
    close(blocks.lag_norms, rows.lag_norms)
    assert float(blocks.sum_error) < 1e-13


def test_what_is_kept():
    cell, params = CELLS["elman"], parameters("elman")
    kept, dropped = flow_of(cell, params), flow_of(cell, params, lag_gradients=False)
    assert dropped.lag_gradients is None
    for name in ("lag_norms", "lag_shares", "lag_cosines"):
        assert_array_equal(getattr(dropped, name), getattr(kept, name))


def test_integer_parameters_are_carried_along():
    cell = from_step(
        lambda p, h, x: ((h[p["order"]] * p["a"] + x), h), initial_state=lambda p: jnp.zeros(2), batched=False,
        output=lambda p, h, x: h,
    )  # fmt: skip
    flow = gradient_flow(cell, {"order": jnp.array([1, 0]), "a": jnp.full(2, 0.5)}, XS, lambda u: jnp.sum(u.last))
    assert flow.lag_gradients["order"] is None and flow.lag_gradients["a"].shape == (STEPS + 1, 2)
    assert float(flow.sum_error) < 1e-14


def test_vmap_and_float32():
    cell, params = CELLS["elman"], parameters("elman")
    two = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    flows = jax.jit(jax.vmap(lambda p: gradient_flow(cell, p, XS, loss)))(two)
    close(flows.credit[1], flow_of(cell, jax.tree.map(lambda a: 2 * a, params)).credit)
    narrow = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    short = XS.astype(np.float32)
    flow = jax.jit(lambda p: gradient_flow(cell, p, short, lambda u: jnp.sum(u.outputs)))(narrow)
    assert {
        leaf.dtype
        for leaf in jax.tree.leaves(flow._replace(output_times=None, exact=None, reverse=None, segments=None))
    } == {np.dtype("float32")}


def test_bad_input_is_named():
    cell, params = CELLS["elman"], parameters("elman")
    with pytest.raises(InputError, match="loss.*gradient is zero.*depends on the outputs"):
        gradient_flow(cell, params, XS, lambda u: jnp.float64(3.0))
    bad = XS.copy()
    bad[2, 1, 0] = np.nan
    with pytest.raises(InputError, match=r"nan in the state: h\[0\] of sequence \(1,\) at time 3"):
        gradient_flow(cell, params, bad, loss)
    with pytest.raises(InputError, match="max_pairs"):
        gradient_flow(cell, params, XS, loss, max_pairs=0)
    with pytest.raises(InputError, match="each output once"):
        gradient_flow(cell, params, XS, loss, output_times=[4, 4])
    counting = from_step(lambda p, s, x: ((s[0], s[1] + 1), s[0]), initial_state=lambda p, batch: (
        jnp.zeros((*batch, 2)), jnp.zeros((*batch, 1), int)))  # fmt: skip
    with pytest.raises(InputError, match="int.*counters"):
        gradient_flow(counting, params, XS, loss)
    turning = from_step(
        lambda p, h, x: (h * p, jnp.real(h)), initial_state=lambda p, batch: jnp.ones((*batch, 2), complex)
    )
    with pytest.raises(InputError, match="complex128.*real"):
        gradient_flow(turning, jnp.complex128(1j), XS, lambda u: jnp.sum(u.outputs))
