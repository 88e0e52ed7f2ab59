"""What `jrnn diagnose` shows of one `Diagnosis`: the terminal table, the figures, the JSON file and the page."""

from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.lag_figure import plot_lag_profile
from jrnn.report.numbers import to_json
from jrnn.report.spectrum_figure import plot_singular_values
from jrnn.report.terminal import print_report
from jrnn.report.training_figures import plot_clipping, plot_training
from jrnn.report.writing import write_report

__all__ = [
    "Diagnosis",
    "Stage",
    "plot_clipping",
    "plot_lag_profile",
    "plot_singular_values",
    "plot_training",
    "print_report",
    "to_json",
    "write_report",
]
