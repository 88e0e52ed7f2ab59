"""Tables as people have them: dates, gaps, missing values, several columns; against pandas and plain NumPy."""

import sys

import numpy as np
import pandas as pd
import pytest

from jrnn.data import Series, load
from jrnn.data.columns import series_of
from jrnn.data.splits import chronological_starts
from jrnn.types import InputError

HOURS = pd.date_range("2023-03-01", periods=240, freq="h")


@pytest.fixture
def electricity(tmp_path):
    """Hourly, with a calendar column, an exogenous one, three missing cells, and a gap of four hours."""
    rng, h = np.random.default_rng(0), np.arange(240)
    load_mw = 500 + 100 * np.sin(2 * np.pi * h / 24) + rng.normal(size=240).cumsum()
    table = pd.DataFrame({"time": HOURS, "hour": HOURS.hour, "load": load_mw, "temp": rng.normal(size=240)})
    table.loc[[5, 60, 230], "load"] = np.nan
    table = table.drop(index=range(100, 104))
    table.to_csv(tmp_path / "hours.csv", index=False)
    return tmp_path / "hours.csv", table.set_index("time").reindex(HOURS)


def test_missing_values_and_rows_are_refused_with_their_number(electricity):
    with pytest.raises(InputError) as caught:
        load(electricity[0])
    said = str(caught.value)
    assert "3 missing values (3 in column 3 ('load'); the first in line 7, column 3) and 4 missing rows" in said
    assert "(after 2023-03-05 03:00:00)" in said and "--missing interpolate" in said and "mask" in said


def test_interpolated_hours_are_those_of_pandas(electricity):
    path, table = electricity
    data = load(path, missing="interpolate")
    full = table.interpolate()
    assert data.series.inputs == ("hour", "load", "temp") and data.series.targets == ("load", "temp")
    seen = full[: data.train[-1] + data.x.shape[1] + 1]  # one window starts at each step
    scaled = ((full - seen.mean()) / seen.std(ddof=0)).to_numpy()
    np.testing.assert_allclose(data.x[0], scaled[: data.x.shape[1]], atol=1e-5)
    np.testing.assert_allclose(data.y[-1, -2], scaled[-2, 1:], atol=1e-5)
    for words in (
        "2023-03-01 to 2023-03-10 23:00:00, one row an hour; 4 missing rows",
        "Interpolated: 3 missing values",
        "Forecast: load, temp. Read and not forecast: 2 ('hour')",
        "First row: 2023-03-01, hour = 0, load = 5",
        "Spectrum and autocorrelation agree on a period of 24 steps",
        "At each step of windows of 48 steps, the next step is asked, scored from step 24 on",
    ):
        assert words in data.source, data.source
    assert data.lag == 24 and data.warmup == 24


def test_no_filled_value_is_scored_or_forecast_from(electricity):
    """A line to v_{t+1} tells it; a plain loop over the table says where y and persistence know nothing."""
    path, table = electricity
    data = load(path, missing="interpolate", target="load", horizon=2, history=30)
    train, test, boundary = chronological_starts(240, 30, 4000, 2)
    full = table.interpolate()
    mean, spread = full["load"][:boundary].mean(), full["load"][:boundary].std(ddof=0)
    gap, level = table.isna().any(axis=1).to_numpy(), ((table["load"] - mean) / spread).to_numpy()
    errors = []
    for case, start in enumerate([*train, *test]):
        for t in range(start, start + 30):
            wanted = np.full(2, np.nan) if gap[t] else level[t + 1 : t + 3]
            np.testing.assert_allclose(data.y[case, t - start], wanted, atol=1e-5)
            if case >= len(train) and t - start >= data.warmup:
                errors += [(value - level[t]) ** 2 for value in wanted]
    assert data.missing and 0 < np.isnan(errors).sum() < len(errors)
    name, _, error = data.naive[0]
    assert name == "persistence"
    np.testing.assert_allclose(error, np.nanmean(errors), rtol=1e-9)


def test_a_table_of_holes_cannot_be_interpolated(tmp_path):
    lines = [f"{v},{'' if i % 2 else v},{v if i % 2 else ''}" for i, v in enumerate(WAVE)]
    (tmp_path / "a.csv").write_text("\n".join(["a,b,c", *lines]))
    with pytest.raises(InputError, match="--missing: got interpolate, which fills a value at almost every step"):
        load(tmp_path / "a.csv", missing="interpolate")


