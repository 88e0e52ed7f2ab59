"""Networks side by side, on the same sequences and at the same lag: one table and one figure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jrnn.displays import card_by, plotted_by
from jrnn.flow.summary import FlowSummary, summarise
from jrnn.types import Array, InputError, Inputs, Params
from jrnn.wording import from_to, halving, nats, percentage, steps


class ComparisonRow(NamedTuple):
    """One network."""

    name: str
    verdict: str
    """The kind of its verdict: 'healthy', 'vanishing', ..."""
    arriving: float
    """The fraction of the gradient that arrives at the lag."""
    arriving_interval: tuple[float, float]
    reach: int
    """The largest lag at which 1 % arrives, in steps."""
    reach_is_bound: bool
    """Whether that is the longest lag there is, so that it may be longer."""
    growth: float
    """Nats per step at late lags."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found; it prints as its table."""

    summaries: dict[str, FlowSummary]
    """The `FlowSummary` of each network, by name, in the order given."""

    @property
    def lag(self) -> int:
        """The lag at which they are compared, in steps."""
        return next(iter(self.summaries.values())).lag

    @property
    def rows(self) -> tuple[ComparisonRow, ...]:
        """The table's numbers, a row a network."""
        judged = {name: flow.judgement for name, flow in self.summaries.items()}
        return tuple(
            ComparisonRow(name, v.kind, v.arriving, v.arriving_interval, v.reach, v.reach_is_bound, v.growth)
            for name, v in judged.items()
        )

    def cells(self) -> list[tuple[str, ...]]:
        """The table in words, the head first."""
        head = ("", f"arrives at lag {self.lag}", "interval", "1 % reaches", "growth per step", "so it", "verdict")
        rows = [
            (
                row.name,
                percentage(row.arriving),
                from_to(*row.arriving_interval),
                steps(row.reach, row.reach_is_bound),
                nats(row.growth),
                halving(row.growth),
                row.verdict,
            )
            for row in self.rows
        ]
        return [head, *rows]

    def __repr__(self) -> str:
        table = self.cells()
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        last = len(widths) - 1
        lines = []
        for cells in table:
            padded = [
                cell.ljust(width) if column in (0, last) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join(lines)

    plot = plotted_by("plot_lag_profile")
    _repr_html_ = card_by("comparison_card")


def compare(
    networks: Mapping[str, Any],
    xs: Inputs,
    loss: Callable[..., Array],
    *,
    lag: int,
    loss_params: Params = None,
    lengths: Any = None,
    max_outputs: int | None = None,
    why: bool = False,
) -> Comparison:
    """Measures how much of the gradient arrives `lag` steps back in several networks, on the same sequences.

        jrnn.compare({"elman": (cell, params), "lstm": (other, its_params)}, xs, loss, lag=30)

    It calls `jrnn.flow.summarise` on each: what arrives at a lag is the median over sequences of
    sum_t ||part(t, t - lag)|| / sum_t ||part(t, t)||. Each network is compiled once, some seconds.

    Args:
      networks: {name: (cell, params)}; {name: (cell, params, loss_params)} where each has a readout of its own; or
        what `jrnn.training.fit` and `load` return, with the head in it.
      xs: [T, S, F], as the cells take them.
      loss: `loss(unrolled) -> scalar`; `loss(loss_params, unrolled)` for networks that have loss_params.
      lag: the lag to compare at, 0..T-1.
      loss_params: those of the networks that bring none.
      lengths, max_outputs: as for `summarise`.
      why: whether to measure singular values over windows and Lyapunov exponents too (`comparison.summaries`), some
        seconds more each.
    Returns:
      A `Comparison`: `print` it, `.plot()` it, or take its `.rows` and `.summaries`.
    Raises:
      InputError: no networks, one that is no such tuple, or as `summarise`, with the network's name.
    """
    if not isinstance(networks, Mapping) or not networks:
        given = "an empty dict" if isinstance(networks, Mapping) else f"a {type(networks).__name__}"
        raise InputError("networks", given, "a dict {name: (cell, params)}")
    options = {"lengths": lengths, "lag": lag, "max_outputs": max_outputs, "why": why}
    summaries = {}
    for name, network in networks.items():
        cell, params, head = parts_of(str(name), network, loss_params)
        try:
            summaries[str(name)] = summarise(cell, params, xs, loss, loss_params=head, **options)
        except InputError as error:
            given, _, needed = str(error).removeprefix(f"{error.argument}: got ").partition("; need ")
            raise InputError(error.argument, f"{given} (network {str(name)!r})", needed) from error
    return Comparison(summaries)


def parts_of(name: str, network: Any, loss_params: Params) -> tuple[Any, Params, Params]:
    """(cell, params, loss_params) of what stands for a network."""
    if all(hasattr(network, each) for each in ("cell", "params", "loss_params")):
        head = network.loss_params
        return network.cell, network.params, loss_params if head is None else head
    if isinstance(network, tuple | list) and len(network) in (2, 3) and hasattr(network[0], "step"):
        return network[0], network[1], network[2] if len(network) == 3 else loss_params
    given = f"{name!r}: a {type(network).__name__}"
    if isinstance(network, tuple | list):
        given = f"{name!r}: a {type(network).__name__} of {len(network)}"
    raise InputError("networks", given, "(cell, params), (cell, params, loss_params), or what `fit` or `load` returns")
