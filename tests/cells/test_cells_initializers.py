"""Initialisers against their definitions: exact properties where there are some, else statistics under a fixed key.

Statistical bounds are five standard errors wide, so a wrong factor fails and another version's random bits do not.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import initializers

KEY = jax.random.key(3)
CELLS = {
    "elman": (jrnn.elman, 1),
    "lstm": (jrnn.lstm, 4),
    "gru": (jrnn.gru, 3),
    "gru_before": (lambda h, **o: jrnn.gru(h, reset_after=False, **o), 3),
}


def blocks(w, gates):
    return np.split(np.asarray(w), gates, axis=-1)


def assert_uniform(draws, low, high):
    """Fills [low, high] evenly: range, mean and variance."""
    draws, width = np.ravel(draws), high - low
    assert low <= draws.min() < low + 0.05 * width
    assert high - 0.05 * width < draws.max() <= high
    np.testing.assert_allclose(draws.mean(), (low + high) / 2, atol=5 * width / np.sqrt(12 * draws.size))
    np.testing.assert_allclose(draws.var(), width**2 / 12, rtol=5 / np.sqrt(draws.size))


@pytest.mark.parametrize("name", CELLS)
def test_default_recurrent_blocks_are_orthogonal(name):
    make, gates = CELLS[name]
    params = make(7).init(KEY, 5)
    assert params["w_in"].shape == (5, 7 * gates) and params["w_rec"].shape == (7, 7 * gates)
    for q in blocks(params["w_rec"], gates):
        np.testing.assert_allclose(q.T @ q, np.eye(7), atol=1e-13)


def test_orthogonal_gain_and_rectangles():
    gained = jrnn.gru(5, w_in="orthogonal", w_rec=initializers.orthogonal(1.5)).init(KEY, 3)
    for q in blocks(gained["w_rec"], 3):
        np.testing.assert_allclose(q.T @ q, 2.25 * np.eye(5), atol=1e-13)
    for q in blocks(gained["w_in"], 3):  # wide: the 3 rows are orthonormal
        np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-13)
    tall = jrnn.gru(3, w_in="orthogonal").init(KEY, 5)["w_in"]
    for q in blocks(tall, 3):
        np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-13)


def test_orthogonal_has_both_orientations():
    """Uniform over O(n): a QR without the sign rule gives one determinant, or a positive diagonal, every time."""
    make = jax.jit(jax.vmap(lambda k: initializers.orthogonal()(k, (3, 3), jnp.float64)))
    q = np.asarray(make(jax.random.split(KEY, 400)))
    assert abs(np.mean(np.linalg.det(q) > 0) - 0.5) < 0.125
    np.testing.assert_allclose(q.mean(axis=0), np.zeros((3, 3)), atol=5 / np.sqrt(3 * 400))


def test_identity_is_the_irnn():
    params = jrnn.elman(4, "relu", w_rec="identity").init(KEY, 2)
    np.testing.assert_array_equal(params["w_rec"], np.eye(4))
    scaled = jrnn.lstm(3, w_rec=initializers.identity(0.1)).init(KEY, 2)["w_rec"]
    for block in blocks(scaled, 4):
        np.testing.assert_allclose(block, 0.1 * np.eye(3), rtol=1e-15)


def test_glorot_bound_is_per_gate():
    """Fan-out is H, not the width of the fused matrix."""
    w = jrnn.lstm(60, w_in="glorot").init(KEY, 40)["w_in"]
    for block in blocks(w, 4):
        assert_uniform(block, -np.sqrt(6 / 100), np.sqrt(6 / 100))


@pytest.mark.parametrize("init, std", [("lecun", 1.0), ("gaussian", 1.0), (initializers.gaussian(1.7), 1.7)], ids=str)
def test_gaussian_variance_is_over_the_fan_in(init, std):
    for w, fan_in in (
        (jrnn.gru(60, w_in=init).init(KEY, 40)["w_in"], 40),
        (initializers.gaussian(std)(KEY, (90, 40), float), 90),
    ):
        draws = np.ravel(w)
        np.testing.assert_allclose(draws.std() * np.sqrt(fan_in), std, rtol=5 / np.sqrt(2 * draws.size))
        assert abs(np.mean(draws**4) / np.mean(draws**2) ** 2 - 3) < 5 * np.sqrt(96 / draws.size)  # no other law


@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (128, 10)])
def test_a_draw_has_the_bits_of_the_functions_of_jax(shape):
    """Step after step, none of them in one program: a seed means the same network whatever compiles it."""
    key = jax.random.key(4)
    plain = jax.random.normal(key, shape, jnp.float32) * jnp.asarray(0.7 / shape[0] ** 0.5, jnp.float32)
    np.testing.assert_array_equal(initializers.gaussian(0.7)(key, shape, jnp.float32), plain)
    plain = jax.nn.initializers.orthogonal(1.3)(key, shape, jnp.float32)
    np.testing.assert_array_equal(initializers.orthogonal(1.3)(key, shape, jnp.float32), plain)
    many = jax.vmap(lambda key: initializers.gaussian(0.7)(key, shape, jnp.float32))(jax.random.split(key, 2))
    assert many.shape == (2, *shape)


def test_gaussian_gain_is_the_spectral_radius():
    """The g of random-network theory: eigenvalues fill a disc of radius g (the circular law)."""
    w = jrnn.elman(200, w_rec=initializers.gaussian(1.3)).init(KEY, 1)["w_rec"]
    assert 1.2 < np.max(np.abs(np.linalg.eigvals(np.asarray(w)))) < 1.45


@pytest.mark.parametrize("name", CELLS)
def test_pytorch_rule(name):
    """U(-1/sqrt(H), 1/sqrt(H)); a bias is the sum of two such draws, so triangular, but for the GRU's two n biases."""
    make, gates = CELLS[name]
    hidden = 900
    params = jax.jit(make(hidden, w_in="pytorch", w_rec="zeros", bias="pytorch").init, static_argnums=1)(KEY, 2)
    bound = hidden**-0.5
    assert_uniform(params["w_in"], -bound, bound)
    for i, bias in enumerate(blocks(params["bias"], gates)):
        if "gru" in name and i == 2:
            assert_uniform(bias, -bound, bound)
        else:
            assert bound < np.max(np.abs(bias)) <= 2 * bound
            np.testing.assert_allclose(bias.var(), 2 * bound**2 / 3, rtol=0.25)
            # of a triangle 1/8 lies beyond half its width on each side; of a uniform law 1/4
            np.testing.assert_allclose(np.mean(bias > bound), 1 / 8, atol=0.055)
    if name == "gru":
        assert_uniform(params["bias_rec"], -bound, bound)
        assert np.all(np.asarray(params["bias_rec"]) != np.asarray(params["bias"][2 * hidden :]))


