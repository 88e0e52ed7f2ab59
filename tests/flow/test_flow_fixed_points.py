"""Fixed points against closed forms, SciPy's roots in float64, dense scans, and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, root

import jrnn
from jrnn.flow import fixed_points, participation_ratio, sample_states
from tests.cells.cases import CASES, normal_like

rng = np.random.default_rng(0)
PLANE = jrnn.elman(2)


def plain(w, x=0.0):
    return {"w_in": jnp.eye(len(w)), "w_rec": jnp.asarray(w), "bias": jnp.full(len(w), x)}


def test_points_of_mixed_precision_are_those_of_the_network_in_float32():
    """tanh(2 h + .1) = h by bracketing: rounded to 16 bits h rests at a number on the grid, wherever it is."""
    params = jax.tree.map(lambda a: a.astype(jnp.float32), plain(np.array([[2.0]]), 0.1))
    roots = [brentq(lambda h: np.tanh(2 * h + 0.1) - h, *ends) for ends in ((-1, -0.6), (-0.5, 0.2), (0.5, 1))]
    mixed = jrnn.mixed_precision(jrnn.elman(1))
    for cell, own in ((mixed, params), (jrnn.residual(jrnn.stack(mixed)), [params])):
        found = fixed_points(cell, own, jnp.zeros(1), np.linspace(-1.5, 1.5, 31)[:, None])
        np.testing.assert_allclose(np.sort(found.points[:, 0]), roots, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_a_linear_network_rests_at_its_solution(dtype):
    """h = (I - A)^-1 b, from one start and from far; eigenvalues, time constants, turns: those of A."""
    turn, shrink = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]]), 0.9
    A = np.zeros((3, 3))
    A[:2, :2], A[2, 2] = shrink * turn, -1.25
    V = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    A = np.array(jnp.asarray(V @ A @ np.linalg.inv(V), dtype), float)  # rounded, as the network has it
    cell = jrnn.elman(3, "identity", dtype=dtype)
    params = jax.tree.map(lambda a: a.astype(dtype), plain(A.T))
    x = np.array([0.5, -1.0, 2.0])
    found = fixed_points(cell, params, jnp.asarray(x, dtype), 50 * rng.normal(size=(5, 3)))
    tolerance = 1e-9 if dtype == jnp.float64 else 2e-4
    np.testing.assert_allclose(found.points, np.linalg.solve(np.eye(3) - A, x)[None], rtol=tolerance, atol=tolerance)
    assert len(found) == 1 and found.converged.all() and found.unfinished == 0 and found.starts.tolist() == [5]
    assert found.points.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
    expected = np.array(sorted(np.linalg.eigvals(A), key=lambda value: -abs(value)))
    np.testing.assert_allclose(np.abs(found.eigenvalues[0]), np.abs(expected), rtol=1e-5)
    assert found.unstable_dimension.tolist() == [1] and not found.stable.any()
    if dtype == jnp.float64:
        np.testing.assert_allclose(found.time_constants[0], [-1 / np.log(1.25), *[-1 / np.log(0.9)] * 2], rtol=1e-9)
        np.testing.assert_allclose(found.frequencies[0], [0.5, *[0.7 / 2 / np.pi] * 2], rtol=1e-9)
        np.testing.assert_allclose(found.jacobians[0], A, atol=1e-12)


def test_one_unit_rests_at_the_roots_of_its_equation():
    """h = tanh(w h + b): three roots by bracketing, one below the fold; the slope w (1 - h^2) tells which is stable."""
    starts = np.linspace(-1.5, 1.5, 31)[:, None]
    cell = jrnn.elman(1)

    def g(h, w, b):
        return np.tanh(w * h + b) - h

    for w, b, brackets in (
        (2.0, 0.1, ((-1, -0.6), (-0.5, 0.2), (0.5, 1))),
        (2.0, 0.8, ((0.5, 1),)),
        (0.5, 0.1, ((0, 1),)),
    ):
        roots = np.array([brentq(g, *bracket, args=(w, b), xtol=1e-15) for bracket in brackets])
        found = fixed_points(cell, plain([[w]], b), jnp.zeros(1), starts)
        fixed = found[found.converged]
        order = np.argsort(fixed.points[:, 0])
        np.testing.assert_allclose(fixed.points[order, 0], roots, atol=1e-12)
        slope = w * (1 - roots**2)
        np.testing.assert_allclose(fixed.eigenvalues[order, 0].real, slope, atol=1e-10)
        np.testing.assert_array_equal(fixed.stable[order], slope < 1)
        ghosts = found[~found.converged]  # beyond the fold the two others have left one slow point
        assert len(ghosts) == (b == 0.8)
        for point in ghosts.points[:, 0]:  # where (F - h)' = 0
            assert 2 * (1 - np.tanh(2 * point + 0.8) ** 2) == pytest.approx(1, abs=1e-6)
            assert ghosts.speed[0] == pytest.approx(g(point, w, b) ** 2 / 2) and ghosts.speed[0] > 1e-4


def test_a_dense_scan_of_a_plane_finds_the_same_points():
    """Every root that SciPy finds from a grid in float64, and no other; of one program for all starts."""
    w = np.array([[2.2, -0.4], [0.3, 1.9]])
    params, x = plain(w), np.array([0.05, -0.1])
    grid = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, 25)] * 2), axis=-1).reshape(-1, 2)
    found = fixed_points(PLANE, params, jnp.asarray(x), grid)
    solved = [root(lambda h: np.tanh(h @ w + x) - h, start, tol=1e-13) for start in grid[::7]]
    roots = np.unique(np.round([one.x for one in solved if one.success], 8), axis=0)
    points = found.points[found.converged]
    assert len(points) == len(roots) >= 5
    np.testing.assert_allclose(points[np.lexsort(points.T[::-1])], roots, atol=1e-7)
    for i, point in enumerate(found.points):
        J = np.diag(1 - np.tanh(point @ w + x) ** 2) @ w.T
        np.testing.assert_allclose(
            np.sort(np.abs(found.eigenvalues[i])), np.sort(np.abs(np.linalg.eigvals(J))), rtol=1e-9
        )
        assert found.stable[i] == (np.abs(np.linalg.eigvals(J)).max() < 1)
    # a stable point is where a start beside it goes
    for point in found.points[found.stable]:
        h = point + 1e-3
        for _ in range(3000):
            h = np.tanh(h @ w + x)
        np.testing.assert_allclose(h, point, atol=1e-9)
    with jax.enable_x64(False):
        single = fixed_points(PLANE, jax.tree.map(np.float32, params), x.astype(np.float32), grid.astype(np.float32))
    assert single.points.dtype == np.float32 and single.converged.sum() == len(roots)
    points = single.points[single.converged]
    np.testing.assert_allclose(points[np.lexsort(points.T[::-1])], roots, atol=3e-6)


def test_three_bits_have_eight_stable_states():
    """Units that do not meet: {-a, 0, a}^3 with a = tanh(2 a), and as many unstable directions as zeros."""
    a = brentq(lambda h: np.tanh(2 * h) - h, 0.5, 1)
    cell, params = jrnn.elman(3), plain(2 * np.eye(3))
    starts = jrnn.ElmanState(jnp.asarray(rng.uniform(-1.2, 1.2, size=(400, 3))))
    found = fixed_points(cell, params, jnp.zeros(3), starts)
    assert len(found) == 27 and found.converged.all() and found.starts.sum() == 400
    np.testing.assert_allclose(np.abs(found.points), a * (np.abs(found.points) > 0.5), atol=1e-12)
    np.testing.assert_array_equal(found.unstable_dimension, (np.abs(found.points) < 0.5).sum(1))
    assert found.stable.sum() == 8 and (np.diff(found.starts) <= 0).all()
    assert repr(found) == "<FixedPoints: 27 fixed points (8 stable, up to 3 unstable directions); 400 starts; N = 3>"

    eight = found[found.stable]
    assert len(eight) == 8 and isinstance(eight.states, jrnn.ElmanState) and eight.states.h.shape == (8, 3)
    assert eight.starts.sum() + eight.unfinished == 400
    one = found[-1]
    assert len(one) == 1 and one.of_start.max() == 0 and one.starts[0] == found.starts[-1]
    np.testing.assert_array_equal(one.points[0], found.points[-1])
    assert len(fixed_points(cell, params, jnp.zeros(3), starts, unique=3.0)) == 1
    assert len(found[:0]) == 0 and repr(found[:0]).startswith(
        "<FixedPoints: 0 fixed points; 400 starts (400 went to none)"
    )


def test_a_hopfield_network_keeps_its_patterns():
    """Hebb's weights of two orthogonal patterns: from each and its negative a search and a plain loop end at the same
    stable point; all points solve the equation, and each one's negative is among them."""
    patterns = np.array([[1, 1, 1, -1, -1, -1, 1, -1], [1, -1, 1, 1, -1, 1, 1, 1]])
    w = 1.5 * patterns.T @ patterns / 8
    starts = np.concatenate([patterns, -patterns, rng.normal(size=(60, 8))])
    found = fixed_points(jrnn.elman(8), plain(w), jnp.zeros(8), starts)
    np.testing.assert_allclose(np.tanh(found.points[found.converged] @ w), found.points[found.converged], atol=1e-10)
    for i, h in enumerate(starts[:4]):
        for _ in range(500):
            h = np.tanh(h @ w)
        nearest = found.of_start[i]
        assert found.stable[nearest]
        np.testing.assert_allclose(found.points[nearest], h, atol=1e-10)
    for point in found.points[found.converged]:
        assert np.abs(found.points + point).max(1).min() < 1e-8


