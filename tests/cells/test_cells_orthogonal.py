"""Orthogonal maps against PyTorch and SciPy; modReLU against its formula; what the two together keep."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

import jrnn
from jrnn.cells import orthogonal_map, prepared
from tests.cells.cases import Case

KEY = jax.random.key(0)
MAPS = ("exp", "cayley", "householder")


def filled(free, hidden, diagonal=0.0):
    """What is below the diagonal, as PyTorch holds it."""
    lower = diagonal * np.eye(hidden)
    lower[np.tril_indices(hidden, -1)] = free
    return lower


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("hidden", [1, 5, 6])
def test_values_and_gradients_are_pytorchs(name, hidden):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(hidden)
    free, weights = rng.normal(size=hidden * (hidden - 1) // 2), rng.normal(size=(hidden, hidden))
    linear = torch.nn.Linear(hidden, hidden, bias=False).double()
    theirs = {"exp": "matrix_exp"}.get(name, name)
    torch.nn.utils.parametrizations.orthogonal(linear, orthogonal_map=theirs, use_trivialization=False)
    raw = linear.parametrizations.weight.original
    with torch.no_grad():
        raw.copy_(torch.tensor(filled(free, hidden, -1.0 if name == "householder" else 0.0)))
    wanted = linear.weight
    (wanted * torch.tensor(weights)).sum().backward()

    def loss(free):
        w = orthogonal_map(name).matrix(free, hidden)
        return jnp.sum(w * weights), w

    (_, w), gradient = jax.value_and_grad(loss, has_aux=True)(free)
    np.testing.assert_allclose(w, wanted.detach().numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gradient, raw.grad.numpy()[np.tril_indices(hidden, -1)], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(np.linalg.det(w), 1, rtol=1e-12)


@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
def test_the_exponential_of_any_size(size):
    """Against SciPy's; far beyond what squaring reaches it is orthogonal still."""
    hidden = 9
    free = size * np.random.default_rng(1).normal(size=hidden * (hidden - 1) // 2)
    lower = filled(free, hidden)
    w = np.asarray(orthogonal_map().matrix(jnp.asarray(free), hidden))
    np.testing.assert_allclose(w, scipy.linalg.expm(lower - lower.T), rtol=1e-10, atol=1e-11)
    far = np.asarray(orthogonal_map().matrix(jnp.asarray(1e4 * free), hidden))
    np.testing.assert_allclose(far.T @ far, np.eye(hidden), atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
def test_orthogonal_in_float32_after_many_updates(name):
    """1,000 updates by Adam towards a matrix of large entries; W^T W = I to 1e-6 all along."""
    hidden, made = 16, orthogonal_map(name)
    target = 5 * jax.random.normal(KEY, (hidden, hidden), jnp.float32)
    optimizer = optax.adam(1e-2)

    def update(carry, _):
        free, state = carry
        gradient = jax.grad(lambda f: jnp.sum((made.matrix(f, hidden) - target) ** 2))(free)
        updates, state = optimizer.update(gradient, state)
        free = free + updates
        w = made.matrix(free, hidden)
        return (free, state), jnp.max(jnp.abs(w.T @ w - jnp.eye(hidden, dtype=w.dtype)))

    free = made.init(KEY, hidden, jnp.float32)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic
        run = jax.jit(lambda c: jax.lax.scan(update, c, None, length=1000))
        (trained, _), flaws = run((free, optimizer.init(free)))
    assert flaws.dtype == jnp.float32 and np.max(flaws) <= 1e-6
    assert np.linalg.norm(trained - free) > 1


@pytest.mark.parametrize(
    "name, start, low, high",
    [("exp", "henaff", -np.pi, np.pi), ("exp", "cayley", 0, np.pi / 2), ("cayley", "henaff", -np.pi, np.pi),
     ("cayley", "cayley", 0, np.pi / 2), ("cayley", "identity", 0, 0), ("householder", "identity", 0, 0)],
)  # fmt: skip
def test_starts(name, start, low, high):
    """Rotations of pairs of units by angles of the law, the odd unit still."""
    hidden = 401
    w = np.asarray(
        orthogonal_map(name, start).matrix(orthogonal_map(name, start).init(KEY, hidden, jnp.float64), hidden)
    )
    even = np.arange(0, hidden - 1, 2)
    angles = np.arctan2(w[even + 1, even], w[even, even])
    assert low - 1e-12 <= angles.min() and angles.max() <= high + 1e-12
    assert abs(angles.mean() - (low + high) / 2) <= 4 * (high - low) / (12 * len(even)) ** 0.5 + 1e-12
    blocks = np.eye(hidden)
    blocks[even, even] = blocks[even + 1, even + 1] = np.cos(angles)
    blocks[even + 1, even], blocks[even, even + 1] = np.sin(angles), -np.sin(angles)
    np.testing.assert_allclose(w, blocks, atol=1e-11)


def test_a_haar_start():
    """Reflections of a Gaussian's QR: entries of variance 1/H; traces of a uniform rotation have variance 1."""
    made = orthogonal_map("householder")
    ws = jax.vmap(lambda key: made.matrix(made.init(key, 8, jnp.float64), 8))(jax.random.split(KEY, 2000))
    np.testing.assert_allclose(np.mean(ws**2, axis=0), 1 / 8, rtol=0.2)
    assert abs(np.mean(np.trace(ws, axis1=1, axis2=2) ** 2) - 1) < 0.15


def test_modrelu():
    cell = jrnn.elman(3, "modrelu", w_in="identity", w_rec="zeros")
    params = cell.init(KEY, 3) | {"offset": jnp.asarray([0.5, -0.5, 0.0])}
    assert np.all(np.abs(cell.init(KEY, 3)["offset"]) <= 0.01) and np.all(cell.init(KEY, 3)["offset"] != 0)
    xs = jnp.asarray([[1.0, 1.0, 1.0], [-0.1, -0.1, -0.1], [-2.0, -2.0, -2.0], [0.0, 0.0, 0.0], [jnp.nan] * 3])
    wanted = [[1.5, 0.5, 1.0], [-0.6, 0.0, -0.1], [-2.5, -1.5, -2.0], [0.0, 0.0, 0.0], [np.nan] * 3]
    np.testing.assert_allclose(jrnn.unroll(cell, params, xs).outputs, wanted, rtol=1e-15)
    why = jrnn.kernels.explain(jrnn.residual(cell), params)
    assert why.chosen == "reference" and set(why.refused.values()) == {"modReLU runs by the scan alone"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", MAPS)
def test_nothing_is_lost_over_a_thousand_steps(name):
    """Without offset and inputs: every singular value of the product of 1,000 Jacobians is 1, in float32."""
    cell = jrnn.elman(6, "modrelu", w_rec=orthogonal_map(name), dtype="float32")
    params = cell.init(KEY, None) | {"offset": jnp.zeros(6, jnp.float32)}
    start = jrnn.ElmanState(jax.random.normal(KEY, (6,), jnp.float32))
    options = {"initial_state": start, "length": 1000}
    found = jrnn.window_singular_values(cell, params, None, [(0, 1000)], **options)
    np.testing.assert_allclose(np.exp(np.ravel(found.log_singular_values)), 1, atol=1e-4)
    exponents = jrnn.lyapunov_spectrum(cell, params, None, **options).exponents
    np.testing.assert_allclose(exponents, 0, atol=1e-6)


def test_prepared_parameters_stand_for_those_they_are_made_of():
    """In a stack, around wrappers, and for export; the gradient is that of the free parameters."""
    cell = jrnn.stack(jrnn.leaky(jrnn.elman(4, w_rec=orthogonal_map()), 9), jrnn.residual(jrnn.gru(4)))
    case = Case("", cell, 2, 0, 0)
    params, xs = case.params(), case.inputs((5, 3))
    made = prepared(cell, params)
    assert set(made[0]["cell"]) == {"w_in", "w_rec", "bias"} and made[1] is params[1]
    assert prepared(cell, made)[0]["cell"]["w_rec"] is made[0]["cell"]["w_rec"]
    runs = [jrnn.unroll(cell, p, xs, implementation=n).outputs for p in (params, made) for n in (None, "reference")]
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], rtol=1e-12, atol=1e-13)
    w = np.asarray(made[0]["cell"]["w_rec"])
    np.testing.assert_allclose(w.T @ w, np.eye(4), atol=1e-14)


def test_both_directions_share_a_call():
    cell = jrnn.Bidirectional(jrnn.elman(3, w_rec=orthogonal_map()))
    params, xs = cell.init(KEY, 2), jnp.ones((5, 2, 2))
    ones = {side: prepared(cell.forward, own) for side, own in params.items()}
    plain = jrnn.Bidirectional(jrnn.elman(3))
    np.testing.assert_allclose(
        jrnn.unroll(cell, params, xs).outputs, jrnn.unroll(plain, ones, xs).outputs, rtol=1e-12, atol=1e-14
    )


def test_parameters_that_do_not_fit():
    cell = jrnn.elman(4, w_rec=orthogonal_map())
    with pytest.raises(jrnn.InputError, match=r"^params: got .*'bias', 'w_in'.*; need a dict of .*'rotation'"):
        jrnn.unroll(cell, {k: v for k, v in cell.init(KEY, 2).items() if k != "rotation"}, jnp.ones((3, 2)))
    with pytest.raises(jrnn.InputError, match=r"^params\['rotation'\]: got shape \(5,\); need \(6,\) for 4 units"):
        jrnn.unroll(cell, cell.init(KEY, 2) | {"rotation": jnp.zeros(5)}, jnp.ones((3, 2)))
    with pytest.raises(jrnn.InputError, match=r"^w_rec: got OrthogonalMap.*; need one of"):
        jrnn.lstm(4, w_rec=orthogonal_map())


def test_a_rate_of_its_own():
    """Behind Adam the first update is the learning rate itself, up to its sign: a tenth of it on `rotation` alone."""
    cell = jrnn.stack(jrnn.elman(4, "modrelu", w_rec=orthogonal_map()), jrnn.gru(2))
    params = cell.init(KEY, 2), {"w": jnp.ones(3)}
    optimizer = optax.chain(optax.adam(1e-2), jrnn.cures.orthogonal_rates())
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params))
    slow = updates[0][0].pop("rotation")
    np.testing.assert_allclose(slow, -1e-3, rtol=1e-6)
    for update in jax.tree.leaves(updates):
        np.testing.assert_allclose(update, -1e-2, rtol=1e-6)