def test_masked_values_are_marked_and_not_asked(electricity):
    path, table = electricity
    data = load(path, missing="mask", target="load", horizon=3, history=30)
    known = table.ffill()
    train, test, boundary = chronological_starts(240, 30, 4000, 3)
    assert max(train) + 30 + 3 == boundary == min(test) + 1 and max(test) + 29 + 3 == 239
    seen = table[:boundary]
    mean, spread = seen.mean(), seen.std(ddof=0)
    x = np.concatenate([((known - mean) / spread), table.isna()], axis=1)
    y = ((table["load"] - mean["load"]) / spread["load"]).to_numpy()
    for case, start in enumerate([*train, *test]):
        np.testing.assert_allclose(data.x[case], x[start : start + 30], atol=1e-5)
        for h in (1, 2, 3):
            np.testing.assert_allclose(data.y[case, :, h - 1], y[start + h : start + h + 30], atol=1e-5)
    assert data.missing and data.outputs == 3 and data.series.masked == ("hour", "load", "temp")
    # what JSON keeps scales new rows alike
    again = Series.from_json(data.series.as_json())
    assert again == data.series
    np.testing.assert_array_equal(again.scaled(table.to_numpy(float))[train[1] : train[1] + 30], data.x[1])


@pytest.mark.parametrize("horizon", [1, 30])
def test_naive_forecasts_are_shifts(electricity, horizon):
    """Persistence is the value `horizon` rows up, the seasonal naive that of the last whole day: pandas' `shift`."""
    path, table = electricity
    data = load(path, missing="mask", target="load", horizon=horizon, history=50)
    _, test, boundary = chronological_starts(240, 50, 4000, horizon)
    known = table["load"].ffill() / table["load"][:boundary].std(ddof=0)
    truth = known.where(table["load"].notna())
    errors = {"persistence": [], "seasonal naive": []}
    asked = (test[:, None] + np.arange(data.warmup, 50)).ravel()
    for h in range(1, horizon + 1):
        errors["persistence"].append((truth - known.shift(h)).to_numpy()[asked + h])
        errors["seasonal naive"].append((truth - known.shift(24 if h <= 24 else 48)).to_numpy()[asked + h])
    assert [name for name, _, _ in data.naive] == list(errors) and data.warmup == 24
    for name, _, error in data.naive:
        np.testing.assert_allclose(error, np.nanmean(np.square(errors[name])), rtol=1e-9)


WAVE = [round(float(np.sin(i / 3)), 4) for i in range(40)]


def rows(times, sep=",", head="when,a", cell=str):
    return "\n".join([head.replace(",", sep), *(f"{t}{sep}{cell(v)}" for t, v in zip(times, WAVE))])


def dated(start, freq, form):
    return pd.date_range(start, periods=40, freq=freq).strftime(form)


