"""Lags measured on sequences whose answer is known."""

import numpy as np
import pytest

from jrnn.data import load
from jrnn.data.characters import next_character
from jrnn.data.lags import information_lag, one_hot_symbols, period_lag, whole_sequence_lag
from jrnn.data.periods import autocorrelation, dominant_period
from jrnn.data.series import forecast_windows, window_length


def test_autocorrelation_matches_a_plain_loop():
    rng = np.random.default_rng(0)
    values, lengths = rng.normal(size=(4, 9)) + 2, [9, 5, 7, 2]
    valid = np.arange(9) < np.array(lengths)[:, None]
    mean = values[valid].mean()
    expected, pairs = [], []
    for lag in range(9):
        terms = []
        for case in range(4):
            for t in range(lag, lengths[case]):
                terms.append((values[case, t] - mean) * (values[case, t - lag] - mean))
        expected.append(np.mean(terms))
        pairs.append(len(terms))
    r, counted = autocorrelation(values, valid)
    np.testing.assert_allclose(r, np.array(expected) / expected[0], atol=1e-12)
    np.testing.assert_array_equal(counted, pairs)


@pytest.mark.parametrize("period", [3, 5, 12, 37])
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("trend", [0.0, 0.05])
def test_period_of_a_sine(period, noise, trend):
    time = np.arange(400)
    values = np.sin(2 * np.pi * time / period) + noise * np.random.default_rng(0).normal(size=400) + trend * time
    found = dominant_period(values[None, :, None])
    # Under noise the top of a slow cycle is flat, so its place is known to about a twentieth.
    assert abs(found - period) <= (period / 20 if noise else 0)


def test_sine_of_period_twelve_has_lag_twelve():
    values = np.sin(2 * np.pi * np.arange(300) / 12)[:, None]
    data = forecast_windows("sine", values, "made")
    assert data.lag == 12 and "12 steps" in data.lag_reason
    assert window_length(300, 12) == data.x.shape[1] == 48


@pytest.mark.parametrize("seed", range(5))
def test_no_period_falls_back_to_the_window(seed):
    noise = np.random.default_rng(seed).normal(size=(1, 300, 1))
    assert period_lag(noise, 30) == (
        29,
        "spectrum and autocorrelation show no clear period, so the whole window: T - 1",
    )
    assert period_lag(np.full((1, 300, 1), 0.1), 30)[0] == 29
    assert period_lag(np.full((7, 30, 1), 0.1), 30)[0] == 29
    assert period_lag(np.arange(300.0)[None, :, None] * 0.1, 30)[0] == 29


def test_long_period_is_cut_to_the_window():
    values = np.sin(2 * np.pi * np.arange(400) / 50)[None, :, None]
    assert period_lag(values, 20) == (19, "spectrum and autocorrelation agree on a period of 50 steps, cut to T - 1")
    # One whole period fits the window where four do not.
    assert 50 <= window_length(400, 50) - 1 and window_length(400, 50) <= 400 // 3
    assert forecast_windows("sine", values[0], "made").lag == 50


@pytest.mark.parametrize(("window", "warmup"), [(25, 12), (30, 15), (47, 23), (48, 24), (60, 24)])
def test_the_first_period_is_not_scored_or_half_a_window(tmp_path, window, warmup):
    values = np.sin(2 * np.pi * np.arange(400) / 24)
    (tmp_path / "a.csv").write_text("\n".join(["a", *map(str, values)]))
    data = load(tmp_path / "a.csv", history=window)
    assert data.warmup == warmup and data.lag == 24
    read = "a period" if window >= 48 else "half the window"
    assert f"scored from step {warmup} on, when {read} has been read" in data.source


def test_period_of_many_windows_and_the_longest_of_equally_typical_ones():
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (200, 1))
    time = np.arange(20)
    x = np.stack([np.sin(2 * np.pi * time / 12 + phase), np.sin(2 * np.pi * time / 5 + phase)], axis=-1)
    assert period_lag(x, 20)[0] == 12
    assert period_lag(x[:, :, 1:], 20)[0] == 5


def test_whole_sequence_lag():
    x = np.zeros((8, 10, 2))
    x[3, 4, 1] = 1
    assert whole_sequence_lag(x, None) == (
        5,
        "the answer comes at step 9 and inputs first vary between cases at step 4",
    )
    lengths = np.array([6, 7, 7, 8, 8, 8, 9, 10])
    assert whole_sequence_lag(x, lengths)[0] == int(np.median(lengths)) - 1 - 4
    assert whole_sequence_lag(np.ones((8, 10, 2)), None)[0] == 9
    late = np.zeros((8, 10, 1))
    late[0, 9] = 1
    assert whole_sequence_lag(late, None)[0] == 1
    assert whole_sequence_lag(np.zeros((3, 1, 1)), None)[0] == 0


def test_padding_does_not_count_as_variation():
    x = np.zeros((3, 6, 1))
    x[:, 2] = np.arange(3)[:, None]
    x[0, 1:] = 9
    assert whole_sequence_lag(x, np.array([1, 6, 6]))[0] == 3


@pytest.mark.parametrize("delay", [0, 1, 5, 19])
def test_information_lag_of_a_delayed_copy(delay):
    rng = np.random.default_rng(0)
    source = rng.integers(0, 6, (300, 20))
    target = np.where(np.arange(20) >= delay, np.roll(source, delay, axis=1), rng.integers(0, 6, (300, 20)))
    lag, reason = information_lag(source, target)
    assert lag == max(delay, 1) and f"floor is {delay} steps" in reason


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kinds", [2, 30])
def test_information_lag_of_unrelated_symbols(seed, kinds):
    rng = np.random.default_rng(seed)
    lag, reason = information_lag(rng.integers(0, kinds, (200, 15)), rng.integers(0, kinds, (200, 15)))
    assert lag == 14 and "stands out" in reason


def test_information_lag_ignores_padding():
    rng = np.random.default_rng(0)
    source = rng.integers(0, 4, (400, 20))
    target = np.roll(source, 3, axis=1)
    lengths = rng.integers(5, 13, 400)
    padding = np.arange(20) >= lengths[:, None]
    source[padding], target[padding] = 3, 3
    assert information_lag(source, target, lengths)[0] == 3


def test_one_hot_symbols():
    symbols = np.array([[0, 2, 1], [1, 1, 0]])
    x = np.eye(3)[symbols]
    np.testing.assert_array_equal(one_hot_symbols(x, None), symbols)
    x[1, 2] = 0
    assert one_hot_symbols(x, None) is None
    np.testing.assert_array_equal(one_hot_symbols(x, np.array([3, 2]))[0], symbols[0])
    assert one_hot_symbols(np.ones((2, 3, 1)), None) is None


def test_text_with_a_known_dependence():
    rng = np.random.default_rng(0)
    hidden = rng.integers(0, 2, 100_009)
    # Each character is made of two hidden draws nine steps apart, so only characters nine apart share one.
    codes = 2 * hidden[9:] + hidden[:-9]
    data = next_character("made", "".join("abcd"[code] for code in codes), "made")
    assert data.lag == 9
    alone = next_character("made", "".join(rng.choice(list("abcd"), 50_000)), "made")
    assert alone.lag == 1
