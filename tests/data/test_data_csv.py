"""A user's .csv files: header, columns, windows, and every fault by its line and column."""

import numpy as np
import pytest

from jrnn.data import load
from jrnn.data.tables import read_table
from jrnn.types import InputError

ROWS = [f"{np.sin(2 * np.pi * step / 12):.6f},{step * step % 7}" for step in range(150)]


DAYS = "\n".join(["day,a", *(f"2020-01-{i:02},{i * i % 7}" for i in range(1, 31))])
ZONED = DAYS.replace(",", " 00:00+01:00,").replace("day 00:00+01:00", "day")


def written(folder, text, encoding="utf-8"):
    path = folder / "mine.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("header", ["", "level,count\n", '"a","b"\n', ",b\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_are_features_and_the_header_is_optional(tmp_path, header, end, encoding):
    path = written(tmp_path, header.replace("\n", end) + end.join(ROWS) + end + end, encoding)
    data = load(str(path))
    assert data.task == "regress_each" and data.outputs == 2 and data.name == "mine.csv"
    values = np.array([[float(cell) for cell in row.split(",")] for row in ROWS])
    steps = data.x.shape[1]
    seen = values[: len(data.train) + steps]
    np.testing.assert_allclose(data.x[0], ((values - seen.mean(0)) / seen.std(0))[:steps], atol=1e-5)
    np.testing.assert_array_equal(data.x[:, 1:], data.y[:, :-1])
    assert data.lag == 12


def test_a_constant_column_becomes_zero(tmp_path):
    data = load(written(tmp_path, "\n".join(f"{step % 5},0.1" for step in range(60))))
    assert np.abs(data.x[:, :, 1]).max() < 1e-6 and data.lag == 5


@pytest.mark.parametrize(("row", "what"), [("7", "column"), ("7,0.1", "target")])
def test_a_constant_table_is_refused(tmp_path, row, what):
    with pytest.raises(InputError, match="^--data: got mine.csv, with no column that varies; need at least one$"):
        load(written(tmp_path, "\n".join([row] * 60)))
    with pytest.raises(InputError, match=rf"no {what} that varies in its first \d+ steps, the training part"):
        load(written(tmp_path, "\n".join([row] * 59 + [row.replace("7", "8")])))


def test_one_column_and_the_shortest_series(tmp_path):
    data = load(written(tmp_path, "\n".join(str(step * step % 11) for step in range(20))))
    assert data.x.shape[1:] == (4, 1) and 1 <= data.lag <= 3
    with pytest.raises(InputError, match=r"--data: got mine.csv with 19 steps; need at least 20 steps"):
        load(written(tmp_path, "\n".join(str(step) for step in range(19))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--data: got mine.csv, which is empty; need rows of numbers"),
        ("\n\n \n", "--data: got mine.csv, which is empty"),
        ("a,b\n", "--data: got mine.csv with only 'a,b'; need rows of numbers below it"),
        ("a,b\n1,2\n3,x4\n", "--data: got the text 'x4' in line 3, column 2 of mine.csv; need numbers below"),
        ("a,b\n1,x\n2,y\n", "got column 2 ('b') of mine.csv, which is text throughout ('x' first)"),
        ("2020-01-01,5\n2,6\n", "got the text '2020-01-01' in line 1, column 1"),
        ("1_000,2\n", "got the text '1_000' in line 1, column 1"),
        ("1,2\n3\n", "--data: got mine.csv with 1 missing value (1 in column 2; the first in line 2, column 2); need"),
        ("a,b\n1,2,3\n", "with 3 cells in line 2; need 2"),
        ("1,2\n3,4,\n", "with 3 cells in line 2; need 2"),
        ("1,2\n\n3,4\n", "2 missing values (1 in column 1, 1 in column 2; the first in line 2, column 1)"),
        ("1\n\n3\n", "--data: got mine.csv with 1 missing value (1 in column 1; the first in line 2, column 1)"),
        ("1,2\n3, \n", "1 missing value (1 in column 2; the first in line 2, column 2); need a number in every cell"),
        ("a,b\n1,2\n3,NA\n?,nan\n", "with 2 missing values (2 in column 2 ('b'); the first in line 3, column 2)"),
        ("a\n1\n-inf\n", "got -inf in line 3, column 1"),
        ("1\n1e400\n", "got 1e400 in line 2, column 1"),
        ("1\n1e39\n", "got 1e39 in line 2, column 1"),
        ("\n1,2\n", "--data: got mine.csv, which cannot be read (No columns to parse from file)"),
        ("2020-01-01,1\nx,2\n", "got column 1 of mine.csv, which is text throughout ('2020-01-01' first)"),
        ("12:30,1\n12:45,2\n", "got column 1 of mine.csv, which is text throughout ('12:30' first)"),
        (
            DAYS.replace("2020-01-07", "2020-13-07"),
            "'2020-13-07' in line 8, column 1 of mine.csv, which holds dates; need a",
        ),
        (
            DAYS.replace("2020-01-07", "7"),
            "got '7' in line 8, column 1 of mine.csv, which holds dates; need a date such as",
        ),
        (DAYS.replace("2020-01-07", ""), "got line 8 of mine.csv, which has no time; need a time in every row"),
        (
            ZONED.replace("2020-01-07 00:00+01:00", "2020-01-07 00:00"),
            "'2020-01-07 00:00' in line 8, column 1 of mine.c",
        ),
        (
            "a;b\n1,5;2\n2.345,6;3\n",
            "column 1 of mine.csv, with commas and points in its numbers ('1,5' first); need one",
        ),
        ("a;b\n1,5;2\n2.5;3\n", "column 1 of mine.csv, with commas and points in its numbers ('1,5' first); need one"),
        (
            "day,a\n01/02/2020,1\n01/02/2020,2\n",
            "dates such as '01/02/2020' in column 1 of mine.csv, which may be day or month first",
        ),
    ],
)
def test_refusals(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, text))
    assert message in str(caught.value)


