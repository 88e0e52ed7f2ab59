"""What jrnn shows: the figures, and of a whole `Diagnosis` the terminal table, the JSON file and the page.

    flow.plot()                                         # a figure of its own; in a notebook it stands under the cell
    fig, axes = plt.subplots(1, 2, figsize=(5, 2))
    jrnn.report.plot_lag_profile({"elman": a, "lstm": b}, ax=axes[0], lag=30)      # a FlowSummary or GradientFlow each

Every `plot_*` takes the results that hold its numbers, a dict {name: result} or a `Diagnosis`, and returns matplotlib's
Axes. Your rcParams count (sizes, fonts, colours, styles); `dark=` takes jrnn's own colours, which a report has. A
figure without a layout of your choice gets matplotlib's constrained one. To keep text as text in a file, so that it can
be edited and searched: `matplotlib.rcParams.update({"svg.fonttype": "none", "pdf.fonttype": 42})` before `savefig`.
"""

from jrnn.report import figures
from jrnn.report.diagnosis import ClippingProof, Diagnosis, OverSeeds, Stage
from jrnn.report.figures import *  # noqa: F403  # every plot_* function
from jrnn.report.json_export import to_json
from jrnn.report.json_import import read_history, read_report
from jrnn.report.terminal import print_report
from jrnn.report.writing import write_report

__all__ = ["ClippingProof", "Diagnosis", "OverSeeds", "Stage"]
__all__ += ["print_report", "read_history", "read_report", "to_json", "write_report"]
__all__ += figures.__all__