WHOLE = ("stack_of_two", "elman_orthogonal", "from_functions", "from_step", "scale_gradient")


@pytest.mark.parametrize("case", [case for case in CASES if case.name in WHOLE], ids=str)
def test_every_kind_of_state(case):
    """h and c, stacks, trees, foreign steps, steps without forward mode: F(h, x) = h by the step itself, and
    eigenvalues of central differences."""
    params, x = jax.tree.map(lambda a: a / 2, case.params()), case.inputs()
    if case.name == "from_step":  # its second part counts without end: make it forget
        cell = jrnn.from_step(
            lambda p, s, x: ((jnp.tanh(s[0] @ p["u"] + x @ p["w"]), jnp.sin(s[1]) / 2), s[0]),
            initial_state=lambda p: (jnp.zeros(3), jnp.zeros(())), batched=False,
        )  # fmt: skip
    else:
        cell = case.cell
    found = fixed_points(cell, params, x, normal_like(jax.eval_shape(lambda p: cell.initial_state(p, (6,)), params), 5))
    assert found.converged.any() and found.points.shape[1] == case.state_size
    xs = None if x is None else np.broadcast_to(x, (len(found), *x.shape))
    after = cell.step(params, found.states, xs)
    lead = {"batch_ndim": 1}
    moved = np.asarray(jrnn.ravel_state(after, **lead) - jrnn.ravel_state(found.states, **lead))
    np.testing.assert_allclose(moved[found.converged], 0, atol=1e-9)
    np.testing.assert_allclose(found.speed, (moved**2).sum(1) / 2, atol=1e-18)
    np.testing.assert_array_equal(jrnn.ravel_state(found.states, **lead), found.points)

    one, J = jax.tree.map(lambda a: a[0], found.states), []
    for i in range(case.state_size):
        sides = [
            jrnn.types.unravel_state(found.points[0] + sign * 1e-6 * np.eye(case.state_size)[i], one)
            for sign in (1, -1)
        ]
        up, down = (jrnn.ravel_state(cell.step(params, jax.tree.map(jnp.asarray, side), x), 0) for side in sides)
        J.append(np.asarray(up - down) / 2e-6)
    np.testing.assert_allclose(found.jacobians[0], np.stack(J, axis=1), atol=1e-7)


