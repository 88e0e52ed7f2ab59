"""Median and band over seeds, by NumPy's own percentiles."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from jrnn.report import plot_over_seeds, to_json
from jrnn.report.figures import figures_of
from jrnn.report.table import table_rows
from jrnn.training import Fitted
from jrnn.types import InputError
from tests.report import samples

rng = np.random.default_rng(0)


def ensemble(losses):
    history = {"step": np.arange(losses.shape[1]), "loss": losses}
    nothing = {name: None for name in Fitted._fields}
    return Fitted(**nothing | {"history": history, "seeds": tuple(range(len(losses)))})


def test_an_ensemble_and_rows_of_numbers():
    losses = np.exp(rng.normal(size=(5, 30)) * 2)
    losses[2, 20:] = np.nan  # a member that stood still
    ax = Figure().add_subplot()
    assert plot_over_seeds({"lstm": ensemble(losses), "gru": losses / 2}, ax=ax) is ax
    ax.figure.draw_without_rendering()
    (median,) = [line for line in ax.lines if line.get_gid() == "median lstm"]
    np.testing.assert_allclose(median.get_ydata()[:20], np.median(losses[:, :20], axis=0))
    np.testing.assert_allclose(median.get_ydata()[20:], np.median(np.delete(losses, 2, 0)[:, 20:], axis=0))
    (band,) = [each for each in ax.collections if each.get_gid() == "band gru"]
    ys = band.get_paths()[0].vertices[:, 1]
    assert ys.max() == pytest.approx(np.nanpercentile(losses / 2, 90, axis=0).max())
    assert ax.get_xlabel() == "update" and ax.get_ylabel() == "loss" and ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["lstm (5 seeds)", "gru (5 seeds)"]
    few = plot_over_seeds([[1.0, 2.0, np.inf], [2.0, 3.0, np.inf]], [0, 1, 2], title="", xlabel="i", dark=True)
    assert few.get_title() == "" and few.lines[0].get_ydata()[:2].tolist() == [1.5, 2.5]
    assert np.isnan(few.lines[0].get_ydata()[2]) and few.get_yscale() == "linear"
    with pytest.raises(InputError, match="^of: got 'accuracy'; need one of loss, step"):
        plot_over_seeds(ensemble(losses), of="accuracy")
    with pytest.raises(InputError, match="^values: got a single run"):
        plot_over_seeds(ensemble(losses)._replace(seeds=None))


def test_seeds_in_a_report():
    """The row of the table: median, least and most; the page's figure and its words; nothing without several seeds."""
    value = samples.diagnosis(over_seeds=samples.SEEDS)
    rows = {row.label: row.values for row in table_rows(value)}
    assert rows["loss over 3 seeds"] == ("", "0.7 (0.6 to 0.9)")
    assert rows["accuracy over 3 seeds"] == ("", "80.0 % (70.0 % to 90.0 %)")
    figure = next(each for each in figures_of(value) if each.name == "over_seeds")
    (band,) = [each for each in figure.plot(value).collections if each.get_gid() == "band"]
    low, high = np.percentile(samples.SEEDS.losses, (10, 90), axis=0)
    points = band.get_paths()[0].vertices
    np.testing.assert_allclose([points[:, 1].min(), points[:, 1].max()], [low.min(), high.max()])
    said = figure.caption(value)
    assert "from 3 seeds" in said.text and "seed 3" in said.text and "loss 0.7 (0.6 to 0.9)" in said.alternative
    assert to_json(value)["over_seeds"] == {"seeds": [3, 4, 5], "scores": list(samples.SEEDS.scores), "typical": 3}
    assert repr(samples.SEEDS) == "<OverSeeds: 3 seeds; loss 0.7 (0.6 to 0.9); accuracy 80.0 % (70.0 % to 90.0 %)>"
    alone = samples.diagnosis()
    assert to_json(alone)["over_seeds"] is None and "over_seeds" not in [each.name for each in figures_of(alone)]
