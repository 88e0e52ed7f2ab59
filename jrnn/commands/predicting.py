"""`jrnn predict`: what a saved network answers on new data, as a table in the user's unit."""

from __future__ import annotations

import csv
import io
import os
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jrnn.commands.continuing import DEFAULTS, continue_text, is_text
from jrnn.commands.folders import write_whole
from jrnn.commands.output import say
from jrnn.commands.over_seeds import say_member
from jrnn.data import Series
from jrnn.data.archives import inputs_of
from jrnn.data.columns import series_of
from jrnn.data.scaling import filled_forward
from jrnn.training import Forecast, load
from jrnn.types import InputError
from jrnn.wording import listed, percentage

SHOWN = 5  # rows in the terminal


def predict(args: Namespace) -> int:
    """`jrnn predict`: 0, and a .csv file."""
    if not os.path.isdir(args.model):
        raise InputError("--model", repr(args.model), "a folder of `jrnn train`")
    saved = load(args.model)
    known = {**saved.metadata.get("config", {}), **saved.metadata}
    saved = saved._replace(metadata=known)
    say_member(known, args.model)
    text = is_text(known) and Path(str(args.data)).suffix.lower() != ".npz"
    out = Path(("continuation.txt" if text else "forecast.csv") if args.out is None else args.out)
    source = Path(str(args.data or known.get("data", "")))
    if not source.is_file():
        needed = "a text to go on with" if text else "a .csv or .npz file with the columns of the model's data"
        raise InputError("--data", repr(str(source)), needed)
    if out.exists() and out.samefile(source):
        raise InputError("--out", f"{str(out)!r}, the file of --data", "another file, as the forecast would replace it")
    if text:
        continue_text(args, saved, source, out)
        return 0
    for name in DEFAULTS:
        if getattr(args, name) is not None:
            raise InputError(f"--{name}", getattr(args, name), "a model that was trained on a text")
    if "series" in known:
        rows, about = after_the_last_row(args, saved, source)
    elif source.suffix.lower() == ".npz":
        rows, about = of_each_sequence(args, saved, source)
    else:
        raise InputError("--data", repr(str(source)), "a .npz file with x, as the model was trained on")
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    write_whole(out, file.getvalue())
    for row in rows[: SHOWN + 1]:
        say("  " + "  ".join(f"{cell:>12}" for cell in row))
    if len(rows) > SHOWN + 1:
        say("  ...")
    say(f"{about} Written: {out} ({len(rows) - 1:,} row{'s' * (len(rows) > 2)}).")
    return 0


def after_the_last_row(args: Namespace, saved: Any, source: Path) -> tuple[list[list[str]], str]:
    """The forecast of a series: a row for each step after the last one of the file."""
    series = Series.from_json(saved.metadata["series"])
    found = series_of(source, None, args.missing or series.missing, series)
    say(found.said)
    x = series.scaled(found.values)[-series.history :]
    rows = len(found.values)
    if series.period is not None and rows < series.period:
        say(f"The file has {rows} rows, fewer than a period of {series.period} steps: forecasts will be poor.")
    holes = found.filled | np.isnan(found.values)
    late = [trailing(holes[:, column]) for column in series.target_columns]
    if max(late) == rows:
        lacking = series.targets[late.index(rows)]
        raise InputError("--data", f"{source.name} without a value of {lacking!r}", "one known value of it at least")
    others = [name for name, hole in zip(series.inputs, holes[-1]) if hole and name not in series.targets]
    if others:
        say(f"The last row lacks {listed(others)}: the forecast is less sure than its interval says.")
    forecast = saved.predict(x, level=args.level, scaled=True, gap=late)
    steps = range(1, series.horizon + 1)
    when = [str(h) for h in steps] if found.rhythm is None else found.rhythm.following(series.horizon)
    start = filled_forward(found.values)[-1, series.target_columns] if series.change else 0.0
    ends = (None if array is None else array[-1] + start for array in forecast[:3])
    last = Forecast(*ends, args.level)  # type: ignore[arg-type]
    if last.low is not None and last.high is not None and ((last.values < last.low) | (last.values > last.high)).any():
        say("On held-out data the network was wrong to one side: a forecast lies outside its interval. Trust that.")
    lines = table("step" if found.rhythm is None else "time", when, last, series.targets)
    return lines, f"{listed(series.targets)} after the last row{bands(saved, args.level, max(late))}"


def trailing(missing: np.ndarray) -> int:
    """How many of the last values are missing."""
    return len(missing) if missing.all() else int(missing[::-1].argmin())


def of_each_sequence(args: Namespace, saved: Any, source: Path) -> tuple[list[list[str]], str]:
    """An answer for each sequence of a .npz file, and for each of its steps where the task has one for each."""
    x, lengths = inputs_of(source, saved.metadata.get("tokens"))
    forecast = saved.predict(x, lengths=lengths, level=args.level)
    values = forecast.values
    if saved.objective.labels:
        names = [f"label{k + 1}" for k in range(values.shape[-1])]
    elif saved.objective.classifies:
        best = values.argmax(axis=-1)[..., None]
        values = np.concatenate([best, np.take_along_axis(values, best, axis=-1)], axis=-1)
        names = ["class", "probability"]
    else:
        names = [f"y{k + 1}" if values.shape[-1] > 1 else "y" for k in range(values.shape[-1])]
    places = list(np.ndindex(values.shape[:-1]))
    if saved.objective.each and lengths is not None:
        places = [place for place in places if place[1] < lengths[place[0]]]
    columns = [None if a is None else np.stack([a[p] for p in places]) for a in (values, forecast.low, forecast.high)]
    rows = table("", map(str, range(len(places))), Forecast(*columns, args.level), names)  # type: ignore[arg-type]
    classes = saved.metadata.get("classes")
    if classes and saved.objective.classifies:
        rows[1:] = [[at, classes[int(row[0])], *row[1:]] for at, *row in rows[1:]]
    head = ["case", *["step"] * saved.objective.each]
    rows = [head + rows[0][1:], *([*map(str, place), *row[1:]] for place, row in zip(places, rows[1:]))]
    return rows, f"Answers to {len(x):,} sequences{bands(saved, args.level)}"


def table(first: str, when: Iterable[str], forecast: Forecast, names: Iterable[str]) -> list[list[str]]:
    """A head and a row for each [rows, K] value: what it is of, then value, low and high of each name."""
    ends = [(end, a) for end, a in (("", forecast.values), ("_low", forecast.low), ("_high", forecast.high))]
    ends = [(end, array) for end, array in ends if array is not None]
    head = [first, *(f"{name}{end}" for name in names for end, _ in ends)]
    body = np.stack([array for _, array in ends], axis=-1).reshape(len(forecast.values), -1)
    return [head, *([at, *(f"{value:.7g}" for value in row)] for at, row in zip(when, body, strict=True))]


def bands(saved: Any, level: float, gap: int = 0) -> str:
    """What the intervals are, in a sentence; `gap` values before the forecast are missing."""
    kept = saved.metadata.get("intervals")
    if not kept:
        return "."
    several = ", where windows overlap and most steps count several times" if "series" in saved.metadata else ""
    after = f", and are wider as the last {f'{gap:,} values are' if gap > 1 else 'value is'} missing" if gap else ""
    return (
        f"; low and high hold {percentage(level)} of the {kept['residuals']:,} errors on held-out data{several}, "
        f"in each column and step ahead by itself{after}."
    )
