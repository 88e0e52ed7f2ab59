"""Fixed and slow points in principal components, with trajectories that pass by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jrnn.flow.dynamics.result import FixedPoints
from jrnn.report.figures.base import arrange
from jrnn.report.figures.style import finish, prepare
from jrnn.report.figures.themes import Look, look_of
from jrnn.types import InputError, State, ravel_state
from jrnn.wording import percentage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 40
"""Trajectories that are drawn."""
MARKS = "oD^sPX"
"""By unstable dimension: 0, 1, ..., and all beyond."""


def plot_fixed_points(
    found: FixedPoints,
    trajectories: State | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool | str = True,
    dark: bool | None = None,
) -> Axes:
    """Draws fixed points in the first principal components of the trajectories (or of the points without any).

    Filled circles are stable; open marks are unstable, another for each number of unstable directions, with a short
    line along the direction of the largest eigenvalue where it is real; crosses are slow points.

    Args:
      found: what `jrnn.flow.fixed_points` gave.
      trajectories: states of runs, leaves [T, ...] or [T, *B, ...]: `unroll(return_states=True).states`. At most 40 of
        the batch are drawn; all of them choose the components.
      ax: matplotlib Axes, in three dimensions if made with projection="3d"; by default those of a new figure.
      title: above the axes; "" for none.
      legend: whether there is one, or where: a location of `Axes.legend`.
      dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
    Returns:
      The Axes; `.figure` is the Figure.
    Raises:
      InputError: not a `FixedPoints`, no points and no trajectories, states of another size, matplotlib is not there.
    """
    if not isinstance(found, FixedPoints):
        raise InputError("found", f"a {type(found).__name__}", "what jrnn.flow.fixed_points gave")
    paths = np.zeros((0, 0, found.points.shape[1])) if trajectories is None else _paths(trajectories, found)
    cloud = paths.reshape(-1, paths.shape[-1]) if paths.size else found.points
    if not len(cloud):
        raise InputError("found", "no points", "at least one, or trajectories")
    colours = replace(look_of(ax, dark), title="Fixed points" if title is None else title)
    depth = 3 if getattr(ax, "name", "") == "3d" else 2
    middle, axes, shares = components(cloud, depth)
    groups = _groups(found, colours.roomy)
    if ax is not None:
        arrange(ax)
    labels = [f"component {i + 1} ({percentage(share)})" for i, share in enumerate(shares)]
    ax = prepare(ax, colours, labels[0], labels[1])
    drawn: Any = ax
    if depth == 3:
        drawn.set_zlabel(labels[2], color=colours.text)
        drawn.tick_params(axis="z", colors=colours.text)
    for path in np.moveaxis(paths[:, :MOST_LINES], 1, 0):
        drawn.plot(
            *((path - middle) @ axes.T).T,
            color=colours.soft,
            linewidth=0.6 * colours.line,
            alpha=0.5,
            zorder=1,
            gid="path",
        )
    flat = (found.points - middle) @ axes.T
    reach = 0.06 * float(np.ptp(np.concatenate([(cloud - middle) @ axes.T, flat]), axis=0).max())
    for label, mark, chosen, dimension in groups:
        _directions(drawn, found, chosen & (dimension > 0), flat, axes, reach, colours)
        style = _mark_style(mark, dimension, colours)
        drawn.plot(*flat[chosen].T, linestyle="none", label=f"{label} ({int(chosen.sum())})", gid=label, **style)
    place = "upper left" if depth == 3 and legend is True else legend  # above a cube there is no room
    return finish(ax, replace(colours, legend=place))


def _paths(trajectories: State, found: FixedPoints) -> np.ndarray:
    """[T, B, N], all batch axes as one."""
    leaves, own = jax.tree.leaves(trajectories), jax.tree.leaves(found.states)
    if len(leaves) == len(own):  # the cell's own states, whose leaves may have several axes each
        flat = np.asarray(ravel_state(trajectories, np.ndim(leaves[0]) - np.ndim(own[0]) + 1))
    else:
        flat = np.asarray(ravel_state(trajectories))
    if flat.ndim < 2 or flat.shape[-1] != found.points.shape[1]:
        raise InputError("trajectories", f"states of shape {flat.shape}", f"[T, *B, N], N = {found.points.shape[1]}")
    return flat.reshape(len(flat), -1, flat.shape[-1])


def components(cloud: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean [N], the first principal axes [count, N], their shares of the variance [count]); zeros beyond N."""
    cloud = cloud.astype(np.float64)
    middle = cloud.mean(axis=0)
    values, vectors = np.linalg.eigh((cloud - middle).T @ (cloud - middle))
    values, vectors = np.maximum(values[::-1], 0), vectors.T[::-1]
    vectors = (
        vectors * np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])[:, None]
    )  # one of two signs
    axes, shares = np.zeros((count, len(middle))), np.zeros(count)
    few = min(count, len(middle))
    axes[:few], shares[:few] = vectors[:few], values[:few] / (values.sum() or 1.0)
    return middle, axes, shares


def _groups(found: FixedPoints, roomy: bool) -> list[tuple[str, str, np.ndarray, int]]:
    """(label, mark, which points, their unstable dimension), those that there are."""
    unstable, groups = found.unstable_dimension, []
    for dimension in np.unique(unstable[found.converged]):
        directions = f" direction{'' if dimension == 1 else 's'}" if roomy else ""  # a narrow legend hides less
        name = f"{dimension} unstable{directions}" if dimension else "stable"
        mark = MARKS[min(dimension, len(MARKS) - 1)]
        groups.append((name, mark, found.converged & (unstable == dimension), int(dimension)))
    if not found.converged.all():
        groups.append(("slow", "x", ~found.converged, -1))
    return groups


def _mark_style(mark: str, dimension: int, colours: Look) -> dict[str, Any]:
    if dimension < 0:
        return {"marker": mark, "color": colours.soft, "markersize": 5 * colours.mark, "zorder": 3}
    colour = colours.before if dimension == 0 else colours.after
    face = colour if dimension == 0 else colours.background
    return {
        "marker": mark,
        "color": colour,
        "markerfacecolor": face,
        "markersize": 6 * colours.mark,
        "zorder": 4 if dimension else 5,
    }


def _directions(
    ax: Any, found: FixedPoints, chosen: np.ndarray, flat: np.ndarray, axes: np.ndarray, reach: float, colours: Look
) -> None:
    """A line through each chosen point along the eigenvector of its largest eigenvalue, where that is real."""
    for i in np.flatnonzero(chosen):
        values, vectors = np.linalg.eig(found.jacobians[i].astype(np.float64))
        first = np.abs(values).argmax()
        if abs(np.imag(values[first])) > 1e-9 * abs(values[first]):
            continue
        along = reach * (np.real(vectors[:, first]) @ axes.T)
        ends = np.stack([flat[i] - along, flat[i] + along])
        ax.plot(*ends.T, color=colours.after, linewidth=1.2 * colours.line, zorder=2, gid="unstable direction")
