"""The picture of fixed points draws the numbers it is given, in principal components by NumPy's own SVD."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import jrnn
from jrnn.report import plot_fixed_points

rng = np.random.default_rng(0)
CELL = jrnn.elman(3)
PARAMS = {"w_in": jnp.eye(3), "w_rec": 2 * jnp.eye(3), "bias": jnp.zeros(3)}


@pytest.fixture(scope="module")
def found():
    return jrnn.flow.fixed_points(CELL, PARAMS, jnp.zeros(3), rng.uniform(-1.2, 1.2, size=(300, 3)))


@pytest.fixture(scope="module")
def paths():
    xs = rng.normal(size=(9, 50, 3)) * [0.1, 1.0, 0.4]
    return jrnn.unroll(CELL, PARAMS, xs, return_states=True).states


def drawn(ax, gid):
    return [line for line in ax.lines if line.get_gid() == gid]


def test_points_and_paths_in_principal_components(found, paths):
    ax = Figure().add_subplot()
    assert plot_fixed_points(found, paths, ax=ax, title="Three bits", dark=True) is ax
    ax.figure.draw_without_rendering()
    cloud = np.asarray(paths.h).reshape(-1, 3)
    middle = cloud.mean(0)
    _, sizes, axes = np.linalg.svd(cloud - middle, full_matrices=False)
    shares = sizes**2 / (sizes**2).sum()
    (stable,) = drawn(ax, "stable")
    expected = (found.points[found.stable] - middle) @ axes[:2].T
    np.testing.assert_allclose(np.abs(stable.get_xydata()), np.abs(expected), atol=1e-9)  # but for the signs of axes
    assert f"({100 * shares[0]:.0f} %)" in ax.get_xlabel() and f"({100 * shares[1]:.0f} %)" in ax.get_ylabel()
    lines = drawn(ax, "path")
    assert len(lines) == 40 and len(lines[0].get_xdata()) == 10
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [
        "stable (8)",
        "1 unstable direction (12)",
        "2 unstable directions (6)",
        "3 unstable directions (1)",
    ]
    assert ax.get_title() == "Three bits" and len(drawn(ax, "unstable direction")) == 19


def test_in_three_dimensions_and_without_paths(found):
    ax = Figure().add_subplot(projection="3d")
    plot_fixed_points(found, ax=ax)
    ax.figure.draw_without_rendering()
    assert "component 3" in ax.get_zlabel() and len(ax.lines[-1].get_data_3d()) == 3
    alone = plot_fixed_points(found[found.stable])
    assert alone.get_title() == "Fixed points" and not drawn(alone, "path")
    ghost = jrnn.from_functions(  # one unit has no second component
        initial_state=lambda p, b: jnp.zeros((*b, 1)), step=lambda p, h, x: h + 0.1 * (h**2 + 0.01)
    )
    lone = jrnn.flow.fixed_points(ghost, None, None, jnp.array([[0.3]]))
    (slow,) = drawn(plot_fixed_points(lone, jax.random.normal(jax.random.key(0), (7, 1))), "slow")
    assert slow.get_ydata().tolist() == [0.0]


def test_a_result_plots_itself_on_narrow_axes(found, paths):
    """Two side by side: short entries."""
    ax = Figure(figsize=(5, 2)).subplots(1, 2)[0]
    assert found.plot(trajectories=paths, ax=ax, title="mine") is ax and ax.get_title() == "mine"
    texts = [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]
    assert texts == ["stable (8)", "1 unstable (12)", "2 unstable (6)", "3 unstable (1)"]