def test_pytorch_recurrent_bound():
    assert_uniform(jrnn.lstm(25, w_rec="pytorch").init(KEY, 2)["w_rec"], -0.2, 0.2)


def test_dense_starts_like_a_linear_layer():
    assert_uniform(jrnn.dense(300, w="pytorch").init(KEY, 4)["w"], -0.5, 0.5)
    w = np.asarray(jrnn.dense(300).init(KEY, 16)["w"])
    np.testing.assert_allclose(w.std(), 0.25, rtol=5 / np.sqrt(2 * w.size))


@pytest.mark.parametrize("t_max", [3.0, 784])
def test_chrono(t_max):
    hidden = 900
    i, f, g, o = blocks(jrnn.lstm(hidden, w_rec="zeros", bias=initializers.chrono(t_max)).init(KEY, 1)["bias"], 4)
    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal(np.concatenate([g, o]), np.zeros(2 * hidden))
    assert_uniform(np.exp(f), 1.0, t_max - 1.0)
    params = jrnn.gru(hidden, w_rec="zeros", bias=initializers.chrono(t_max)).init(KEY, 1)
    r, z, n = blocks(params["bias"], 3)
    assert_uniform(np.exp(z), 1.0, t_max - 1.0)
    np.testing.assert_array_equal(np.concatenate([r, n, params["bias_rec"]]), np.zeros(3 * hidden))