def test_a_ghost_is_a_slow_point():
    """h + .1 (h^2 + .01) rests nowhere; its speed is least, .001^2 / 2, at h = 0. Far starts run away or end there."""
    cell = jrnn.from_functions(
        initial_state=lambda p, batch: jnp.zeros((*batch, 1)), step=lambda p, h, x: h + p * (h**2 + 0.01)
    )
    found = fixed_points(cell, jnp.asarray(0.1), None, jnp.array([[0.3], [-0.4], [0.05], [np.nan]]))
    assert len(found) == 1 and not found.converged[0] and not found.stable[0] and found.unfinished == 1
    assert found.points[0, 0] == pytest.approx(0, abs=1e-5) and found.speed[0] == pytest.approx(5e-7, rel=1e-6)
    assert repr(found) == "<FixedPoints: 0 fixed points, 1 slow; 4 starts (1 went to none); N = 1>"


@pytest.mark.thorough
def test_a_trained_flip_flop_has_eight_stable_states():
    """Each stands for its three bits, which the readout tells."""
    task = jrnn.data.flip_flop(6)
    with jax.enable_x64(False):
        fitted = jrnn.training.fit(
            jrnn.lstm(8), jrnn.training.Objective.of(task),
            lambda step: task.batch(jax.random.fold_in(jax.random.key(0), step), 32),
            steps=250, learning_rate=0.03, flow_every=None, log_every=50,
        )  # fmt: skip
        xs = task.batch(jax.random.key(5), 32)["x"]
        starts = sample_states(fitted.cell, fitted.params, xs, 200, key=jax.random.key(1), noise=0.5)
        found = fixed_points(fitted.cell, fitted.params, np.zeros(3, np.float32), starts)
    stable = found[found.stable]
    bits = stable.states.h @ np.asarray(fitted.loss_params["w"]) + np.asarray(fitted.loss_params["bias"])
    np.testing.assert_allclose(np.abs(bits), 1, atol=0.2)
    assert len({tuple(row) for row in np.sign(bits).astype(int).tolist()}) == len(stable) == 8


