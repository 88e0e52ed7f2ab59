"""The benchmarks measure what they say, and print no speed for a wrong answer. No test looks at a clock."""

import json
from functools import cache

import numpy as np
import pytest
import scipy.stats

from benchmarks import (
    bfloat16_gain,
    charts,
    contenders,
    lyapunov_cost,
    null_races,
    random_sizes,
    remat_memory,
    training_step,
)
from benchmarks.__main__ import main
from benchmarks.agreement import admitted, compare
from benchmarks.case_results import judge
from benchmarks.frameworks import build
from benchmarks.problem import GATES, Size, problem, step_flops
from benchmarks.processes import Worker, WorkerError
from benchmarks.summary import summary
from benchmarks.tables import number, table

pytestmark = pytest.mark.thorough

TINY = Size(steps=5, batch=2, features=3, hidden=4)


@cache
def answer(name, cell):
    return build(name, problem(cell, TINY)).results()


def turn(seconds, rate, compile_seconds=None, cores=2.0):
    """What one process measured in one round."""
    return {
        "seconds": {"forward": seconds, "step": seconds},
        "gemm_flops_per_second": [rate] * len(seconds),
        "compile_seconds": {"forward": compile_seconds, "step": compile_seconds},
        "cores": [cores] * len(seconds),
        "threads": 2,
        "device": "cpu",
        "step_bytes": None,
        "chosen": None,
    }


def rounds(names):
    return {name: [turn([0.5, 0.25, 1.0], 1e9, 2.0)] * 2 for name in names}


def judged(cell, given, answers):
    """One case from what was measured and answered."""
    others = {name: compare(answer, answers["jrnn"]) for name, answer in answers.items() if name != "jrnn"}
    return judge(cell, "tiny", TINY, given, others)


def report_of(case):
    return {"device": "cpu", "cases": [case], "summary": summary([case]), "absent": []}


@pytest.mark.parametrize("cell", GATES)
def test_jrnn_and_linen_give_the_same_outputs_and_gradients(cell):
    pytest.importorskip("flax")
    found = {name: answer(name, cell) for name in ("jrnn", "flax.linen")}
    assert set(found["jrnn"]) == set(found["flax.linen"]) == {"outputs", *problem(cell, TINY).weights}
    comparison = compare(found["flax.linen"], found["jrnn"])
    assert comparison.agrees and comparison.worst < 1e-5, comparison
    assert all(np.linalg.norm(value) > 0 for value in found["jrnn"].values())


@pytest.mark.parametrize("name", ["jrnn xla", "flax.nnx", "equinox", "haiku", "torch"])
def test_the_other_peers_agree_on_the_gru(name):
    contender = contenders.contenders(on_cpu=True)[name]
    if not contender.here:
        pytest.skip(f"{contender.package} is not installed")
    cell = contenders.own_cell(contender, "gru")
    own, other = answer("jrnn", cell), answer(name, cell)
    lacks = contenders.LACKS.get((name, "gru"), ())
    assert set(own) - set(other) == set(lacks)
    assert compare(other, own, lacks).agrees


@pytest.mark.parametrize("error", ["scaled", "one entry", "not finite", "left out", "transposed"])
def test_a_wrong_gradient_gets_no_ratio(error):
    found = {"jrnn": answer("jrnn", "gru")}
    found["right"] = dict(found["jrnn"])
    wrong = found["wrong"] = {name: value.copy() for name, value in found["jrnn"].items()}
    if error == "scaled":
        wrong["w_rec"] *= 1.001
    elif error == "one entry":
        wrong["w_in"][0, 0] += 0.01 * np.linalg.norm(wrong["w_in"])
    elif error == "not finite":
        wrong["bias"][0] = np.nan
    elif error == "left out":
        del wrong["bias"]
    else:
        wrong["outputs"] = wrong["outputs"].swapaxes(0, 1)
    case = judged("gru", rounds(found), found)
    assert set(case["contenders"]) == {"jrnn", "right"}
    report = report_of(case)
    assert len(training_step.disagreements(report)) == 1
    lines = training_step.show(report).splitlines()
    assert [line for line in lines if "wrong" in line] == [line for line in lines if line.startswith("DISAGREEMENT")]


