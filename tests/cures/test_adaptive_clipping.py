"""`auto_clip` and `z_clip` against NumPy loops over the whole history, and what `fit` logs of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn.cures import auto_clip, clip_rate, skip_nonfinite, z_clip
from jrnn.training import Objective, fit

RNG = np.random.default_rng(0)
NORMS = np.exp(RNG.normal(size=90))
NORMS[60] = 1e4


def grads(norm, dtype="float64"):
    """A tree with this norm."""
    return {"a": jnp.asarray([[0.6 * norm]], dtype), "b": jnp.asarray([0.0, -0.8 * norm], dtype), "frozen": None}


def norms_after(transformation, norms):
    state, found = transformation.init(grads(1.0)), []
    update = jax.jit(transformation.update)
    for norm in norms:
        made, state = update(grads(norm), state)
        np.testing.assert_allclose(made["a"] / made["b"][1], -0.75, rtol=1e-12)
        found.append(np.hypot(made["a"][0, 0], made["b"][1]))
    return np.array(found), state


@pytest.mark.parametrize("percentile, window", [(10, 1000), (50, 7), (100, 3), (0, 1)])
def test_auto_clip(percentile, window):
    found, state = norms_after(auto_clip(percentile, window=window), NORMS)
    limits = np.array([np.percentile(NORMS[max(t + 1 - window, 0) : t + 1], percentile) for t in range(len(NORMS))])
    np.testing.assert_allclose(found, np.minimum(NORMS, limits), rtol=1e-12)
    assert int(state.clip.clipped) == np.sum(limits < NORMS) and state.clip.steps == len(NORMS)
    np.testing.assert_allclose(
        (state.clip.norm, state.clip.factor, state.limit), (NORMS[-1], found[-1] / NORMS[-1], limits[-1])
    )
    assert clip_rate(((state,), None)) == state.clip.rate


@pytest.mark.parametrize("max_norm", [np.inf, 2.0])
def test_z_clip(max_norm):
    warmup, decay, threshold = 25, 0.97, 2.5
    found, state = norms_after(z_clip(max_norm=max_norm), NORMS)
    mean, variance = NORMS[:warmup].mean(), NORMS[:warmup].var()
    expected, held = list(NORMS[:warmup]), 0
    for norm in NORMS[warmup:]:
        z = (norm - mean) / (variance**0.5 + 1e-6)
        kept = mean + threshold * variance**0.5 / (z / threshold) if z > threshold else norm
        held += z > threshold
        mean = decay * mean + (1 - decay) * kept
        variance = decay * variance + (1 - decay) * (kept - mean) ** 2
        expected.append(kept)
    np.testing.assert_allclose(found, np.minimum(expected, max_norm), rtol=1e-10)
    np.testing.assert_allclose((state.mean, state.variance, state.z), (mean, variance, z), rtol=1e-9)
    assert held > 1 and int(state.clip.clipped) == np.sum(np.minimum(expected, max_norm) < NORMS)


@pytest.mark.parametrize("transformation", [auto_clip(50, window=4), z_clip(warmup=2)], ids=["auto", "z"])
def test_norms_that_are_not_finite(transformation):
    """They leave no trace, and `skip_nonfinite` around keeps every bit; 16-bit gradients stay 16-bit."""
    _, state = norms_after(transformation, NORMS[:5])
    for bad in (np.nan, np.inf):
        _, after = transformation.update(grads(bad), state)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after[1:2], after[3:4])))
        np.testing.assert_array_equal(after[1], state[1])
    outer = skip_nonfinite(transformation)
    state = outer.init(grads(1.0, "bfloat16"))
    for norm in (1.0, 1.1, np.nan, 0.9, 100.0):
        made, state = outer.update(grads(norm, "bfloat16"), state)
        assert made["a"].dtype == jnp.bfloat16 and np.isfinite(np.float32(made["a"])).all()
    assert state.skipped == 1 and state.inner_state.clip.steps == 4
    assert np.abs(np.float32(made["a"])).max() < 5


def test_fit_logs_what_they_did():
    data = {"x": 3 * RNG.normal(size=(8, 5, 2)), "y": np.arange(8) % 2}
    options = {"steps": 6, "batch_size": 2, "flow_every": None}
    for max_norm in (None, 1e-3):
        optimizer = optax.chain(auto_clip(0, window=3), optax.sgd(0.1))
        run = fit(jrnn.elman(2), Objective("classify", 2), data, optimizer=optimizer, max_norm=max_norm, **options)
        norms = run.history["grad_norm"]
        seen = norms if max_norm is None else np.minimum(norms, max_norm)
        limits = [seen[max(t - 2, 0) : t + 1].min() for t in range(6)]
        np.testing.assert_allclose(run.history["clip_factor"], limits / norms, rtol=1e-6)
        np.testing.assert_array_equal(run.history["clipped"], limits < norms)
        assert 0 < run.history["clipped"].sum()
