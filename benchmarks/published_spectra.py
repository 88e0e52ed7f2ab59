"""Random tanh networks as large as published ones: jrnn's spectrum beside the published figures and the theory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.tables import number, table

UNITS, LEADING, WARMUP, STEPS = 4096, 8, 200, 1500
QUICK_UNITS, QUICK_STEPS = 128, 200
PUBLISHED = {
    2.0: {"variance": 2.12530, "largest": 0.15425, "mean": -1.15055},
    3.0: {"variance": 6.31045, "largest": 0.30958, "mean": -2.27390},
}
"""{g: figures} of h_t = tanh(W h_{t-1}), W_ij ~ N(0, g^2 / N), N = 4096, one network each: the variance of W h, the
largest exponent and the mean of all (davidclark1/rnn-lyapunov, data/network/map_g{2,3}_delta1_N4096_seed0.json)."""
NEAR = 0.003
"""Nats per step by which the largest exponent of another network of that size may differ."""


def run(quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """One network for each gain."""
    units, steps = (QUICK_UNITS, QUICK_STEPS) if quick else (UNITS, STEPS)
    rows = []
    for gain in PUBLISHED:
        say(f"published_spectra g = {gain:g}, N = {units}")
        rows.append({"gain": gain} | measure(gain, units, steps))
    return {"units": units, "warmup": WARMUP, "steps": steps, "rows": rows}


def measure(gain: float, units: int, steps: int) -> dict[str, Any]:
    """The leading exponents by thin QR of pushed tangents, and what needs the states alone; float32."""
    import jax
    import jax.numpy as jnp

    import jrnn

    cell = jrnn.elman(units, w_rec=jrnn.initializers.gaussian(gain), dtype=jnp.float32)
    params = cell.init(jax.random.key(0), None)
    start = jrnn.ElmanState(jax.random.normal(jax.random.key(1), (units,), jnp.float32))
    options = dict(length=WARMUP + steps, initial_state=start)
    spectrum = jrnn.lyapunov_spectrum(cell, params, k=LEADING, warmup=WARMUP, **options)
    states = np.asarray(jrnn.unroll(cell, params, None, **options).outputs[WARMUP - 1 : -1])
    weights = np.asarray(params["w_rec"])
    fields = (states @ weights).astype(np.float64)
    log_slope = 2 * (np.log(2) - np.abs(fields) - np.log1p(np.exp(-2 * np.abs(fields))))  # ln sech^2: tanh rounds to 1
    theory = jrnn.flow.mean_field(gain)
    return {
        "exponents": np.asarray(spectrum.exponents, np.float64).tolist(),
        "standard_errors": np.asarray(spectrum.standard_errors, np.float64).tolist(),
        "variance": float(fields.var()),
        "mean": float(np.linalg.slogdet(weights.astype(np.float64))[1] / units + log_slope.mean()),
        "theory": {"variance": theory.q, "largest": theory.largest_exponent, "mean": theory.mean_exponent},
        "warnings": spectrum.warnings(),
    }


def show(report: dict[str, Any]) -> str:
    """The table and how to read it."""
    rows, lines = [], []
    for row in report["rows"]:
        published, theory = PUBLISHED[row["gain"]], row["theory"]
        found = {"variance": row["variance"], "largest": row["exponents"][0], "mean": row["mean"]}
        for name, words in (
            ("largest", "largest exponent"),
            ("mean", "mean exponent"),
            ("variance", "variance of W h"),
        ):
            figures = (found[name], published[name], theory[name])
            rows.append((f"{row['gain']:g}", words, *(number(value, 5) for value in figures)))
        off = found["largest"] - published["largest"]
        near = f", {'within' if abs(off) < NEAR else 'NOT within'} {NEAR}" if report["units"] == UNITS else ""
        lines.append(
            f"g = {row['gain']:g}: largest exponent {off:+.4f} from the published one{near}; its standard error in "
            f"time is {row['standard_errors'][0]:.4f}.\n  The leading {LEADING}: "
            + ", ".join(f"{value:.4f}" for value in row["exponents"])
        )
        lines += [f"  {warning}" for warning in row["warnings"]]
    return "\n".join(
        [
            table(("g", "", f"jrnn, N = {report['units']}", f"published, N = {UNITS}", "theory, N infinite"), rows),
            *lines,
            f"h_t = tanh(W h_t-1), W_ij ~ N(0, g^2 / N): one network each, {report['steps']} steps after "
            f"{report['warmup']}, float32.",
        ]
    )
