"""What `jrnn diagnose` shows of one `Diagnosis`: the terminal table, the figures, the JSON file and the page."""

from jrnn.report.bands_figure import plot_window_bands
from jrnn.report.credit_figure import plot_credit_map
from jrnn.report.diagnosis import ClippingProof, Diagnosis, Stage
from jrnn.report.exponents_figure import plot_lyapunov
from jrnn.report.heard_figure import plot_gates, plot_heard_lags
from jrnn.report.lag_figure import plot_lag_profile
from jrnn.report.numbers import to_json
from jrnn.report.proof_figure import plot_clipping_proof
from jrnn.report.spectrum_figure import plot_singular_values
from jrnn.report.telemetry_figure import plot_flow_telemetry
from jrnn.report.terminal import print_report
from jrnn.report.training_figures import plot_clipping, plot_training
from jrnn.report.unrolled_figure import plot_unrolled
from jrnn.report.writing import write_report

__all__ = [
    "ClippingProof",
    "Diagnosis",
    "Stage",
    "plot_clipping",
    "plot_clipping_proof",
    "plot_credit_map",
    "plot_flow_telemetry",
    "plot_gates",
    "plot_heard_lags",
    "plot_lag_profile",
    "plot_lyapunov",
    "plot_singular_values",
    "plot_training",
    "plot_unrolled",
    "plot_window_bands",
    "print_report",
    "to_json",
    "write_report",
]