def test_an_error_of_jrnn_itself_leaves_no_speed_at_all():
    found = {name: {"outputs": np.ones(3, np.float32)} for name in ("one", "other")}
    found["jrnn"] = {"outputs": np.full(3, 1.01, np.float32)}
    case = judged("gru", rounds(found), found)
    assert case["contenders"] == {} and len(case["disagreements"]) == 2
    assert admitted({}, "jrnn") == set()


@pytest.mark.parametrize("planted", [1.0, 1.01])
def test_the_command_fails_on_a_disagreement_and_writes_what_it_measured(planted, monkeypatch, tmp_path, capsys):
    found = {"jrnn": {"outputs": np.ones(3, np.float32)}, "peer": {"outputs": np.full(3, planted, np.float32)}}
    case = judged("gru", rounds(found), found)
    monkeypatch.setattr(training_step, "run", lambda quick, say, kept: report_of(case) | {"absent": ["torch"]})
    path = tmp_path / "report.json"
    assert main(["--quick", "--only", "training_step", "--out", str(path)]) == int(planted != 1)
    written = json.loads(path.read_text())
    assert {"cpu", "instructions", "cores", "versions", "date"} <= set(written["machine"])
    assert written["training_step"]["cases"] == [case] and path in tmp_path.iterdir()
    assert ("DISAGREEMENT" in capsys.readouterr().out) == (planted != 1)


def test_at_a_corner_of_relu_twice_what_a_rounding_does_is_no_disagreement():
    reference = {"w_rec": np.array([1.0, 2.0], np.float32)}
    far, farther = ({"w_rec": reference["w_rec"] * np.float32(1 + error)} for error in (3e-4, 5e-4))
    assert not compare(far, reference).agrees
    assert compare(far, reference, moved=[reference, {"w_rec": reference["w_rec"] * np.float32(1 + 2e-4)}]).agrees
    assert not compare(farther, reference, moved=[{"w_rec": reference["w_rec"] * np.float32(1 + 2e-4)}]).agrees
    assert not compare(far, reference, moved=[{"w_rec": reference["w_rec"] * np.float32("nan")}]).agrees
    given, moved, again = (problem("elman relu", TINY, moved=i) for i in range(3))
    np.testing.assert_allclose(moved.xs, given.xs, rtol=1.2e-7)
    assert np.all(moved.xs != given.xs) and np.any(moved.xs != again.xs)
    np.testing.assert_array_equal(moved.weights["w_in"], given.weights["w_in"])


def test_ratios_are_paired_by_round():
    found = {name: {"outputs": np.ones(3, np.float32)} for name in ("jrnn", "peer")}
    flops = step_flops("elman", TINY)

    given = {
        "jrnn": [turn([1.0], 2.0 * flops), turn([10.0], 0.2 * flops), turn([1.0], 1.0 * flops)],
        "peer": [turn([3.0], 4.0 * flops), turn([30.0], 0.4 * flops), turn([50.0], 1.0 * flops)],
    }
    case = judged("elman", given, found)
    assert case["contenders"]["peer"]["step"]["speed_of_jrnn"] == pytest.approx(3)
    assert case["contenders"]["jrnn"]["step"]["floor_ratio"] == pytest.approx(4)  # 1 * 2, 10 * 0.2, 1 * 1; twice