def kept(init, gates, count):
    """sigmoid of the bias of the gate that keeps, of so many units: what a unit without weights keeps a step."""
    bias = init.for_gates(KEY, gates, count, jnp.float64)
    return 1 / (1 + np.exp(-blocks(bias, len(gates))[gates.index(gates.keeps)]))


def test_what_chrono_leaves_after_the_longest_time_scale():
    """Without weights dc_L/dc_0 = f^L. At L = t_max its mean over units is int_0^1 exp(-1/x) dx = .1485 nearly."""
    for cell in (jrnn.lstm, jrnn.gru):
        assert abs(np.mean(kept(initializers.chrono(200), cell(1).gates, 4096) ** 200) - 0.1490) < 0.006


@pytest.mark.parametrize("d, lag, law", [(200, 200, 1.835e-3), (64, 200, None), (64, 30, None), (5, 3, None)])
def test_what_a_uniform_gate_leaves(d, lag, law):
    """E f^L in closed form, on gates drawn alone; 1.835e-3 at L = d = 200."""
    a = 1 / d
    exact = ((1 - a) ** (lag + 1) - a ** (lag + 1)) / ((lag + 1) * (1 - 2 * a))
    assert law is None or abs(exact - law) < 1e-6
    f = kept(initializers.uniform_gate(d), jrnn.lstm(1).gates, 200_000)
    np.testing.assert_allclose(np.mean(f**lag), exact, rtol=0.08)
    assert_uniform(f, a, 1 - a)


def test_a_uniform_gate_is_tied_to_the_gate_that_admits():
    i, f, g, o = blocks(jrnn.lstm(50, bias=initializers.uniform_gate(9)).init(KEY, 1)["bias"], 4)
    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal(np.concatenate([g, o]), np.zeros(100))


