"""What `fit` returns: of one run, or of an ensemble of seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jrnn.displays import card_by, plotted_by
from jrnn.training.telemetry.metrics import Row
from jrnn.types import InputError, Params
from jrnn.wording import brief, cell_title, number


class Fitted(NamedTuple):
    """What `fit` returns."""

    cell: Any
    """The cell that was trained: as given, or as the cures made it."""
    params: Params
    """Its parameters after the last step."""
    loss_params: Params
    """The objective's (head's) parameters."""
    opt_state: Any
    """The optimizer's state, a `SkipState` outermost; `jrnn.cures.clip_rate(opt_state)` is the share of clipped
    updates."""
    step: int
    """How many steps were done, over all resumed parts; the next batch would be that of this step."""
    history: dict[str, np.ndarray]
    """Metrics per step, each [step]: "step" from 0, loss, accuracy for classes, grad_norm (before clipping),
    clip_factor, clipped and skipped (0 or 1), the penalties by name, and what else the objective returned. With
    `flow_every` also delta_early, delta_late, delta_growth and delta_reach (`delta_metrics`; of the objective alone),
    and tangent_growth (`tangent_growth`), NaN at the steps that did not measure them. Resumed runs have the earlier
    ones too."""
    objective: Any
    """The objective, as given."""
    interrupted: bool
    """Whether Ctrl-C ended the run before `steps`."""
    out: Path | None
    """The run's folder; of an ensemble the folder of its members' folders."""
    seeds: tuple[int, ...] | None = None
    """Those of an ensemble, `fit(seed=[...])`; None for a single run. Every leaf of params, loss_params and opt_state
    then has the members first, [S, ...], and so has every metric of the history but "step": [S, step]. `jax.vmap` over
    params runs an instrument on all members at once."""

    def member(self, index: int) -> "Fitted":
        """One member of an ensemble as a run of its own, whose folder is out/seed-<seed>.

        Raises:
          InputError: this is no ensemble, or has no such member.
        """
        if self.seeds is None or not -len(self.seeds) <= index < len(self.seeds):
            given = "a single run" if self.seeds is None else f"{index} of {len(self.seeds)} members"
            raise InputError("member", given, "the index of a member of an ensemble, fit(seed=[...])")
        trees = jax.tree.map(lambda leaf: leaf[index], (self.params, self.loss_params, self.opt_state))
        history = {name: values if name == "step" else values[index] for name, values in self.history.items()}
        out = None if self.out is None else member_folder(self.out, self.seeds[index])
        params, loss_params, opt_state = trees
        return self._replace(
            params=params, loss_params=loss_params, opt_state=opt_state, history=history, out=out, seeds=None
        )

    def __repr__(self) -> str:
        loss = np.asarray(self.history.get("loss", np.zeros(0)))
        last = loss[..., -1] if loss.size else np.zeros(0)
        told = f"last loss {number(np.median(last))}" if last.size else ""
        if self.seeds is not None and last.size:
            told += f" ({number(np.min(last))} to {number(np.max(last))})"
        steps = f"{self.step:,} updates{', interrupted' if self.interrupted else ''}"
        members = "" if self.seeds is None else f"{len(self.seeds)} seed{'' if len(self.seeds) == 1 else 's'}"
        return brief(self, cell_title(self.cell), members, steps, told, f"in {self.out}" if self.out else "")

    plot = plotted_by("plot_training")
    _repr_html_ = card_by("fitted_card")


def member_folder(out: Path, seed: int) -> Path:
    """The folder of one member of an ensemble."""
    return out / f"seed-{seed}"


def columns(history: list[Row]) -> dict[str, np.ndarray]:
    """Rows as one array a metric, NaN where a row does not have it."""
    names = dict.fromkeys(name for row in history for name in row)
    return {name: np.array([row.get(name, np.nan) for row in history]) for name in names}


def stacked_columns(histories: Sequence[list[Row]], steps: int) -> dict[str, np.ndarray]:
    """The histories of an ensemble as one array [S, steps] a metric, "step" [steps]; NaN once a member stands still."""
    names = dict.fromkeys(name for history in histories for row in history for name in row)
    table = {name: np.full((len(histories), steps), np.nan) for name in names}
    for member, history in enumerate(histories):
        places = [int(row["step"]) for row in history]  # a member that went on after a stop has a gap
        for name, values in columns(history).items():
            table[name][member, places] = values
    counts = ("clipped", "skipped")  # whole numbers, where no member stood still
    table |= {name: table[name].astype(int) for name in counts if name in table and np.isfinite(table[name]).all()}
    return table | ({"step": np.arange(steps)} if "step" in table else {})