def test_other_programs_do_not_move_the_floor():
    found = {name: {"outputs": np.ones(3, np.float32)} for name in ("jrnn", "peer")}
    flops = step_flops("elman", TINY)
    slowed = turn([3.0, 4.5, 6.0], 0) | {"gemm_flops_per_second": [flops, 2 / 3 * flops, flops / 2]}  # up to twice
    given = {"jrnn": [slowed, slowed], "peer": [turn([9.0], 2.0 * flops), turn([9.0], flops)]}
    case = judged("elman", given, found)
    assert case["contenders"]["jrnn"]["step"]["floor_ratio"] == pytest.approx(6)  # the peer's GEMM is twice as fast
    assert case["contenders"]["peer"]["step"]["floor_ratio"] == pytest.approx(13.5)


def test_samples_and_rounds_in_which_threads_shared_a_core_do_not_count():
    found = {name: {"outputs": np.ones(3, np.float32)} for name in ("jrnn", "peer")}
    given = {
        "jrnn": [turn([1.0], 1e9), turn([1.0], 1e9, cores=1.0)],
        "peer": [turn([8.0, 2.0, 2.0, 9.0], 1e9) | {"cores": [1.0, 2.0, 1.7, 1.2]}, turn([9.0], 1e9)],
    }
    case = judged("elman", given, found)
    assert case["real_cores"] and case["rounds_counted"] == 1
    assert case["contenders"]["peer"]["step"]["speed_of_jrnn"] == 2
    shared = {name: [turns[0] | {"cores": [1.0] * len(turns[0]["cores"])}] for name, turns in given.items()}
    assert not judged("elman", shared, found)["real_cores"]


def test_flops_against_a_count_by_hand():
    for cell, size in (("elman", Size(7, 3, 5, 2)), ("lstm", TINY), ("gru", Size(1, 1, 1, 6))):
        (steps, batch, features, hidden), gates = size, GATES[cell]
        products = [
            (batch, features, gates * hidden),  # x W_in
            (batch, hidden, gates * hidden),  # h W_rec
            (batch, gates * hidden, hidden),  # dz W_rec^T
            (features, batch, gates * hidden),  # x^T dz
            (hidden, batch, gates * hidden),  # h^T dz
        ]
        count = sum(2 * m * k * n for m, k, n in products)
        assert step_flops(cell, size) == steps * count


def test_the_problem_is_the_same_in_every_process():
    one, other = problem("gru", TINY), problem("gru", TINY)
    np.testing.assert_array_equal(one.xs, other.xs)
    assert one.xs.dtype == one.cotangent.dtype == one.weights["w_rec"].dtype == np.float32
    assert not np.array_equal(one.xs, problem("gru", TINY, seed=1).xs)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_growth_exponent(power):
    lengths = [1000, 10_000, 100_000]
    assert remat_memory.exponent(lengths, [7.0 * length**power for length in lengths]) == pytest.approx(power)
    assert remat_memory.exponent([10, 100, 1000], [1, 10, 1000]) == pytest.approx(1.5)
    assert remat_memory.exponent([10], [3]) is None
    assert remat_memory.exponent([], []) is None


def test_resident_growth_below_the_pages_of_the_allocator_is_left_out_of_the_fit():
    sizes = [(10, 0), (100, remat_memory.VISIBLE), (10_000, 10 * remat_memory.VISIBLE)]
    points = [{"steps": steps, "temp_bytes": 8 * steps, "rss_growth_bytes": grown} for steps, grown in sizes]
    assert remat_memory.growth(points) == {"temp_exponent": pytest.approx(1), "rss_exponent": pytest.approx(0.5)}


def test_memory_of_one_gradient_is_measured():
    found = remat_memory.measure("elman", 64, None, repeats=1)
    assert found["temp_bytes"] > 64 * remat_memory.BATCH * remat_memory.HIDDEN * 4 and found["rss_growth_bytes"] >= 0
    curves = [{"cell": "elman", "remat": None, "points": [found], **remat_memory.growth([found])}]
    shown = remat_memory.show({"batch": 8, "features": 32, "hidden": 64, "curves": curves})
    assert "elman" in shown and "64" in shown