def test_sampled_states_were_visited():
    case = next(case for case in CASES if case.name == "lstm")
    params, xs, key = case.params(), case.inputs((5, 3)), jax.random.key(2)
    lengths = jnp.array([5, 0, 2])
    visited = jrnn.unroll(case.cell, params, xs, lengths=lengths, return_states=True).states
    rows = np.asarray(jrnn.ravel_state(visited))
    allowed = {rows[t, b].tobytes() for b in range(3) for t in range(1, int(lengths[b]) + 1)}
    drawn = sample_states(case.cell, params, xs, 5000, key=key, lengths=lengths)
    assert (
        isinstance(drawn, jrnn.LSTMState) and {row.tobytes() for row in np.asarray(jrnn.ravel_state(drawn))} == allowed
    )

    noisy = sample_states(case.cell, params, xs, 5000, key=key, lengths=lengths, noise=0.5)
    deviation = np.std(noisy.c - drawn.c, axis=0) / np.std(drawn.c, axis=0)
    np.testing.assert_allclose(deviation, 0.5, rtol=0.05)


def test_participation_ratio():
    """From eigenvalues by NumPy; n for n equal directions; padding left out; no unit, no mean."""
    states = rng.normal(size=(6, 7, 4)) @ rng.normal(size=(4, 4)) + 3
    mask = rng.random((6, 7)) < 0.8
    values = np.linalg.eigvalsh(np.cov(states[mask].T))
    ratio = jax.jit(lambda s, m: participation_ratio(s, mask=m))
    assert float(ratio(states, mask)) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-12)
    assert float(ratio(1e-200 * states, mask)) == pytest.approx(float(ratio(states, mask)), rel=1e-9)
    cross = np.concatenate([np.eye(5), -np.eye(5)])[:, :3]
    assert float(participation_ratio({"h": cross[:, :1], "c": cross[:, 1:]})) == pytest.approx(3, rel=1e-12)
    assert (
        float(participation_ratio(jnp.ones((4, 3), jnp.bfloat16))) == 0 == float(participation_ratio(jnp.ones((0, 3))))
    )
    each = jax.vmap(participation_ratio)(jnp.stack([states[0], cross[:7, :2] @ rng.normal(size=(2, 4))]))
    assert each.shape == (2,) and 1 <= float(each[1]) <= 2 + 1e-9