def test_forget_bias_is_on_the_gate_that_keeps():
    lstm = blocks(jrnn.lstm(2).init(KEY, 1)["bias"], 4)
    np.testing.assert_array_equal(lstm, [[0, 0], [1, 1], [0, 0], [0, 0]])
    lstm = blocks(jrnn.lstm(2, bias=initializers.forget_bias(2.5)).init(KEY, 1)["bias"], 4)
    np.testing.assert_array_equal(lstm, [[0, 0], [2.5, 2.5], [0, 0], [0, 0]])
    gru = blocks(jrnn.gru(2, bias="unit_forget").init(KEY, 1)["bias"], 3)
    np.testing.assert_array_equal(gru, [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(jrnn.gru(2).init(KEY, 1)["bias"], np.zeros(6))


def test_a_bigger_forget_bias_keeps_more():
    """What the name promises, by the cell's own step: the larger the bias, the more of c (or h) stays."""
    for make, field in ((jrnn.lstm, "c"), (jrnn.gru, "h")):
        kept = []
        for value in (-3.0, 0.0, 3.0):
            cell = make(1, w_in="zeros", w_rec="zeros", bias=initializers.forget_bias(value))
            params = cell.init(KEY, 1)
            state = jax.tree.map(jnp.ones_like, cell.initial_state(params, ()))
            kept.append(float(getattr(cell.step(params, state, jnp.zeros(1)), field)[0]))
        np.testing.assert_allclose(kept, 1 / (1 + np.exp([3.0, 0.0, -3.0])), rtol=1e-13)


def test_linear_decay_range():
    w = jrnn.linear(900, decay=(0.5, 0.9)).init(KEY, 2)["w_rec"]
    assert w.shape == (900,)
    assert_uniform(w, 0.5, 0.9)
    np.testing.assert_array_equal(jrnn.linear(3, decay=(1, 1)).init(KEY, 2)["w_rec"], np.ones(3))


def test_functions_of_jax():
    he = jax.nn.initializers.he_uniform()
    params = jrnn.lstm(60, w_in=he, w_rec=he, bias=jax.nn.initializers.constant(0.25)).init(KEY, 40)
    for block in blocks(params["w_in"], 4):
        assert_uniform(block, -np.sqrt(6 / 40), np.sqrt(6 / 40))
    for block in blocks(params["w_rec"], 4):
        assert_uniform(block, -np.sqrt(6 / 60), np.sqrt(6 / 60))
    np.testing.assert_array_equal(params["bias"], np.full(240, 0.25))


def test_functions_see_one_block_at_a_time_with_a_key_of_its_own():
    calls = []

    def spy(key, shape, dtype):
        calls.append((tuple(np.asarray(jax.random.key_data(key))), shape, dtype))
        return np.full(shape, len(calls), np.float32)  # of another dtype: cast

    params = jrnn.gru(3, w_in=spy, w_rec=spy, bias=spy).init(KEY, 2)
    assert [shape for _, shape, _ in calls] == 3 * [(2, 3)] + 3 * [(3, 3)] + 4 * [(3,)]
    assert len({key for key, _, _ in calls}) == len(calls)
    np.testing.assert_array_equal(params["w_in"][0], np.repeat([1, 2, 3], 3))
    assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("init", ["orthogonal", "glorot", "lecun", "pytorch"])
def test_gates_are_independent(init):
    params = jrnn.lstm(5, w_in=init, w_rec=init, bias="pytorch").init(KEY, 5)
    drawn = [*blocks(params["w_in"], 4), *blocks(params["w_rec"], 4)]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert np.all(a != b)
    bias = blocks(params["bias"], 4)
    assert len(set(np.concatenate(bias))) == 20


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["orthogonal", "identity", "glorot", "lecun", "gaussian", "pytorch", "zeros"])
def test_every_name_in_every_dtype(name, dtype):
    """16-bit weights are drawn in float32 and rounded, not drawn on a grid of 16-bit random numbers."""
    w = jrnn.elman(5, w_in=name, w_rec=name, dtype=dtype).init(KEY, 5)["w_rec"]
    assert w.dtype == dtype and np.all(np.isfinite(np.asarray(w, np.float64)))
    if dtype in ("float16", "bfloat16"):
        wide = jrnn.elman(5, w_in=name, w_rec=name, dtype="float32").init(KEY, 5)["w_rec"]
        np.testing.assert_array_equal(w, wide.astype(dtype))


NEED_WEIGHT = (
    r"need one of \['gaussian', 'glorot', 'identity', 'lecun', 'orthogonal', 'pytorch', 'zeros'\], or a function"
)
NEED_BIAS = r"need one of \['pytorch', 'unit_forget', 'zeros'\], or a function"


@pytest.mark.parametrize("make", [jrnn.elman, jrnn.lstm, jrnn.gru])
def test_unknown_names(make):
    with pytest.raises(jrnn.InputError, match=f"^w_in: got 'xavier'; {NEED_WEIGHT}"):
        make(3, w_in="xavier")
    with pytest.raises(jrnn.InputError, match=f"^w_rec: got 'unit_forget'; {NEED_WEIGHT}"):
        make(3, w_rec="unit_forget")
    with pytest.raises(jrnn.InputError, match=f"^bias: got 'orthogonal'; {NEED_BIAS}"):
        make(3, bias="orthogonal")
    with pytest.raises(jrnn.InputError, match=f"^w_rec: got 1.0; {NEED_WEIGHT}"):
        make(3, w_rec=1.0)
    with pytest.raises(jrnn.InputError, match=r"^w_rec: got forget_bias\(value=1.0\); need"):
        make(3, w_rec=initializers.forget_bias())
    with pytest.raises(
        jrnn.InputError, match=r"^w_rec: got the class orthogonal; need .* such as orthogonal\(\.\.\.\)"
    ):
        make(3, w_rec=initializers.orthogonal)


def test_unknown_names_of_linear_and_dense():
    with pytest.raises(jrnn.InputError, match="^w_in: got 'x'; need one of"):
        jrnn.linear(3, w_in="x")
    with pytest.raises(jrnn.InputError, match="^bias: got 'x'; need one of"):
        jrnn.linear(3, bias="x")
    with pytest.raises(jrnn.InputError, match="^w: got 'x'; need one of"):
        jrnn.dense(3, w="x")


def test_what_a_function_gives_is_checked():
    """jax.nn.initializers.orthogonal is a factory; a wrong shape would shift every gate."""
    with pytest.raises(jrnn.InputError, match=r"initialiser: got a function from .* need an array of shape \(3, 3\)"):
        jrnn.elman(3, w_rec=jax.nn.initializers.orthogonal).init(KEY, 2)
    with pytest.raises(jrnn.InputError, match=r"initialiser: got an array of shape \(12,\)"):
        jrnn.lstm(3, bias=lambda key, shape, dtype: jnp.zeros(12)).init(KEY, 2)


@pytest.mark.parametrize("t_max", [2, 2.0, 0, -1, float("nan"), float("inf"), "784"], ids=str)
def test_chrono_needs_a_time_scale(t_max):
    with pytest.raises(jrnn.InputError, match="^t_max: got .*need a longest time scale above 2 steps"):
        initializers.chrono(t_max)


def test_what_a_ring_leaves():
    """E d^(2L) of 65,536 units: (high^(2L+2) - low^(2L+2)) / ((L+1) (high^2 - low^2)), .01770 at L = 200."""
    low, high = 0.9, 0.999
    square = np.asarray(initializers.ring()(KEY, (65_536,), jnp.float64)) ** 2
    assert_uniform(square, low**2, high**2)
    for lag in (1, 20, 200):
        law = (high ** (2 * lag + 2) - low ** (2 * lag + 2)) / ((lag + 1) * (high**2 - low**2))
        np.testing.assert_allclose(np.mean(square**lag), law, atol=1.5e-3)
    np.testing.assert_allclose(law, 0.01770, atol=5e-6)


def test_lru_starts_on_the_ring():
    """Moduli, phases and the normaliser, from the parameters as the step reads them."""
    cell = jrnn.lru(4096, outputs=1, max_phase=0.5)
    params = jax.tree.map(np.asarray, cell.init(KEY, 1))
    size = np.exp(-np.exp(params["nu"]))
    assert_uniform(size**2, 0.9**2, 0.999**2)
    assert_uniform(np.exp(params["theta"]), 0, 0.5)
    np.testing.assert_allclose(np.exp(2 * params["gamma"]), 1 - size**2, rtol=1e-10)
    np.testing.assert_allclose(params["w_in"].std(), 0.5**0.5, rtol=5 / np.sqrt(2 * 8192))


def time_constants(cell):
    """Of every unit where x is zero."""
    params = cell.init(KEY, 2)
    state = cell.initial_state(params, ())
    return 1 / (1 - np.abs(np.asarray(cell.factors(params, state, jnp.zeros(2)))))


@pytest.mark.parametrize("name", ["min_gru", "min_lstm", "rg_lru", "lru", "linear"])
def test_t_max_fills_the_time_constants(name):
    """1 / (1 - a) = 1 + u, u ~ U[1, t_max - 1], and the law of chrono: mean of a^L at L = t_max near .1490."""
    options = {"outputs": 1} if name == "lru" else {}
    found = time_constants(getattr(jrnn, name)(4096, t_max=200, **options))
    assert_uniform(found, 2, 200)
    np.testing.assert_allclose(np.mean((1 - 1 / found) ** 200), 0.1490, atol=6e-3)


def test_rg_lru_starts_with_a_power_of_the_ring():
    """a = d^(8 r), r = 1/2: its half-lives at the start are a quarter of the ring's."""
    kept = 1 - 1 / time_constants(jrnn.rg_lru(4096))
    assert_uniform(kept**0.5, 0.9**2, 0.999**2)
