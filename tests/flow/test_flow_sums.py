"""Where a step passes back something else than its own derivative, the parts need not add up, and that is said."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.flow import summarise
from jrnn.report import to_json
from jrnn.report.figures import figures_of
from jrnn.report.figures.lag_gradients import caption
from jrnn.report.page import Picture, html_page
from jrnn.report.reasons import reasons
from jrnn.report.table import table_rows
from tests.report import samples

XS = np.random.default_rng(1).normal(size=(20, 4, 3))
W = jnp.asarray(0.5 * np.random.default_rng(0).normal(size=(3, 3)))


def passing_back(change):
    """tanh(h W + x), whose state's gradient goes through `change` at every step back."""

    @jax.custom_vjp
    def same(h):
        return h

    same.defvjp(lambda h: (h, None), lambda _, g: (change(g),))
    return jrnn.from_functions(
        initial_state=lambda params, batch: jnp.zeros((*batch, 3), params.dtype),
        step=lambda params, h, x: jnp.tanh(same(h) @ params + x),
    )


def clipped(g):
    return g / jnp.maximum(1, jnp.linalg.norm(g, axis=-1, keepdims=True) / 0.5)


def every_output(u):
    return jnp.sum(u.outputs**2)


def missed(change, dtype):
    """The largest ||sum_t part(t, k) - delta_k|| / sum_t ||part(t, k)||: a plain backward loop, an output at a time."""
    xs, w = np.asarray(XS, dtype), np.asarray(W, dtype)
    h, states = np.zeros((4, 3)), []
    for x in xs:
        h = np.tanh(h @ w + x)
        states.append(h)

    def back(delta, t):
        return np.asarray(change(((1 - states[t] ** 2) * delta) @ w.T))

    delta, parts, worst = np.zeros((4, 3)), [], 0.0
    for t in reversed(range(len(xs))):
        parts = [*parts, 2 * states[t]]
        delta = delta + 2 * states[t]
        gap = np.linalg.norm(sum(parts) - delta, axis=-1) / sum(np.linalg.norm(p, axis=-1) for p in parts)
        worst = max(worst, gap.max())
        delta, parts = back(delta, t), [back(p, t) for p in parts]
    gap = np.linalg.norm(sum(parts) - delta, axis=-1) / sum(np.linalg.norm(p, axis=-1) for p in parts)
    return max(worst, gap.max())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parts_that_do_not_add_up_are_loud(dtype):
    flow = jrnn.gradient_flow(passing_back(clipped), W.astype(dtype), XS.astype(dtype), every_output)
    worst = missed(clipped, dtype)
    assert worst > 0.1 and flow.exact
    np.testing.assert_allclose(flow.sum_error, worst, rtol=1e-4)
    said = flow.verdict(3)
    assert said.caution in said.sentence and f"by {100 * worst:.2g} %" in said.caution
    for words in ("do not add up", "custom_vjp", "clip"):
        assert words in said.caution
    assert ("float64" in said.caution) == (dtype == "float32")  # rounding would be the other cause


@pytest.mark.parametrize("change", [lambda g: 0.5 * g, lambda g: g], ids=["scaled", "as it is"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_linear_on_the_way_back_adds_up(change, dtype):
    flow = jrnn.gradient_flow(passing_back(change), W.astype(dtype), XS.astype(dtype), every_output)
    assert flow.verdict(3).caution == "" and "add up" not in flow.verdict(3).sentence
    assert flow.sum_error < 1e-5


def test_an_estimate_is_no_fault_of_the_step():
    flow = jrnn.gradient_flow(jrnn.elman(3), jrnn.elman(3).init(jax.random.key(0), 3), XS, every_output, max_pairs=700)
    assert not flow.exact and flow.sum_error > 1e-3 and flow.verdict(3).caution == ""


@pytest.fixture(scope="module")
def summary():
    return summarise(passing_back(clipped), W, XS, every_output, lag=3)


def test_a_summary_does_without_forward_mode(summary):
    """Such a step has no forward derivative, so no Jacobian: what needs one is left out, and the reader is told."""
    assert summary.windows is None and summary.spectrum is None and np.isnan(summary.singular_values).all()
    assert any("Jacobian" in text and "custom_vjp" in text for text in reasons(summary))
    plain = summarise(jrnn.elman(3), jrnn.elman(3).init(jax.random.key(0), 3), XS, every_output, lag=3, why=False)
    assert plain.forward and plain.judgement.caution == ""
    assert not any("custom_vjp" in text for text in reasons(plain))


def test_every_reader_is_told(summary):
    value = samples.diagnosis(stages=(samples.Stage("as saved", 0, {"loss": 1.0}, summary),))
    page = html_page(value, {"heard_lags": Picture(b"<svg/>", b"<svg/>")})
    assert page.count("do not add up") >= 3  # the verdict, the search engine's line, the caption
    assert "do not add up" in caption(value)[0] and "The parts add up" not in caption(value)[0]
    assert "The parts add up" in caption(samples.diagnosis())[0]
    assert "do not add up" in json.dumps(to_json(value))
    assert "singular_values" not in [figure.name for figure in figures_of(value)]
    assert not any("Singular" in row.section for row in table_rows(value))