@pytest.mark.parametrize(
    ("text", "said", "following", "usual"),
    [
        (rows(dated("2020-01-01", "D", "%Y-%m-%d")), "one row a day", ["2020-02-10", "2020-02-11"], 7),
        (rows(dated("2020-01-01", "D", "%d.%m.%Y")), "day, month, year", ["2020-02-10", "2020-02-11"], 7),
        (rows(dated("2020-01-01", "D", "%m/%d/%Y")), "2020-01-01 to 2020-02-09", ["2020-02-10", "2020-02-11"], 7),
        (rows(dated("2020-01-01", "D", "%Y%m%d")), "2020-01-01 to 2020-02-09", ["2020-02-10", "2020-02-11"], 7),
        (rows(dated("2000-01-01", "MS", "%Y%m"), head="month,a"), "2000-01-01 to 2003-04-01, one row a month",
         ["2003-05-01", "2003-06-01"], 12),
        (rows(dated("2000-01-01", "h", "%Y/%m/%d %H:%M")), "2000-01-01 to 2000-01-02 15:00:00, one row an hour",
         ["2000-01-02 16:00:00", "2000-01-02 17:00:00"], 24),
        (rows(dated("2000-01-01", "MS", "%d/%m/%Y")), "day, month, year", ["2003-05-01", "2003-06-01"], 12),
        (rows(dated("2000-01-01", "MS", "%m/%d/%Y")), "one row a month", ["2003-05-01", "2003-06-01"], 12),
        (rows(dated("2020-01-31", "ME", "%d/%m/%Y"), ";", cell=lambda v: str(v).replace(".", ",")),
         "separated by semicolons; dates are read as day, month, year; decimal commas",
         ["2023-05-31", "2023-06-30"], 12),
        (rows(dated("2000-01-15", "6h", "%Y-%m-%d %H:%M")), "one row every 6 hours",
         ["2000-01-25 00:00:00", "2000-01-25 06:00:00"], 4),
        (rows(dated("2020-03-28", "h", "%Y-%m-%dT%H:%M:%S+01:00")), "times are in UTC",
         ["2020-03-29 15:00:00", "2020-03-29 16:00:00"], 24),
        (rows(dated("1980-03-31", "QE", "%Y-%m")), "one row a quarter", ["1990-03-01", "1990-06-01"], 4),
        (rows(dated("2020-01-01", "B", "%Y-%m-%d").delete(9).append(pd.Index(["2020-02-26"]))),
         "one row a weekday; 1 weekday without a row, taken for no step", ["2020-02-27", "2020-02-28"], 5),
        (rows(dated("2020-01-01 16:00", "B", "%Y-%m-%d %H:%M")), "one row a weekday",
         ["2020-02-26 16:00:00", "2020-02-27 16:00:00"], 5),
        (rows([1_600_000_000 + 15 * i for i in range(40)]), "one row every 15 seconds",
         ["2020-09-13 12:36:40", "2020-09-13 12:36:55"], None),
        (rows([f"{1_600_000_000_000 + 997 * i * i}" for i in range(40)]), "at irregular times", None, None),
        (rows(dated("2020-01-01", "D", "%Y-%m-%d")[::-1]), "rows were put in the order of time", None, 7),
        (rows([f"{d},{t}" for d, t in zip(dated("2006-12-16", "12h", "%d/%m/%Y"), ["00:00:00", "12:00"] * 20)],
              head="Date,Time,a"), "2006-12-16 to 2007-01-04 12:00:00, one row every 12 hours",
         ["2007-01-05 00:00:00", "2007-01-05 12:00:00"], 2),
        (rows([f"{d},{t}" for d, t in zip(dated("2006-12-16", "12h", "%m/%d/%y"), ["12:00 AM", "12:00 pm"] * 20)],
              head="Date,Time,a"), "2006-12-16 to 2007-01-04 12:00:00, one row every 12 hours",
         ["2007-01-05 00:00:00", "2007-01-05 12:00:00"], 2),
        (rows(dated("2020-01-28", "h", "%m/%d/%Y %I:%M %p")), "2020-01-28 to 2020-01-29 15:00:00, one row an hour",
         ["2020-01-29 16:00:00", "2020-01-29 17:00:00"], 24),
        (rows(dated("2020-01-28", "h", "%Y-%m-%d %I:%M:%S%p").str.replace(" 0", " ").str.lower()), "one row an hour",
         ["2020-01-29 16:00:00", "2020-01-29 17:00:00"], 24),
        (rows(dated("2020-01-28", "30min", "%d.%m.%y %H:%M")), "day, month, year",
         ["2020-01-28 20:00:00", "2020-01-28 20:30:00"], 48),
        (rows(dated("2020-01-28", "D", "%m/%d/%y")), "dates are read as month, day, year",
         ["2020-03-08", "2020-03-09"], 7),
        (rows(dated("1999-11-28", "D", "%y-%m-%d")), "dates are read as year, month, day",
         ["2000-01-07", "2000-01-08"], 7),
        (rows(dated("2020-01-28", "D", "%d-%b-%y")), "day, month, year", ["2020-03-08", "2020-03-09"], 7),
        (rows(dated("1999-01-01", "MS", "%d/%m/%y")), "1999-01-01 to 2002-04-01, one row a month",
         ["2002-05-01", "2002-06-01"], 12),
        *((rows([form.format(year=1998 + i // 4, part=i % 4 + 1) for i in range(40)]),
           "quarters are read as their first days", ["2008-01-01", "2008-04-01"], 4)
          for form in ("{year}Q{part}", "{year}-Q{part}", "{year} q{part}", "Q{part} {year}")),
        (rows([f"{1998 + i // 12}M{i % 12 + 1:02d}" for i in range(40)]), "1998-01-01 to 2001-04-01, one row a month",
         ["2001-05-01", "2001-06-01"], 12),
        *((rows(dated("2020-10-05", "W-MON", form)), "2020-10-05 to 2021-07-05, one row a week",
           ["2021-07-12", "2021-07-19"], 52) for form in ("%G-W%V", "%GW%V")),
        (rows(dated("2020-12-20", "D", "%G-W%V-%u")), "2020-12-20 to 2021-01-28, one row a day",
         ["2021-01-29", "2021-01-30"], 7),
    ],
)  # fmt: skip
def test_dates(tmp_path, text, said, following, usual):
    (tmp_path / "a.csv").write_text(text)
    found = series_of(tmp_path / "a.csv")
    assert "left out" not in found.said and said in found.said and found.names == found.targets == ["a"]
    forwards = WAVE[::-1] if "order of time" in said else WAVE
    np.testing.assert_allclose(found.values[:, 0], forwards)
    assert found.rhythm.usual == usual
    assert following is None or found.rhythm.following(2) == following


@pytest.mark.parametrize(
    ("first", "then", "slip", "said"),
    [
        ("2000-Q1", "2000-Q2", "2000-Q5", "'2000-Q5' in line 9, column 1 .*need a quarter that there is"),
        ("2000M01", "2000M02", "2000", "'2000' in line 9, column 1 .*need a month that there is"),
        ("2021-W51", "2021-W52", "2021-W53", "'2021-W53' in line 9, column 1 .*need a week that there is"),
        ("1/31/2020 1:30 PM", "1/31/2020 2:30 PM", "1/31/2020 13:30 PM", "13:30 PM' in line 9, .*hour from 1 to 12"),
        ("1/31/2020 1:30 PM", "1/31/2020 2:30 PM", "1/31/2020 13:30", "13:30' in line 9, .*hour from 1 to 12 with AM"),
        ("1/31/20", "2/28/20", "2/30/20", "'2/30/20' in line 9, .*need a date such as '1/31/20' in every row"),
        ("1/31/67", "2/28/67", "3/31/67", "'1/31/67' in line 2, .*need years of four digits"),
        (
            "01/02/03",
            "01/02/04",
            "01/02/05",
            "'01/02/03' in column 1 .*which may be day, month or year first; need dates as",
        ),
        ("Jan-20", "Feb-20", "Mar-20", r"text throughout \('Jan-20' first\); need .*dates as 2020-12-31"),
    ],
)
def test_dates_that_are_refused(tmp_path, first, then, slip, said):
    """Seven right cells and another one: the error names its line."""
    times = [first, *[then] * 6, slip, *[then] * 12]
    if first == "01/02/03":
        times = [f"01/02/{3 + i:02d}" for i in range(12)]
    (tmp_path / "a.csv").write_text(rows(times))
    with pytest.raises(InputError, match=f"^--data: got .*{said}"):
        series_of(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("head", "dated"), [("population,x", False), ("x_total,x", False), ("unix_time,x", True), ("Zeit,x", True)]
)
def test_large_numbers_are_unix_times_by_their_title_alone(tmp_path, head, dated):
    """A population of 1e8 and more rises in whole numbers as unix times do; what a model reads is no index."""
    count = [3 * 10**8 + 1000 * i + i * i for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join([head, *(f"{n},{v}" for n, v in zip(count, WAVE))]))
    found, title = series_of(tmp_path / "a.csv"), head.partition(",")[0]
    assert found.targets == (["x"] if dated else [title, "x"]) and (found.rhythm is not None) == dated
    data = load(tmp_path / "a.csv", target=title)
    again = series_of(tmp_path / "a.csv", like=data.series)
    assert again.rhythm is None and again.names == [title, "x"]
    np.testing.assert_array_equal(again.values[:, 0], count)


def test_a_constant_column_is_read_and_not_forecast(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(["a,b,c", *(f"{v},3.5,{2 * v}" for v in WAVE)]))
    found = series_of(tmp_path / "a.csv")
    assert found.names == ["a", "b", "c"] and found.targets == ["a", "c"]
    assert "Forecast: a, c. Read and not forecast: 2 ('b')" in found.said
    assert series_of(tmp_path / "a.csv", "b").targets == ["b"]


@pytest.mark.parametrize(("low", "told"), [(-9999, True), (-999.0, True), (-1.2, False), (-0.99, False)])
def test_a_code_for_a_missing_value_is_told(tmp_path, low, told):
    (tmp_path / "a.csv").write_text(
        "\n".join(["a,b", *(f"{v},{low if i in (3, 9) else v}" for i, v in enumerate(WAVE))])
    )
    words = f"{low:.0f} in 2 rows of column 2 ('b') is read as a value: leave the cell empty if none was measured."
    said = series_of(tmp_path / "a.csv").said
    assert ("is read as a value" in said) == told and (not told or words in said)


def test_new_rows_must_come_as_often_as_the_old(tmp_path):
    (tmp_path / "a.csv").write_text(rows(dated("2020-01-01", "D", "%Y-%m-%d")))
    data = load(tmp_path / "a.csv")
    assert data.series.every == "a day"
    (tmp_path / "a.csv").write_text(rows(dated("2020-01-01", "h", "%Y-%m-%d %H:%M")))
    with pytest.raises(InputError, match="--data: got a.csv with one row an hour; need one row a day, as in training"):
        load(tmp_path / "a.csv", like=data.series)
    with pytest.raises(InputError, match="--target: got 'when', which holds dates; need a column of numbers"):
        load(tmp_path / "a.csv", target="when")


def test_pandas_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "a.csv").write_text(rows(range(40)))
    with pytest.raises(
        InputError, match=r'package pandas: got not installed; need pip install "jrnn\[data\]" to read .csv'
    ):
        load(tmp_path / "a.csv")


def test_rows_of_the_same_time_are_averaged(tmp_path):
    times = list(dated("2020-10-25", "h", "%Y-%m-%d %H:%M"))
    times[20] = times[19]
    times[21:] = dated("2020-10-25 20:00", "h", "%Y-%m-%d %H:%M")[:19]
    (tmp_path / "a.csv").write_text(rows(times))
    found = series_of(tmp_path / "a.csv")
    assert "1 row with the time of another is averaged with it (first 2020-10-25 19:00:00)" in found.said
    expected = [*WAVE[:19], (WAVE[19] + WAVE[20]) / 2, *WAVE[21:]]
    np.testing.assert_allclose(found.values[:, 0], expected)


def test_only_measurements_are_targets(tmp_path):
    """A row number, a year, an empty column are left out; a month and a weekday are read; one named is forecast."""
    lines = [f"{i},{2000 + i // 12},{i % 12 + 1},{i % 7},,{v},{v * v}" for i, v in enumerate(WAVE)]
    (tmp_path / "c.csv").write_text(
        "\n".join(["when,meter,a", *(f"20200{101 + i},{10**8 + i * i},1.{i}" for i in range(28))])
    )
    assert series_of(tmp_path / "c.csv").names == series_of(tmp_path / "c.csv", "meter").names == ["meter", "a"]
    (tmp_path / "a.csv").write_text("\n".join(["id,year,month,day,note,a,b", *lines]))
    found = series_of(tmp_path / "a.csv")
    assert found.names == ["month", "day", "a", "b"] and found.targets == ["a", "b"] and found.rhythm is None
    assert "counting rows or time: columns 1 ('id'), 2 ('year'); left out as empty: column 5 ('note')" in found.said
    assert "counting the calendar: columns 3 ('month'), 4 ('day')" in found.said
    assert series_of(tmp_path / "a.csv", "year, b").targets == ["year", "b"]
    data = load(tmp_path / "a.csv", target="a")
    new = load(tmp_path / "a.csv", like=data.series)
    np.testing.assert_array_equal(new.x, data.x)
    (tmp_path / "b.csv").write_text("\n".join(["b,a,day,month", *(f"{v},{2 * v},1,1" for v in WAVE)]))
    new = load(tmp_path / "b.csv", like=data.series)
    twice = (2 * np.array(WAVE[: new.x.shape[1]]) - data.series.mean[2]) / data.series.spread[2]
    np.testing.assert_allclose(new.x[0, :, 2], twice, rtol=1e-5)
    (tmp_path / "b.csv").write_text(rows(range(40)))
    with pytest.raises(InputError, match="--data: got b.csv without the column 'month'; need all columns"):
        load(tmp_path / "b.csv", like=data.series)