@pytest.mark.parametrize("sep", ["\t", ";"])
@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (["3,289", "987", "12,345"], None),
        (["3.289", "987", ""], None),
        (["3.289", "987", "1.234.567"], None),
        (["3,289", "987", "2,5"], 3.289),
        (["3.289", "987", "0.125"], 3.289),
        (["3.289", "9870", "1.125"], 3.289),
        (["3,289", "1,125", "9,870"], 3.289),
    ],
)
def test_marks_between_thousands_are_no_decimals(tmp_path, sep, cells, value):
    """987 beside 3,289 is no decimal of three digits; one cell that cannot be thousands tells that all are decimals."""
    path = written(tmp_path, "\n".join([f"a{sep}b", *(f"{cell}{sep}{i}" for i, cell in enumerate(cells))]))
    if value is None:
        with pytest.raises(InputError, match=r"column 1 of mine.csv, where the mark in '3[,.]289' may stand between"):
            read_table(path)
    else:
        assert read_table(path).values[0, 0] == value


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="--data: got mine.csv, which cannot be read"):
        load(written(tmp_path, "1\n2\n", "utf-16"))
    with pytest.raises(InputError, match="--data: got mine.csv, which cannot be read"):
        load(written(tmp_path, '1,2\n"3,4\n5,6\n'))


WAVE = [f"{np.sin(step / 3):.4f}" for step in range(60)]
TWO = [f"{np.sin(step / 3):.4f},{np.cos(step / 5):.4f}" for step in range(60)]
GAPS = np.cumsum(1 + (np.arange(60) % 7 == 0) * 2)


