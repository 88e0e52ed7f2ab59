"""How often the verdict on the same network turns round when only the data and the bootstrap are drawn anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.tables import table

UNITS, FEATURES, STEPS, LAG = 24, 4, 40, 30
NEAR = (0.3, 0.8, 1.0, 1.25, 3.0)
"""The true fraction that is judged, over the boundary."""
SEQUENCES = (2, 4, 8, 32, 128)
LOSSES = ("last", "every")
"""Of the last output alone, or of every step's."""
SETS = {"first": 1, "fresh": 100_001}
"""Where the seeds of each set of draws start. The level of intervals was chosen on the first, never on the fresh."""


@dataclass(frozen=True)
class Boundary:
    """One of the two fractions at which the verdict changes."""

    name: str
    fraction: float
    below: tuple[str, ...]
    above: tuple[str, ...]
    """The kinds of verdict on each side."""

    def side(self, kind: str) -> str:
        """Where a verdict of that kind stands; 'undecided' is one."""
        sides = {"below": self.below, "above": self.above, "undecided": ("undecided",)}
        return next((side for side, kinds in sides.items() if kind in kinds), "other")


BOUNDARIES = (
    Boundary("1 %", 0.01, ("vanishing", "both"), ("healthy",)),
    Boundary("100 times", 100.0, ("healthy",), ("exploding", "chaotic")),
)


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """For networks near each boundary, so many verdicts of each kind, over two sets of draws."""
    draws, rows = 10 if quick else 200, []
    for boundary in BOUNDARIES:
        for loss in LOSSES[:1] if quick else LOSSES:
            measure = Measure(boundary, loss)
            for target in (0.3, 3.0) if quick else NEAR:
                scale = measure.scale_for(target)
                truth = measure.truth(scale) / boundary.fraction
                for sequences in (8,) if quick else SEQUENCES:
                    say(f"verdict_stability {loss}, {target} x {boundary.name}, {sequences} sequences")
                    sides = {name: measure.sides(scale, sequences, draws, first) for name, first in SETS.items()}
                    row = {"boundary": boundary.name, "loss": loss, "truth": truth, "sequences": sequences}
                    rows.append(row | {"sides": sides, "opposite": {n: opposite(s, target) for n, s in sides.items()}})
    return {"lag": LAG, "draws": draws, "boundaries": [asdict(b) for b in BOUNDARIES], "rows": rows}


def opposite(sides: dict[str, int], target: float) -> int:
    """Verdicts decided against the truth; at the boundary itself, against the majority."""
    below, above = sides.get("below", 0), sides.get("above", 0)
    return min(below, above) if target == 1 else above if target < 1 else below


class Measure:
    """Elman networks that differ in the scale of their recurrent weights, judged at one boundary under one loss."""

    def __init__(self, boundary: Boundary, loss: str) -> None:
        import jax
        import jax.numpy as jnp

        import jrnn

        self.boundary = boundary
        cell = jrnn.elman(UNITS)
        base = cell.init(jax.random.key(0), FEATURES)
        error = (lambda u: jnp.sum(u.last)) if loss == "last" else (lambda u: jnp.sum(u.outputs))
        options = {"output_times": [STEPS] if loss == "last" else None, "lag_gradients": False, "max_pairs": 2**30}

        @jax.jit
        def flow_of(scale: Any, xs: Any) -> Any:
            params = base | {"w_rec": scale * base["w_rec"]}
            return jrnn.gradient_flow(cell, params, xs, error, **options)

        def arrival(scale: float, seed: int, sequences: int) -> Any:
            return flow_of(scale, jax.random.normal(jax.random.key(seed), (STEPS, sequences, FEATURES))).arrival()

        self.arrival = arrival

    def truth(self, scale: float) -> float:
        """What the boundary is about, of very many sequences: what arrives; for vanishing, the share judged."""
        from jrnn.flow.verdicts.decay import decay, judged_share

        arrival = self.arrival(scale, 10**6 + 1, 2048)
        arriving, split = arrival.typical(LAG), decay(arrival, LAG)
        if self.boundary.fraction > 1:
            return arriving
        return judged_share(arriving, *(arrival.typical(LAG, ratio) for ratio in (split.entry, split.of_entered)))

    def scale_for(self, target: float) -> float:
        """At which `target` times the boundary is reached."""
        low, high = 0.1, 8.0
        for _ in range(20):  # what arrives grows with the recurrent weights
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.truth(middle) < target * self.boundary.fraction else (low, middle)
        return low

    def sides(self, scale: float, sequences: int, draws: int, first: int) -> dict[str, int]:
        """{side of the boundary: verdicts}; the states of a tanh network stay bounded."""
        from jrnn.flow.verdicts.verdict import judge

        seeds = range(first, first + draws)
        kinds = [judge(self.arrival(scale, seed, sequences), LAG, True, seed=seed - 1).kind for seed in seeds]
        return dict(Counter(self.boundary.side(kind) for kind in kinds))


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""

    def counts(sides: dict[str, int]) -> str:
        shown = ("below", "undecided", "above", *(("other",) if "other" in sides else ()))
        return " / ".join(str(sides.get(side, 0)) for side in shown)

    rows = [
        (
            row["boundary"],
            row["loss"],
            f"{row['truth']:.2f}",
            str(row["sequences"]),
            *(counts(row["sides"][name]) for name in SETS),
            *(f"{100 * row['opposite'][name] / report['draws']:.1f} %" for name in SETS),
        )
        for row in report["rows"]
    ]
    head = ("boundary", "loss", "truth / boundary", "sequences", *SETS, *(f"opposite, {name}" for name in SETS))
    worst = max(100 * n / report["draws"] for row in report["rows"] for n in row["opposite"].values())
    return table(head, rows) + (
        f"\nElman, {UNITS} units, lag {report['lag']} of {STEPS} steps: below / undecided / above (/ other kinds),\nin "
        f"{report['draws']} draws of data and bootstrap; 'fresh' draws were never used to choose anything.\nOpposite: "
        f"decided against the truth (at the boundary itself: against the majority); at most {worst:.1f} %."
    )
