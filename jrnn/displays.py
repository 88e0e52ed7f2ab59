"""How a result shows itself: its `plot` method and, in a notebook, its card. Both are made in `jrnn.report`, which is
imported when one is asked for: the figures know the results, not the other way round."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plotted_by(figure: str) -> Callable[..., Axes]:
    """A result's `plot`, which is a function of `jrnn.report`."""

    def plot(
        self: Any,
        *,
        ax: Axes | None = None,
        title: str | None = None,
        legend: bool | str = True,
        dark: bool | None = None,
        **options: Any,
    ) -> Axes:
        from jrnn import report

        return getattr(report, figure)(self, ax=ax, title=title, legend=legend, dark=dark, **options)

    plot.__doc__ = f"""Draws it with matplotlib, as `jrnn.report.{figure}` says, where all options stand.

        Args:
          ax: matplotlib Axes to draw on; by default those of a new figure.
          title, legend: another title; whether there is a legend, or where.
          dark: jrnn's colours for a dark (True) or light (False) background; by default your rcParams are kept.
          options: what else that figure takes, such as `lag`.
        Returns:
          The Axes; `.figure` is the Figure.
        """
    return plot


def card_by(maker: str) -> Callable[[Any], str | None]:
    """A result's `_repr_html_`, which is a function of `jrnn.report.notebook`; None, so that the `repr` is shown, where
    there are no values, or no jinja2."""

    def html(self: Any) -> str | None:
        if find_spec("jinja2") is None:
            return None
        from jrnn.report import notebook

        return getattr(notebook, maker)(self)

    return html
