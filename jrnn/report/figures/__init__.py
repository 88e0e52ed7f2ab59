"""The figures of the report, in the order of the page. A new one is a file of its own and an entry here."""

from jrnn.report.diagnosis import Diagnosis
from jrnn.report.figures import (
    clipping,
    clipping_proof,
    credit_map,
    data_lags,
    flow_telemetry,
    gates,
    lag_gradients,
    lag_profile,
    lyapunov,
    over_seeds,
    race,
    step_singular_values,
    training,
    unrolled,
    window_bands,
)
from jrnn.report.figures.base import Figure
from jrnn.report.figures.clipping import plot_clipping
from jrnn.report.figures.clipping_proof import plot_clipping_proof
from jrnn.report.figures.credit_map import plot_credit_map
from jrnn.report.figures.data_lags import plot_data_lags
from jrnn.report.figures.fixed_points import plot_fixed_points
from jrnn.report.figures.flow_telemetry import plot_flow_telemetry
from jrnn.report.figures.gates import plot_gates
from jrnn.report.figures.lag_gradients import plot_heard_lags
from jrnn.report.figures.lag_profile import plot_lag_profile
from jrnn.report.figures.lyapunov import plot_lyapunov
from jrnn.report.figures.over_seeds import plot_over_seeds
from jrnn.report.figures.race import plot_race
from jrnn.report.figures.step_singular_values import plot_singular_values
from jrnn.report.figures.training import plot_training
from jrnn.report.figures.unrolled import plot_unrolled
from jrnn.report.figures.window_bands import plot_window_bands

FIGURES: tuple[Figure, ...] = (
    race.FIGURE,
    data_lags.FIGURE,
    unrolled.FIGURE,
    lag_profile.FIGURE,
    credit_map.FIGURE,
    lag_gradients.FIGURE,
    gates.FIGURE,
    window_bands.FIGURE,
    step_singular_values.FIGURE,
    lyapunov.FIGURE,
    clipping.FIGURE,
    clipping_proof.FIGURE,
    flow_telemetry.FIGURE,
    training.FIGURE,
    over_seeds.FIGURE,
)

__all__ = [
    "plot_clipping",
    "plot_clipping_proof",
    "plot_credit_map",
    "plot_data_lags",
    "plot_fixed_points",
    "plot_flow_telemetry",
    "plot_gates",
    "plot_heard_lags",
    "plot_lag_profile",
    "plot_lyapunov",
    "plot_over_seeds",
    "plot_race",
    "plot_singular_values",
    "plot_training",
    "plot_unrolled",
    "plot_window_bands",
]


def figures_of(diagnosis: Diagnosis) -> tuple[Figure, ...]:
    """Those that the diagnosis holds the numbers for."""
    return tuple(figure for figure in FIGURES if figure.is_measured(diagnosis))