def test_tables_line_up():
    assert table(("a", "ms"), (("long name", "1.5"), ("b", "20"))).splitlines() == [
        "a          ms",
        "---------  ---",
        "long name  1.5",
        "b           20",
    ]
    assert [number(v) for v in (None, 0.0, 1.234567, 123.4, 123456.7, 1.5e-5)] == [
        "-",
        "0",
        "1.23",
        "123",
        "123457",
        "1.50e-05",
    ]


def test_spectra_are_compared_before_their_speed():
    answer = {
        "size": 6,
        "k": 6,
        "steps": 3,
        "dtype": "float64",
        "temp_bytes": dict.fromkeys(lyapunov_cost.NAMES, 2**20),
    }
    answer["exponents"] = {"jrnn": [0.1, -0.2], "numpy": [0.1, -0.2 + 1e-9], "jacfwd": [0.1, -0.2 + 1e-7]}
    answer["seconds"] = {"jrnn": [1.0, 2.0, 1.0], "numpy": [3.0, 6.0, 9.0], "jacfwd": [1.0, 1.0, 1.0]}
    case = lyapunov_cost.judge(answer)
    assert case["speed_of_jrnn"] == {"numpy": 3.0}
    assert "DISAGREEMENT N = 6, k = 6, float64: jacfwd by 1.0e-07" in lyapunov_cost.show({"gain": 2.0, "cases": [case]})
    answer["exponents"]["numpy"][0] = float("-inf")
    assert lyapunov_cost.judge(answer)["speed_of_jrnn"] == {}


def test_bfloat16_is_judged_by_round_and_by_its_gradients():
    def turn(time, chosen="native avx512_bf16", **more):
        return {"seconds": {"forward": [time], "step": [2 * time]}, "cores": [2.0], "chosen": chosen, **more}

    wide, narrow = [turn(3.0), turn(6.0), turn(1.4)], [turn(1.0, error=1e-3), turn(2.0, error=4e-3), turn(1.0, error=0)]
    case = {"cell": "lstm", "size": "L", **bfloat16_gain.judge({"float32": wide, "bfloat16": narrow}, aims=True)}
    assert case["gain"] == {"forward": 3.0, "step": 3.0} and case["missed"] == [] and case["error"] == 4e-3
    assert bfloat16_gain.disagreements({"cases": [case]}) == []
    slow = bfloat16_gain.judge({"float32": narrow, "bfloat16": narrow}, aims=True)
    assert slow["missed"] == ["forward", "step"] and "1 (1.5) !" in bfloat16_gain.show({"cases": [case | slow]})
    elsewhere = [turn(1.0, "native avx2", error=float("nan"))]
    other = bfloat16_gain.judge({"float32": [turn(1.0)], "bfloat16": elsewhere}, aims=True)
    assert other["target"] is None and other["missed"] == []
    assert bfloat16_gain.disagreements({"cases": [case | other]})  # nan is near nothing


def test_the_contenders_for_a_spectrum_agree():
    calls, memory = lyapunov_cost.built(6, 4, 5, "float64")
    found = {name: np.asarray(call()) for name, call in calls.items()}
    assert set(found) == set(lyapunov_cost.NAMES) and memory["jrnn"] > 0
    for exponents in found.values():
        np.testing.assert_allclose(exponents, found["jrnn"], atol=1e-12)


