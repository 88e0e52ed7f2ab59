"""The meters of one probe: which figures of which recurrence, and what they come to."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.training.telemetry.probing.arrivals import (
    Arrivals,
    Asked,
    Followed,
    arrival_metrics,
    arrivals_of,
    no_arrivals,
)
from jrnn.training.telemetry.probing.edges import Edges, edge_metrics, no_edges
from jrnn.types import Array, InputError

MOST = 32  # recurrences in one loss


class Meter(NamedTuple):
    """The sums of one recurrence."""

    edges: Edges
    arrivals: Arrivals


class Meters:
    """A row of sums for each name; what is called or traced several times under one name adds up."""

    def __init__(self, asked: Asked, step: Array | None):
        self.asked, self.step = asked, step
        self.dtype = jnp.zeros(()).dtype
        self.names: list[str] = []
        self.rows: list[Meter] = []
        """The zeros that the loss closes over, while it is traced."""

    def zeros(self) -> list[Meter]:
        """For every recurrence that there may be."""
        return [Meter(no_edges(self.dtype), no_arrivals(self.asked, self.dtype))] * MOST

    def meter_of(self, name: str) -> Meter:
        """The zeros of this name."""
        if name not in self.names:
            if len(self.names) == MOST:
                raise InputError("loss_fn", f"more than {MOST} recurrences", f"{MOST} at most")
            self.names.append(name)
        return self.rows[self.names.index(name)]

    def only_edges(self, edges: Edges) -> Meter:
        """What a meter gains of a backward pass."""
        return Meter(edges, no_arrivals(self.asked, self.dtype))

    def sampled(self, step: Array | None, follow: Callable[[], tuple[Followed, tuple[Any, Any]]]) -> Meter:
        """What a meter gains of (a run, the gradients of its outputs and final state), every so many steps."""

        def measure() -> Arrivals:
            return arrivals_of(*follow(), self.asked, self.dtype)

        nothing = no_arrivals(self.asked, self.dtype)
        found = measure() if step is None else jax.lax.cond(step % self.asked.every == 0, measure, lambda: nothing)
        return Meter(no_edges(self.dtype), found)

    def metrics(self, found: list[Meter]) -> dict[str, Array]:
        """Scalars by name; of a single recurrence without its name in front."""
        metrics: dict[str, Array] = {}
        for name, own in zip(self.names, found, strict=False):
            of_one = edge_metrics(own.edges) | arrival_metrics(own.arrivals, self.asked)
            start = f"{name}/" if len(self.names) > 1 else ""
            metrics |= {f"{start}{key}": value for key, value in of_one.items()}
        return metrics