@pytest.mark.parametrize(
    ("header", "rows", "features", "said"),
    [
        ("", WAVE, 1, "Column 1 of mine.csv, one row a step (no header)."),
        ("level", WAVE, 1, "Column 1 ('level') of mine.csv, one row a step (line 1 is the header)."),
        ("a,b", TWO, 2, "The 2 columns 1 ('a'), 2 ('b') of mine.csv, one row a step (line 1 is the header)."),
        ("0,1", TWO, 2, "The 2 columns 1 ('0'), 2 ('1') of mine.csv, one row a step (line 1 is the header)."),
        ("0", WAVE, 1, "Column 1 ('0') of mine.csv, one row a step (line 1 is the header)."),
        ("2019,2020", TWO, 2, "The 2 columns 1 ('2019'), 2 ('2020') of mine.csv"),
        (",0,1", [f"{i},{row}" for i, row in enumerate(TWO)], 2, "; left out as counting rows or time: column 1)."),
        (",a", [f"{i},{row}" for i, row in enumerate(WAVE)], 1, "Column 2 ('a') of mine.csv"),
        (
            "",
            [f"{i},{row}" for i, row in enumerate(WAVE)],
            1,
            "(no header; left out as counting rows or time: column 1)",
        ),
        ("", [f"{row},{60 - i}" for i, row in enumerate(WAVE)], 1, "left out as counting rows or time: column 2)."),
        (
            "t,a",
            [f"{i / 10},{row}" for i, row in enumerate(WAVE)],
            1,
            "left out as counting rows or time: column 1 ('t')",
        ),
        ("year,a", [f"{1900 + i},{row}" for i, row in enumerate(WAVE)], 1, "column 1 ('year')"),
        ("", [f"{1_600_000_000 + 3600 * i},{row}" for i, row in enumerate(WAVE)], 1, "Times in column 1: 2020-09-13"),
        (
            "",
            [f"{(1_600_000_000 + 60 * i) * 10**9},{row}" for i, row in enumerate(WAVE)],
            1,
            "Times in column 1: 2020-09-13 12:26:40 to 2020-09-13 13:25:40, one row a minute.",
        ),
        ("Index,a", [f"{i},{row}" for i, row in zip(GAPS, WAVE)], 1, "rows or time: column 1 ('Index')"),
        ("Unnamed: 0,a", [f"{i},{row}" for i, row in zip(GAPS, WAVE)], 1, "column 1 ('Unnamed: 0')"),
        ("sales,a", [f"{i},{row}" for i, row in zip(GAPS, WAVE)], 2, "The 2 columns 1 ('sales'), 2 ('a')"),
        ("i,t,a", [f"{i},{60 * i},{row}" for i, row in enumerate(WAVE)], 1, "columns 1 ('i'), 2 ('t'))."),
        ("", [str(3 * i) for i in range(60)], 1, "Column 1 of mine.csv, one row a step (no header)."),
        ("", [f"{i * i % 30},{i * i % 120}" for i in range(60)], 2, "The 2 columns 1, 2 of mine.csv"),
        (
            ",".join("abcdefghi"),
            [",".join([row] * 9) for row in WAVE],
            9,
            "The 9 columns 1 ('a'), 2 ('b'), 3 ('c'), 4 ('d'), ..., 9 ('i') of mine.csv",
        ),
    ],
)
def test_what_was_understood_is_said(tmp_path, header, rows, features, said):
    data = load(written(tmp_path, "\n".join([header, *rows] if header else rows)))
    assert said in data.source and data.source.endswith(".") and data.outputs == features
    # Every row but those of a header is a step: the windows begin with the first and the last ends with the last.
    measured = np.array([float(row.split(",")[-1]) for row in rows])
    if "rows or time: column 2" not in said:
        last = data.y[data.test[-1], -1, -1] - data.x[0, 0, -1]
        spread = measured[: data.train[-1] + data.x.shape[1] + 1].std()
        np.testing.assert_allclose(last, (measured[-1] - measured[0]) / spread, rtol=0.2, atol=1e-4)


def test_columns_that_count_are_left_out_and_the_others_stay_the_same(tmp_path):
    alone = load(written(tmp_path, "\n".join(TWO)))
    counted = load(
        written(tmp_path, "\n".join(["index,a,b,time", *(f"{i},{row},{60 * i}" for i, row in enumerate(TWO))]))
    )
    np.testing.assert_array_equal(alone.x, counted.x)
    assert alone.lag == counted.lag


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n".join(f"{i},{i % 10}" for i in range(40)),
            "two columns of whole numbers ('0,0' first), which may be decimal",
        ),
        (
            "\n".join(f"{i},{i % 90 + 10}" for i in range(40)),
            "which may be decimal commas; need a point in decimals, or a",
        ),
        ("\n".join(f"-{i},{'125'[: i % 3 + 1]}" for i in range(40)), "which may be decimal commas"),
        ("\n".join(f"1,{i % 10}" for i in range(40)), "which may be decimal commas"),
        (
            "\n".join(["level", *(f"{i},{i % 10}" for i in range(40))]),
            "need 1 in every line, as in the first; a decimal com",
        ),
        (
            "\n".join(f'"{i},5"' for i in range(40)),
            "column 1 of mine.csv, which has decimal commas ('0,5' first); need a poi",
        ),
        (
            "\n".join(["a,b", *(f'1,"{i},5"' for i in range(40))]),
            "column 2 ('b') of mine.csv, which has decimal commas",
        ),
    ],
)
def test_decimal_commas_are_no_columns(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        load(written(tmp_path, text))
    assert message in str(caught.value)