@pytest.mark.parametrize(
    "size, seconds, floor, missed",
    [
        ("M", 0.5, 1.0, []),  # twice as fast, at the floor
        ("M", 0.5, 1.4, ["floor"]),
        ("M", 0.6, 1.2, ["peer"]),
        ("M", 0.97, 1.1, []),  # near the floor no ratio is missed
        ("M", 0.97, 1.2, ["peer", "torch", "torch_best"]),
        ("S", 0.97, 2.0, []),
        ("S", 0.33, 3.1, ["floor"]),
        ("P", 0.5, 1.5, ["floor"]),
        ("tiny", 2.0, 9.0, []),
    ],
)
def test_targets_are_missed_where_there_was_more_to_gain(size, seconds, floor, missed):
    def timed(times):
        return {"seconds": times[0], "seconds_by_round": times, "floor_ratio": floor, "compile_seconds": 1.0}

    found = {"jrnn": timed([seconds, seconds]), "equinox": timed([1.0, 1.0]), "torch": timed([1.0, 1.0])}
    contenders = {name: {kind: times for kind in ("forward", "step")} for name, times in found.items()}
    case = {"cell": "lstm", "size": size, **TINY._asdict(), "real_cores": True, "contenders": contenders}
    forward, step = summary([case])
    assert step["missed"] == missed
    assert forward["missed"] == [name for name in missed if name != "floor"]
    elman = summary([case | {"cell": "elman"}])[1]
    assert ("floor" in elman["missed"]) == ("floor" in missed and size != "P")  # where memory binds more is allowed


def test_the_chart_has_every_ratio_and_is_pale_where_threads_shared_a_core():
    pytest.importorskip("matplotlib")
    reached = {"peer": 2.0, "torch_best": 0.5, "torch": None}
    row = {"cell": "gru", "kind": "step", **TINY._asdict(), "reached": reached}
    rows = [row | {"size": "S", "real_cores": True}, row | {"size": "L", "real_cores": False}]
    (panel,) = charts.bars(rows, "cpu").axes
    bars = [bar for container in panel.containers for bar in container]
    assert [bar.get_y() + bar.get_height() for bar in bars] == [2.0, 2.0, 0.5, 0.5]
    assert [bar.get_alpha() for bar in bars] == [1.0, 0.4, 1.0, 0.4]
    assert [text.get_text() for text in panel.texts] == ["2.0", "2.0", "0.5", "0.5"]
    assert [label.get_text().split() for label in panel.get_xticklabels()] == [
        [size, "5", "×", "2", "3", "→", "4"] for size in "SL"
    ]
    assert "pale" in panel.get_xlabel()


@pytest.mark.parametrize("count, total", [(0, 20), (1, 20), (46, 2000), (20, 20)])
def test_the_interval_of_a_share_is_that_of_the_binomial_tails(count, total):
    expected = scipy.stats.binomtest(count, total).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(null_races.interval(count, total), expected, atol=1e-9)


def test_recorded_curves_are_played_by_arm_and_seed():
    """A race of recorded runs in which no arm is better says nothing; where every run of one is, it says so."""
    rng = np.random.default_rng(0)
    losses, shares = np.linspace(0.7, 0.3, 19)[:, None] * np.exp(rng.normal(0, 0.05, (19, 40))), np.full((3, 2), 0.1)
    false = sum(null_races.recommends(rng, losses, shares, 3, 18, None) for _ in range(40))
    assert false <= 6

    class Better(null_races.Played):
        def submit(self, function, job):
            done = super().submit(function, job)
            if job.cures:
                done.result().losses.update({name: rows / 10 for name, rows in done.result().losses.items()})
            return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(null_races, "Played", Better)
        assert all(null_races.recommends(rng, losses, shares, 3, 18, target) for target in (None, 0.1))


def test_random_sizes_lie_within_their_bounds_and_are_the_same_each_time():
    found = random_sizes.draws(24)
    assert found == random_sizes.draws(24)
    assert len(set(found)) == 24
    for size in found:
        assert all(low <= value <= high for low, value, high in zip(random_sizes.LEAST, size, random_sizes.MOST))
        assert step_flops("lstm", size) <= 200e9
        assert random_sizes.step_bytes("lstm", size) <= 2e9
    steps = np.array([size.steps for size in random_sizes.draws(400)])  # log-uniform, but for what is drawn again
    assert np.median(np.log(steps)) == pytest.approx(np.log(10 * 2000) / 2, abs=0.5)


