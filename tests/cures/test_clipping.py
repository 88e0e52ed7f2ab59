"""Clipping against Optax (bits) and NumPy; skipping against what Optax does without the bad updates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import InputError
from jrnn.cures import ClipState, clip_by_global_norm, clip_rate, global_norm, skip_nonfinite

HUGE = {"float32": 1e30, "float64": 1e200}


def gradients(dtype, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"w_in": (3, 8), "w_rec": (8, 8), "bias": (8,), "empty": (0, 3), "scalar": ()}
    return {name: jnp.asarray(scale * rng.normal(size=shape), dtype) for name, shape in shapes.items()} | {
        "frozen": None
    }


def assert_same_bits(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 7.5, 1e6, float("inf")])
def test_updates_are_optax_s_bit_for_bit(dtype, max_norm):
    grads = gradients(dtype)
    ours, theirs = clip_by_global_norm(max_norm), optax.clip_by_global_norm(max_norm)
    for wrap in (jax.jit, lambda f: f) if (dtype, max_norm) == ("float32", 1.0) else (jax.jit,):
        ours_made = wrap(ours.update)(grads, ours.init(grads))[0]
        assert_same_bits(ours_made, wrap(theirs.update)(grads, theirs.init(grads))[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, "huge"])
def test_nonfinite_gradients_become_what_optax_makes_of_them(dtype, bad):
    grads = gradients(dtype)
    grads["w_in"] = grads["w_in"].at[1, 2].set(HUGE[dtype] if bad == "huge" else bad)
    ours, theirs = clip_by_global_norm(1.0), optax.clip_by_global_norm(1.0)
    clipped, state = ours.update(grads, ours.init(grads))
    for a, b in zip(
        jax.tree.leaves(clipped), jax.tree.leaves(theirs.update(grads, theirs.init(grads))[0]), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert np.isnan(state.norm) if np.isnan(np.float64(0 if bad == "huge" else bad)) else np.isinf(state.norm)


def test_a_norm_that_equals_max_norm_is_scaled_by_one():
    grads = {"w": jnp.array([3.0, 4.0])}
    clip = clip_by_global_norm(5.0)
    clipped, state = clip.update(grads, clip.init(grads))
    np.testing.assert_allclose(clipped["w"], grads["w"], rtol=1e-15)
    assert (state.factor, state.clipped) == (1.0, 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_norms_are_computed_in_float32(dtype):
    rng = np.random.default_rng(0)
    grads = {"w": jnp.asarray(rng.normal(size=(100, 99)), dtype), "b": jnp.full((7,), 300.0, dtype)}  # 300^2 > 65504
    exact = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in jax.tree.leaves(grads)))
    clip = clip_by_global_norm(1.0)
    clipped, state = clip.update(grads, clip.init(grads))
    assert state.norm.dtype == jnp.float32
    np.testing.assert_allclose(float(state.norm), exact, rtol=1e-6)
    assert abs(float(optax.tree.norm(grads)) / exact - 1) > 1e-5  # what it would be in the gradient's dtype
    for name, grad in grads.items():
        assert clipped[name].dtype == grad.dtype
        expected = jnp.asarray(np.asarray(grad, np.float64) / exact, dtype)
        np.testing.assert_allclose(np.asarray(clipped[name], float), np.asarray(expected, float), rtol=2**-7)


def test_dtypes_may_be_mixed_under_strict_promotion():
    grads = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(4, jnp.float32), "c": jnp.ones(2, jnp.float64)}
    clip = clip_by_global_norm(0.5)
    clipped, state = clip.update(grads, clip.init(grads))
    assert {name: g.dtype for name, g in clipped.items()} == {name: g.dtype for name, g in grads.items()}
    np.testing.assert_allclose(state.norm, 3.0)
    assert global_norm({}) == 0 and global_norm({"none": None}) == 0


def test_state_records_norm_factor_and_how_often():
    clip = clip_by_global_norm(2.0)
    update = jax.jit(clip.update)
    state = clip.init({"w": jnp.zeros(4)})
    assert state.rate == 0
    norms = [1.0, 4.0, 0.5, 8.0, 3.0]
    for done, norm in enumerate(norms, 1):
        _, state = update({"w": jnp.array([0.6, 0.0, 0.8, 0.0]) * norm}, state)
        np.testing.assert_allclose([state.norm, state.factor], [norm, min(1, 2 / norm)], rtol=1e-12)
        assert (int(state.steps), int(state.clipped)) == (done, sum(n >= 2 for n in norms[:done]))
        assert state.clipped.dtype == state.steps.dtype == jnp.int32
    np.testing.assert_allclose(state.rate, 3 / 5)
    chained = optax.chain(clip, optax.sgd(0.1)).init({"w": jnp.zeros(4)})
    assert clip_rate(chained) == 0 and clip_rate((state, {"inner": state})) == state.rate
    with pytest.raises(InputError, match="opt_state"):
        clip_rate(optax.sgd(0.1).init({"w": jnp.zeros(4)}))


def test_state_keeps_its_dtypes_in_a_scan_and_under_vmap():
    clip = clip_by_global_norm(1.0)
    grads = jnp.stack([jnp.full(3, s, jnp.bfloat16) for s in (0.1, 1.0, 10.0)])
    state, _ = jax.lax.scan(lambda s, g: clip.update(g, s)[::-1], clip.init(grads[0]), grads)
    assert isinstance(state, ClipState) and int(state.clipped) == 2
    _, states = jax.vmap(clip.update)(grads, jax.vmap(clip.init)(grads))
    assert states.clipped.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "max_norm",
    [0, -1.0, float("nan"), "1", b"1", None, True, np.True_, [1.0], (1.0,), {}, 1j, np.ones(1), np.array("1"), max]
    + [np.float32("nan"), np.complex64(1)],
    ids=repr,
)
def test_max_norm_is_a_number_above_zero(max_norm):
    with pytest.raises(InputError, match="max_norm"):
        clip_by_global_norm(max_norm)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_skipped_update_changes_no_bit(dtype, bad):
    with jax.numpy_dtype_promotion("standard"):
        params = {"w": jnp.array([-0.0, 0.0, 1.5, -2.0], dtype), "frozen": None, "count": jnp.array([3])}
        trained = optax.masked(
            optax.chain(clip_by_global_norm(1.0), optax.adam(0.1)), {"w": True, "frozen": None, "count": False}
        )
        tx = skip_nonfinite(trained)
        good = {"w": jnp.array([1.0, 2.0, -3.0, 0.5], dtype), "frozen": None, "count": jnp.array([0])}
        state = tx.init(params)
        update = jax.jit(tx.update)
        _, state = update(good, state, params)
        broken = {**good, "w": good["w"].at[2].set(bad)}
        before = state.inner_state
        for count in range(1, 8):
            updates, state = update(broken, state, params)
            assert_same_bits(optax.apply_updates(params, updates), params)
            assert_same_bits(jax.jit(optax.apply_updates)(params, updates), params)
            assert_same_bits(state.inner_state, before)
            assert (int(state.skipped), int(state.consecutive), bool(state.last_finite)) == (count, count, False)
        updates, state = update(good, state, params)
        assert (int(state.skipped), int(state.consecutive), bool(state.last_finite)) == (7, 0, True)
        alone, _ = jax.jit(trained.update)(good, before, params)
        assert_same_bits(updates, alone)


def test_the_good_updates_are_those_of_a_run_without_the_bad_ones():
    params = jnp.linspace(-1.0, 1.0, 5, dtype=jnp.float32)
    rng = np.random.default_rng(1)
    grads = [jnp.asarray(rng.normal(size=5), jnp.float32) for _ in range(30)]
    bad = {3, 4, 5, 6, 7, 8, 9, 10, 11, 20}
    with jax.numpy_dtype_promotion("standard"):
        skipping, plain = skip_nonfinite(optax.adam(0.1)), optax.adam(0.1)
        ours, theirs = (params, skipping.init(params)), (params, plain.init(params))
        ours_step, plain_step = jax.jit(skipping.update), jax.jit(plain.update)
        for i, grad in enumerate(grads):
            broken = grad.at[i % 5].set(jnp.nan if i % 2 else jnp.inf)
            updates, state = ours_step(broken if i in bad else grad, ours[1], ours[0])
            ours = optax.apply_updates(ours[0], updates), state
            if i not in bad:
                updates, state = plain_step(grad, theirs[1], theirs[0])
                theirs = optax.apply_updates(theirs[0], updates), state
    assert_same_bits((ours[0], ours[1].inner_state), theirs)
    assert int(ours[1].skipped) == len(bad)


def test_what_the_inner_transformation_breaks_is_skipped_too():
    grads = {"w": jnp.array([1e30, -1e30], jnp.float32)}  # finite, the squares are not
    with jax.numpy_dtype_promotion("standard"):
        for inner in (optax.adam(0.1), optax.chain(clip_by_global_norm(1.0), optax.sgd(0.1)), optax.scale(1e30)):
            tx = skip_nonfinite(inner)
            state = tx.init(grads)
            updates, after = jax.jit(tx.update)(grads, state, grads)
            assert_same_bits(after.inner_state, state.inner_state)
            assert after.skipped == 1 and jnp.signbit(updates["w"]).all() and (updates["w"] == 0).all()


def test_a_state_that_begins_infinite_is_no_reason_to_skip():
    def update(updates, state, params=None):
        return updates, jnp.minimum(state, 1.0)

    tx = skip_nonfinite(optax.GradientTransformation(lambda params: jnp.array(jnp.inf), update))
    state = tx.init(jnp.zeros(2))
    for expected in (1.0, 1.0):
        _, state = tx.update(jnp.ones(2), state)
        assert (float(state.inner_state), int(state.skipped)) == (expected, 0)


def test_skipping_works_under_vmap_and_passes_extra_arguments():
    def update(updates, state, params=None, *, value, **extra):
        return jax.tree.map(lambda u: u * value, updates), state

    tx = skip_nonfinite(optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update))
    grads = jnp.array([[1.0, 2.0], [jnp.nan, 1.0], [3.0, 4.0]])
    states = jax.vmap(tx.init)(grads)
    updates, states = jax.vmap(lambda g, s, v: tx.update(g, s, value=v))(grads, states, jnp.array([2.0, 2.0, jnp.inf]))
    np.testing.assert_array_equal(updates, [[2.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    assert states.skipped.tolist() == [0, 1, 1]
    with pytest.raises(InputError, match="inner"):
        skip_nonfinite(0.1)


def same_updates(ours, theirs, dtype, rtol):
    """Four updates, of norms below and above the limits, compared under jit."""
    params = jax.tree.map(jnp.zeros_like, gradients(dtype))
    with jax.numpy_dtype_promotion("standard"):
        states, updates = [ours.init(params), theirs.init(params)], [jax.jit(ours.update), jax.jit(theirs.update)]
        for step, scale in enumerate((0.01, 1.0, 3.0, 0.3)):
            made = []
            for i in (0, 1):
                one, states[i] = updates[i](gradients(dtype, scale, step), states[i], params)
                made.append(one)
            for a, b in zip(*map(jax.tree.leaves, made), strict=True):
                np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=rtol)
    return states


SCHEDULE = optax.linear_schedule(0.1, 20.0, 4)
NUMBERS = {
    "int": 2,
    "numpy int": np.int32(2),
    "numpy float16": np.float16(2.0),
    "numpy 0-d": np.array(2.0),
    "bfloat16": jnp.bfloat16(2.0),
    "jax int": jnp.int32(2),
    "jax float32": jnp.float32(2.0),
    "jax weak": jnp.asarray(2.0),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NUMBERS)
def test_any_number_is_a_norm(name, dtype):
    grads, plain = gradients(dtype), clip_by_global_norm(2.0)
    ours = clip_by_global_norm(NUMBERS[name])
    expected = plain.update(grads, plain.init(grads))
    assert_same_bits(ours.update(grads, ours.init(grads)), expected)


@pytest.mark.parametrize("max_norm", [1.5, SCHEDULE, jnp.float32(1.5)], ids=["number", "schedule", "array"])
@pytest.mark.parametrize("dtype, rtol", [("float32", 1e-6), ("float64", 1e-6)])
def test_inject_hyperparams_follows_schedules_as_with_optax_s_own(max_norm, dtype, rtol):
    ours, theirs = (
        optax.chain(optax.inject_hyperparams(clip)(max_norm), optax.inject_hyperparams(optax.adam)(SCHEDULE))
        for clip in (clip_by_global_norm, optax.clip_by_global_norm)
    )
    states = same_updates(ours, theirs, dtype, rtol)
    assert states[0][0].hyperparams["max_norm"] == states[1][0].hyperparams["max_norm"]
    assert states[0][0].inner_state.steps == 4 and 0 < states[0][0].inner_state.clipped < 4


def test_a_whole_optimizer_of_hyperparameters():
    """One factory with all of its numbers injected, skipping outermost; changed from outside between two updates."""

    def factory(clip):
        return optax.inject_hyperparams(lambda max_norm, rate: optax.chain(clip(max_norm), optax.sgd(rate)))

    ours = skip_nonfinite(factory(clip_by_global_norm)(max_norm=1.0, rate=0.5))
    theirs = factory(optax.clip_by_global_norm)(max_norm=1.0, rate=0.5)
    same_updates(ours, theirs, "float32", 1e-6)
    grads = {"w": jnp.array([3.0, 4.0], jnp.float32)}
    with jax.numpy_dtype_promotion("standard"):
        state = ours.init(grads)
        state.inner_state.hyperparams["max_norm"] = jnp.float32(2.0)
        made, _ = jax.jit(ours.update)(grads, state)
    np.testing.assert_allclose(made["w"], [-0.6, -0.8], rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_traced_norm_under_jit_vmap_and_grad(dtype):
    grads = gradients(dtype)
    limits = jnp.array([0.5, 2.0, 1e6], "float64" if dtype == "float64" else "float32")

    def clipped(max_norm):
        clip = clip_by_global_norm(max_norm)
        return clip.update(grads, clip.init(grads))

    expected = [clipped(float(limit)) for limit in limits]
    alone = [jax.jit(clipped)(limit) for limit in limits]
    together = jax.vmap(clipped)(limits)
    rtol = {"float32": 1e-6, "float64": 1e-14, "bfloat16": 2**-7}[dtype]
    for i, made in enumerate(expected):
        for tree in (alone[i], jax.tree.map(lambda x, i=i: x[i], together)):
            for a, b in zip(*map(jax.tree.leaves, (tree, made)), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=rtol)
    if dtype == "float64":
        # each clipped update is g / n times the limit: its norm grows with the limit as one to one
        slope = jax.grad(lambda limit: global_norm(clipped(limit)[0]))
        np.testing.assert_allclose([slope(limit) for limit in limits], [1.0, 1.0, 0.0], rtol=1e-12)


def test_a_traced_norm_must_still_be_one_real_number():
    for wrong in (jnp.ones(3), jnp.ones((), bool), jnp.ones((), "complex64")):
        with pytest.raises(InputError, match="max_norm: got .*need a number above 0"):
            jax.jit(lambda limit: clip_by_global_norm(limit).init({}))(wrong)


CELL = jrnn.elman(2)
STATIC = {
    "max_norm": lambda x: jrnn.cures.clip_state_gradient(CELL, x),
    "epsilon": lambda x: jrnn.layer_norm(CELL, epsilon=x),
    "outputs": lambda x: jrnn.dropout(CELL, outputs=x),
    "recurrent": lambda x: jrnn.dropout(CELL, recurrent=x),
    "gain": lambda x: jrnn.elman(2, w_rec=jrnn.initializers.orthogonal(x)),
    "scale": lambda x: jrnn.elman(2, w_rec=jrnn.initializers.identity(x)),
    "value": lambda x: jrnn.elman(2, bias=jrnn.initializers.constant(x)),
    "decay": lambda x: jrnn.linear(2, decay=(x, x)),
}


@pytest.mark.parametrize("name", STATIC)
def test_numbers_of_a_cell_are_known_numbers_of_any_kind(name):
    """A cell is static: what it holds is compared and hashed; a traced number is refused by name."""
    make = STATIC[name]
    for number in (0.5, np.float32(0.5), np.array(0.5), jnp.float32(0.5), jnp.bfloat16(0.5), jnp.asarray(0.5)):
        assert make(number) == make(0.5) and hash(make(number)) == hash(make(0.5))
    with pytest.raises(InputError, match=f"^{name}: got "):
        jax.jit(lambda x: make(x).init(jax.random.key(0), 1))(0.5)
    for wrong in ("0.5", None, float("nan"), np.ones(2), 1j):
        with pytest.raises(InputError, match=f"^{name}: got "):
            make(wrong)


def test_the_proof_takes_traced_norms():
    params, xs = CELL.init(jax.random.key(0), 1), jnp.ones((2, 1))

    def proof(limit):
        given = {"max_norm": limit, "step_max_norm": limit}
        return jrnn.clipping_proof(CELL, params, xs, lambda run: run.outputs.sum(), **given)

    made = jax.jit(proof)(0.1)
    assert made.max_norm == 0.1 and made.coefficient < 1
    np.testing.assert_allclose(made.clipped_lag_norms, made.coefficient * made.lag_norms, rtol=1e-12)
