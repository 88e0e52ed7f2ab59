"""How often the verdict on the same network turns round when only the data and the bootstrap are drawn anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.tables import table

UNITS, FEATURES, STEPS, LAG = 24, 4, 40, 30
NEAR = (0.3, 0.8, 1.0, 1.25, 3.0)
"""The true fraction that arrives, over the boundary of 1 %."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """For networks near the boundary between vanishing and healthy, so many verdicts of each kind."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import jrnn
    from jrnn.flow.judging import VANISHED, judge

    cell = jrnn.elman(UNITS)
    base = cell.init(jax.random.key(0), FEATURES)

    @jax.jit
    def flow_of(scale: Any, xs: Any) -> Any:
        params = base | {"w_rec": scale * base["w_rec"]}
        return jrnn.gradient_flow(
            cell, params, xs, lambda u: jnp.sum(u.last), output_times=[STEPS], lag_gradients=False
        )

    def data(draw: int, sequences: int) -> Any:
        return jax.random.normal(jax.random.key(1 + draw), (STEPS, sequences, FEATURES))

    def true_fraction(scale: float) -> float:
        return flow_of(scale, data(10**6, 2048)).arrival().typical(LAG)

    draws, report = 20 if quick else 200, []
    for target in NEAR[1:4:2] if quick else NEAR:
        low, high = 0.1, 4.0
        for _ in range(30):  # what arrives grows with the recurrent weights
            middle = (low * high) ** 0.5
            low, high = (middle, high) if true_fraction(middle) < target * VANISHED else (low, middle)
        for sequences in (8,) if quick else (8, 32, 128):
            say(f"verdict_stability {target} x 1 %, {sequences} sequences")
            kinds = Counter(
                judge(flow_of(low, data(draw, sequences)).arrival(), LAG, True, seed=draw).kind for draw in range(draws)
            )
            wrong = min(kinds["vanishing"], kinds["healthy"])
            if target != 1:
                wrong = kinds["healthy"] if target < 1 else kinds["vanishing"]
            truth = float(np.round(true_fraction(low) / VANISHED, 3))
            report.append(
                {"truth": truth, "sequences": sequences, "draws": draws, "kinds": dict(kinds), "opposite": wrong}
            )
    return {"lag": LAG, "rows": report}


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    kinds = ("vanishing", "undecided", "healthy")
    rows = [
        (
            f"{row['truth']:.2f} %",
            str(row["sequences"]),
            *(str(row["kinds"].get(kind, 0)) for kind in kinds),
            f"{100 * row['opposite'] / row['draws']:.1f} %",
        )
        for row in report["rows"]
    ]
    return table(("truly arrives", "sequences", *kinds, "opposite"), rows) + (
        f"\nElman, {UNITS} units, lag {report['lag']}: verdicts on one network over draws of data and bootstrap; the "
        "boundary lies at 1 %.\nOpposite: decided against the truth (at the boundary: against the majority)."
    )
