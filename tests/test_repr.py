"""What a result prints as: one short line that says what it is, with values, under a trace, and under `vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.training import Objective, fit, load

CELL, T, B = jrnn.lstm(3), 9, 4
rng = np.random.default_rng(0)
XS = jnp.asarray(rng.normal(size=(T, B, 2)))


def loss(run):
    return jnp.sum(run.outputs**2)


def line(value):
    """Its one line."""
    text = repr(value)
    assert "\n" not in text and len(text) < 180 and "np." not in text and "Array(" not in text, text
    assert text == str(value) or type(value).__str__ is not object.__str__
    return text


@pytest.fixture(scope="module")
def params():
    return CELL.init(jax.random.key(0), 2)


@pytest.mark.thorough
def test_instruments(params):
    flow = jrnn.gradient_flow(CELL, params, XS, loss)
    said = line(flow)
    assert said.startswith("<GradientFlow: credit float64[9, 10, 4] [R, T+1, *B]; N = 6; all outputs followed; 95 %")
    assert said.endswith(f"within lag {int(flow.effective_horizon())}>")
    verdict = flow.verdict(3)
    assert line(verdict).startswith(f"<Verdict: {verdict.kind} at lag 3; ") and line(verdict).endswith("4 sequences>")
    assert "no finite gradient" in line(flow._replace(lag_norms=jnp.zeros(T + 1)))
    assert line(flow._replace(lag_norms=None)).endswith("all outputs followed>")
    sampled = jrnn.gradient_flow(CELL, params, XS, loss, max_pairs=1)
    assert "a sample of the outputs followed" in line(sampled)
    spectrum = jrnn.lyapunov_spectrum(CELL, params, XS)
    mean = float(np.mean(spectrum.exponents[:, 0]))
    wanted = f"exponents float64[4, 6] [*B, k] of N = 6; largest {mean:+.3f} nats per step on average"
    assert line(spectrum) == f"<LyapunovSpectrum: {wanted}>"
    windows = jrnn.window_singular_values(CELL, params, XS, [(0, T), (2, T)])
    assert line(windows).startswith("<WindowSpectrum: log_singular_values float64[2, 4, 6] [W, *B, n]; largest ")
    product = jrnn.scaled_jacobian_product(jrnn.jacobians(CELL, params, XS), 0, T)
    assert line(product) == "<ScaledProduct: exp(log_scale) matrix, float64[4, 6, 6] [*B, N, N]>"
    run = jrnn.unroll(CELL, params, XS, return_states=True)
    states = "final_state float64[4, 3] and 1 more; states float64[10, 4, 3] and 1 more"
    assert line(run) == f"<Unrolled: outputs float64[9, 4, 3]; {states}>"
    _, grads = jrnn.value_and_grads(CELL, params, XS, loss)
    assert line(grads).startswith("<Gradients: params float64[12] and 2 more; xs float64[9, 4, 2]; ")


@pytest.mark.thorough
def test_summary(params):
    summary = jrnn.flow.summarise(CELL, params, XS, loss, lag=3)
    assert line(summary).startswith(f"<FlowSummary: {summary.verdict} at lag 3; ")
    assert line(summary.spectrum).startswith("<MeasuredSpectrum: 6 of 6 exponents; largest ")
    assert line(summary.windows).startswith("<WindowBands: singular values at 5 lags; the largest of the median")


@pytest.mark.thorough
def test_under_a_trace_and_vmap(params):
    """No value is asked for where there is none; a leading axis of `vmap` is no error."""
    said = []

    def traced(params):
        found = (
            jrnn.gradient_flow(CELL, params, XS, loss),
            jrnn.lyapunov_spectrum(CELL, params, XS, k=2),
            jrnn.window_singular_values(CELL, params, XS, [(0, 4)]),
            jrnn.unroll(CELL, params, XS),
        )
        said.extend(map(line, found))
        return found

    both = jax.vmap(traced)(jax.tree.map(lambda a: jnp.stack([a, a]), params))
    assert said[0] == "<GradientFlow: credit float64[9, 10, 4] [R, T+1, *B]; N = 6; all outputs followed>"
    for each in both:
        line(each)


@pytest.mark.thorough
def test_training(tmp_path):
    data = {"x": rng.normal(size=(8, 5, 2)).astype(np.float32), "y": np.arange(8) % 2}
    stack = jrnn.stack(jrnn.gru(2), jrnn.elman(3))
    for cell, name in ((jrnn.gru(2), "GRU(2)"), (stack, "Stack of 2")):
        fitted = fit(cell, Objective("classify", 2), data, steps=2, batch_size=4, out=tmp_path / name, flow_every=None)
        last = fitted.history["loss"][-1]
        assert line(fitted).startswith(f"<Fitted: {name}; 2 updates; last loss {last:.3g}; in ")
        assert line(load(tmp_path / name)).startswith(f"<Saved: {name}; params float64[")