def test_the_interval_of_paired_ratios_is_students_in_the_logarithm():
    ratios = [1.1, 1.3, 1.2, 1.4]
    logs = np.log(ratios)
    wanted = scipy.stats.t.interval(0.95, 3, logs.mean(), scipy.stats.sem(logs))
    middle, low, high = random_sizes.interval(ratios)
    assert np.allclose([low, high], np.exp(wanted))
    assert middle == pytest.approx(scipy.stats.gmean(ratios))


def times_of(**by_round):
    return {
        name: {kind: {"seconds_by_round": times} for kind in ("forward", "step")} for name, times in by_round.items()
    }


def test_a_size_is_judged_against_every_peer():
    """The best peer has the least ratio by round; jrnn is ahead only where no peer's interval reaches 1."""
    found = times_of(jrnn=[1.0, 2.0, 3.0], haiku=[2.0, 4.2, 6.0], equinox=[2.2, 4.2, 6.9])
    judged = random_sizes.against(found, "step")
    assert judged["peer"] == "haiku"
    assert judged["ratios"] == [2.0, 2.1, 2.0]
    assert judged["ahead"]
    uncertain = times_of(jrnn=[1.0, 1.0, 1.0], haiku=[2.0, 2.1, 2.0], equinox=[1.1, 9.0, 1.1])
    assert not random_sizes.against(uncertain, "step")["ahead"]


def test_one_round_decides_nothing():
    judged = random_sizes.against(times_of(jrnn=[1.0], haiku=[2.0]), "step")
    assert (judged["ratio"], judged["low"], judged["high"], judged["ahead"]) == (2.0, None, None, False)
    json.loads(json.dumps(judged, allow_nan=False))


@pytest.mark.parametrize("decided", [True, False])
def test_the_table_and_the_figure_of_random_sizes(decided):
    judged = random_sizes.against(times_of(jrnn=[1.0, 2.0], haiku=[2.0, 4.2]), "step")
    size = {"steps": 5, "batch": 2, "features": 3, "hidden": 4}
    case = {"cell": "lstm", "size": "0", **size, "flops": {"step": 1e9, "forward": 1e9}, "decided": decided}
    case |= {"contenders": {"jrnn": {kind: {"floor_ratio": 1.5} for kind in ("step", "forward")}}, "disagreements": []}
    case |= {"against": {"step": judged, "forward": judged}}
    text = random_sizes.show({"cases": [case], "absent": ["equinox"]})
    assert ("ahead of every peer in 1 of 1 draws, in the median 2.05" in text) == decided
    assert ("lstm 5 x 2 x 3, 4 ?" in text) != decided
    assert "Not installed, left out: equinox" in text
    figure = random_sizes.draw({"cases": [case], "device": "cpu"})["random"]
    for ax in figure.axes:
        points = [x for line in ax.lines for x in np.atleast_1d(line.get_xdata()) if len(line.get_xdata()) == 1]
        assert np.allclose(points, judged["ratio"])


def test_a_worker_keeps_what_it_has_built(tmp_path):
    contender = contenders.JAX["jrnn"]
    with Worker() as worker:
        for i, cell in enumerate(("lstm", "lstm", "gru")):
            save = str(tmp_path / f"{i}.npz")
            found = worker.ask(training_step.job(contender, cell, TINY, 1, save))
            assert len(found["seconds"]["step"]) == 1
            assert found["step_bytes"] is None or i == 0  # the memory of the first training step
            gradients = dict(np.load(save))
            wanted = answer("jrnn", cell)
            assert set(gradients) == set(wanted)
            for name in wanted:
                np.testing.assert_allclose(gradients[name], wanted[name], rtol=1e-5, atol=1e-7)


def test_a_workers_failure_is_told():
    with Worker() as worker:
        with pytest.raises(WorkerError, match="KeyError: 'nothing'"):
            worker.ask({"job": "nothing"})
        with pytest.raises(WorkerError, match="KeyError: 'nothing'"):  # it has ended
            worker.ask({"job": "device"})
