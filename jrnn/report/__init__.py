"""What `jrnn diagnose` shows of one `Diagnosis`: the terminal table, the figures, the JSON file and the page."""

from jrnn.report import figures
from jrnn.report.diagnosis import ClippingProof, Diagnosis, Stage
from jrnn.report.figures import *  # noqa: F403  # every plot_* function
from jrnn.report.json_export import to_json
from jrnn.report.terminal import print_report
from jrnn.report.writing import write_report

__all__ = ["ClippingProof", "Diagnosis", "Stage", "print_report", "to_json", "write_report"]
__all__ += figures.__all__
