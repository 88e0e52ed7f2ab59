"""Refine gates: each step in NumPy from the formulas, the bare cells where r is 1/2, the range, and no kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

import jrnn
from jrnn.cells._refined import refined
from tests.cells.cases import Case, normal_like

KEY = jax.random.key(0)


def blocks(params, x, h, gates):
    """x W + h U + b of each gate, by name."""
    z = x @ params["w_in"] + h @ params["w_rec"] + params["bias"]
    return dict(zip(gates, np.split(np.asarray(z), len(gates), axis=-1), strict=True))


def moved(keep, refine):
    """2 r g + (1 - 2 r) g^2."""
    g, r = expit(keep), expit(refine)
    return 2 * r * g + (1 - 2 * r) * g**2


def test_the_lstm():
    case = Case("", jrnn.lstm(5, refine=True), 3, 0, 0)
    params, state, x = case.params(), case.state((4,)), case.inputs((4,))
    z = blocks(params, x, state.h, ("i", "f", "g", "o", "r"))
    c = moved(z["f"], z["r"]) * state.c + expit(z["i"]) * np.tanh(z["g"])
    after = case.cell.step(params, state, x)
    np.testing.assert_allclose(after.c, c, rtol=1e-13)
    np.testing.assert_allclose(after.h, expit(z["o"]) * np.tanh(c), rtol=1e-13)


@pytest.mark.parametrize("reset_after", [True, False])
def test_the_gru(reset_after):
    case = Case("", jrnn.gru(5, reset_after, refine=True), 3, 0, 0)
    params, (h,), x = case.params(), case.state((4,)), case.inputs((4,))
    z = blocks(params, x, h, ("r", "z", "q", "n"))
    r, keep = expit(z["r"]), moved(z["z"], z["q"])
    to_n = params["w_rec"][:, 15:]
    inner = r * (h @ to_n + params["bias_rec"]) if reset_after else (r * h) @ to_n
    n = np.tanh(z["n"] - h @ to_n + inner)
    after = case.cell.step(params, jrnn.GRUState(h), x)
    np.testing.assert_allclose(after.h, (1 - keep) * n + keep * h, rtol=1e-12, atol=1e-14)


def test_the_range_of_a_refined_gate():
    """[g^2, 1 - (1 - g)^2], met at r = 0 and 1, and g itself at r = 1/2."""
    g, r = np.random.default_rng(0).random((2, 10_000))
    between = np.asarray(refined(g, r))
    assert np.all(g**2 * (1 - 1e-15) <= between) and np.all(between <= (1 - (1 - g) ** 2) * (1 + 1e-15))
    ends = [refined(g, np.full_like(g, end)) for end in (0.0, 0.5, 1.0)]
    for found, exact in zip(ends, (g**2, g, 1 - (1 - g) ** 2), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(refined(0.9, np.array([0.0, 1.0])), [0.81, 0.99])


@pytest.mark.parametrize("make, order", [(jrnn.lstm, "ifgo"), (jrnn.gru, "rzn")], ids=["lstm", "gru"])
def test_without_weights_of_its_own_it_is_the_bare_cell(make, order):
    bare, cell = make(3), make(3, refine=True)
    params = Case("", bare, 2, 0, 0).params()
    names = [name for name in cell.gates if name != "refine"]
    assert "".join(names) == order

    def widened(array):
        parts = dict(zip(names, np.split(array, len(names), axis=-1), strict=True))
        return np.concatenate([parts.get(name, np.zeros_like(parts[order[0]])) for name in cell.gates], axis=-1)

    wide = {name: array if name == "bias_rec" else widened(array) for name, array in params.items()}
    xs = normal_like(jax.ShapeDtypeStruct((6, 2, 2), float), 3)
    runs = jrnn.unroll(bare, params, xs, implementation="reference"), jrnn.unroll(cell, wide, xs)
    np.testing.assert_allclose(runs[1].outputs, runs[0].outputs, rtol=1e-13, atol=1e-15)


def test_a_time_scale_at_the_start_and_no_kernel():
    cell = jrnn.gru(7, t_max=20, refine=True)
    params = cell.init(KEY, 2)
    r, z, q, n = np.split(np.asarray(params["bias"]), 4)
    assert np.all((np.exp(z) >= 1) & (np.exp(z) <= 19)) and not np.any(np.concatenate([r, q, n, params["bias_rec"]]))
    why = jrnn.kernels.explain(jrnn.dropout(cell, outputs=0.5), params)
    assert why.chosen == "reference" and set(why.refused.values()) == {"a refined gate runs by the scan alone"}
    with pytest.raises(jrnn.InputError, match="^implementation: got native, but a refined gate runs by the scan alone"):
        jrnn.unroll(cell, params, jnp.ones((3, 2)), implementation="native")
