"""What a race found: a table, a recommendation with its evidence, and a recipe."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jrnn.displays import card_by, plotted_by
from jrnn.prescribing.data_lags import DataLags
from jrnn.prescribing.paired import Paired
from jrnn.types import Params
from jrnn.wording import brief, cell_title


class Row(NamedTuple):
    """One arm."""

    name: str
    """Its cures and its learning rate, relative to the user's."""
    cure: str
    """Its cures alone."""
    learning_rate: float
    arriving: float
    """The share of the gradient that arrives at the lag before training; NaN where it is not known."""
    updates: int
    """How far its longest run was trained; runs of the final end where all seeds of a group have solved the problem."""
    loss: float
    """The held-out loss at the end, the median over its seeds."""
    solved: int
    """Seeds that reached the target; 0 where there is none."""
    diverged: int
    """Seeds whose run diverged."""
    seeds: int
    milliseconds: float
    """Of one update of one seed, without compilation."""
    figure: float | None = None
    """Of a finalist, in the final: updates to the target, or the held-out loss, the median over seeds."""
    against: Paired | None = None
    """Of a finalist: its figure over that of the network as it is, seed by seed."""
    failed: str = ""
    """Why the arm could not be run, or not to the end; empty if it could. Its other numbers are of the runs before."""


class Best(NamedTuple):
    """The network of the recommended arm that did best on the cases of the choice."""

    cell: Any
    params: Params
    loss_params: Params
    seed: int
    updates: int
    """That it was trained for: a run that solves the problem ends there."""

    def __repr__(self) -> str:
        return brief(self, cell_title(self.cell), f"seed {self.seed}", f"{self.updates:,} updates")


@dataclass(frozen=True)
class Prescription:
    """What `prescribe` returns."""

    recommends: str | None
    """The cure, "learning_rate" where a rate alone did it, or None: keep yours."""
    sentence: str
    """The finding, with its numbers."""
    evidence: str
    """What supports it: the paired interval, the gradient before training, what one more seed would give."""
    recipe: str
    """Python that applies it; empty for "keep yours"."""
    table: tuple[Row, ...]
    """Finalists first, then the others as they left the race; those that failed last."""
    best: Best | None
    """None if the race was interrupted, or all runs of the arm diverged."""
    cures: tuple[Any, ...]
    """Those of the recommended arm."""
    learning_rate: float
    """That of the recommended arm."""
    lag: int
    updates: int
    """Of a run in the final: what the budget came to."""
    target: float | None
    floor: float | None
    """The plateau of a task with a known answer, or the loss of the best constant answer; None where not known."""
    floor_name: str
    """Which of the two."""
    prediction: tuple[float, float]
    """Where the recommended arm's figure with one more seed is expected, at 95 %; NaN where a run diverged or did not
    reach the target."""
    train: Any = field(repr=False)
    """What the arms were trained on: arrays, the cases first, or the function of the step."""
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(repr=False, default_factory=dict)
    """By arm: (updates [n], held-out losses [n, seeds]), of the final where it was in it."""
    interrupted: bool = False
    """Whether Ctrl-C ended the race; the table holds what was seen."""
    data_lags: DataLags | None = None
    """What the data alone say of the lag: whether shorter lags teach it. None where it is not known what is asked:
    beside `build`, with a loss of your own, with resets or masks."""

    def __repr__(self) -> str:
        does = self.recommends or "keep yours"
        return brief(self, does, f"{len(self.table)} arms", f"{self.updates:,} updates a run", f"lag {self.lag}")

    plot = plotted_by("plot_race")
    _repr_html_ = card_by("prescription_card")
