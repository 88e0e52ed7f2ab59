"""What the page shows where a reader points: the numbers that were measured, at the place where they are drawn."""

import json
import re
import shutil
import subprocess
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape

import matplotlib.style
import numpy as np
import pytest

from jrnn.report.figures import FIGURES, figures_of
from jrnn.report.figures.readout import MOST
from jrnn.report.page import Picture, html_page
from jrnn.report.writing import STYLE, _render
from jrnn.wording import percentage
from tests.report import results, samples

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
READ = {figure.name for figure in FIGURES} - {"unrolled", "credit_map"}


def figure(name):
    return next(each for each in FIGURES if each.name == name)


def read(value, name, laid_out=True):
    """What is read, without writing the pictures."""
    with matplotlib.style.context(STYLE):
        light = figure(name).plot(value, dark=False, display=False).figure
        if laid_out:
            light.draw_without_rendering()
        return figure(name).readout.panels(light)


def curve_in(svg, gid):
    """[n, 2]: the corners of a line in the SVG."""
    path = re.search(rf'<g id="{gid}">\s*<path d="([^"]*)"', svg.decode())[1]
    return np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", path), float)


def test_the_numbers_stand_where_the_curves_are():
    value = samples.gated()
    picture = _render(value, figure("lag_profile"))
    (panel,) = picture.panels
    assert panel["places"] == [f"lag {lag}" for lag in range(30)]
    assert [curve["name"] for curve in panel["curves"]] == ["before training", "after training"]
    for curve, stage in zip(panel["curves"], value.stages, strict=True):
        assert curve["says"] == [percentage(each) for each in stage.flow.arriving]
        drawn = curve_in(picture.light, f"arriving {stage.name}")
        np.testing.assert_allclose(np.column_stack([panel["at"], curve["y"]]), drawn, atol=0.06)
        assert re.fullmatch(r"var\(--[0-9a-f]{6}-[0-9a-f]{6}\)", curve["colour"])
    left, right, top, bottom = panel["box"]
    assert left == panel["at"][0] and right == panel["at"][-1] and top < min(panel["curves"][1]["y"]) < bottom


def test_axes_that_share_a_place_are_read_together_and_long_runs_in_part():
    updates = 3001
    columns = samples.history(updates)
    (panel,) = read(samples.diagnosis(history=columns), "training")
    assert len(panel["at"]) == MOST == len(panel["curves"][1]["y"])
    assert [curve["name"] for curve in panel["curves"]] == ["loss", "accuracy"]
    assert panel["places"][0] == "update 1" and panel["places"][-1] == "update 3,001"
    assert panel["curves"][1]["says"][MOST // 2] == "45.1 %"


def test_values_that_are_not_there_say_nothing():
    (panel,) = read(samples.broken(), "lag_profile")
    (curve,) = panel["curves"]
    assert curve["says"] == ["100 %", "100,000 times", "not finite", "not finite"] and curve["y"][3] is None
    before = read(samples.vanished(), "lag_profile")[0]["curves"][0]
    assert before["says"][-1] == "0 %" and before["y"][-1] is None  # below the edge of the axis
    assert read(samples.diagnosis(history={"loss": np.full(3, np.nan)}), "training") == []
    two = read(samples.diagnosis(), "clipping")[0]["curves"]
    assert [curve["name"] for curve in two] == ["not clipped", "clipped"]
    assert all((a is None) != (b is None) for a, b in zip(*(curve["says"] for curve in two), strict=True))


def test_a_page_runs_its_own_script_and_no_other():
    """The policy names it by its hash; names of a user's own cannot end the numbers."""
    bad = "</script><script>alert(1)</script>"
    value = samples.diagnosis(stages=(samples.Stage(bad, 0, {}, samples.flow(-0.2)),))
    picture = Picture(b"<svg/>", b"<svg/>", panels=read(value, "lag_profile"))
    html = html_page(value, {"lag_profile": picture, "unrolled": picture._replace(panels=())})
    assert html.count("</script>") == html.count("<script") == 2
    script = re.search(r"<script>(.*?)</script>", html, re.S)[1]
    (policy,) = re.findall(r"sha256-([\w+/=]+)", unescape(html.split("<style>")[0]))
    assert b64decode(policy) == sha256(script.encode()).digest()
    (panel,) = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])
    assert panel["curves"][0]["name"] == bad
    assert html.count('<div class="plot readable">') == html.count('<div class="plot">') == 1


@pytest.mark.thorough
def test_every_figure_with_curves_is_read():
    found = set()
    for value in (
        samples.gated(),
        samples.diagnosis(),
        samples.raced(),
        samples.diagnosis(history=results.history(), over_seeds=samples.SEEDS),
    ):
        for each in figures_of(value):
            if each.readout is not None and each.name not in found:
                panels = read(value, each.name, laid_out=False)
                assert panels and all(panel["curves"] for panel in panels), each.name
                json.dumps(panels, allow_nan=False)
                found.add(each.name)
    assert found == READ == {each.name for each in FIGURES if each.readout is not None}


POINTS = """
const plot = document.querySelector(".plot.readable"), svg = plot.querySelector("svg").getBoundingClientRect();
const put = (name, value) => document.body.setAttribute(name, value);
const at = {clientX: svg.left + AT_X * svg.width, clientY: svg.top + AT_Y * svg.height};
plot.dispatchEvent(new PointerEvent("pointermove", at));
put("data-pointed", plot.querySelector(".tip").innerText);
plot.dispatchEvent(new KeyboardEvent("keydown", {key: "End"}));
put("data-ended", plot.querySelector(".tip").innerText);
put("data-marks", plot.querySelectorAll(".pointer circle").length);
plot.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
put("data-hidden", plot.querySelector(".tip").innerText);
"""


@pytest.mark.thorough
@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium to run the page's script")
def test_a_browser_shows_the_numbers(tmp_path):
    """Under the page's own policy, which the test widens by its own script alone."""
    value = samples.gated()
    picture = _render(value, figure("lag_profile"))
    (panel,) = picture.panels
    width, height = (float(side) for side in re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture.light).groups())
    x, y = panel["at"][7] / width, (panel["box"][2] + 5) / height
    script = POINTS.replace("AT_X", f"{x}").replace("AT_Y", f"{y}")
    own = f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    html = html_page(value, {"lag_profile": picture}).replace("script-src ", f"script-src {own} ")
    (tmp_path / "page.html").write_text(html.replace("</body>", f"<script>{script}</script></body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    command = [BROWSER, *options, f"file://{tmp_path}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = dict(re.findall(r'data-(\w+)="([^"]*)"', re.search(r"<body[^>]*>", done.stdout)[0]))
    before, after = (stage.flow.arriving for stage in value.stages)
    for name, lag in (("pointed", 7), ("ended", 29)):
        said = [f"before training: {percentage(before[lag])}", f"after training: {percentage(after[lag])}"]
        assert found[name].split("\n") == [f"lag {lag}", *said]
    assert (found["marks"], found["hidden"]) == ("2", "")
    assert re.search(r'<p class="soft hint">', done.stdout)
