"""What a run says while it runs: metrics.jsonl, TensorBoard files, a progress bar."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jrnn.training.extras import extra

Row = dict[str, float | int]


class Telemetry:
    """Takes rows of metrics (plain numbers, one row a step) and passes them on; a context manager."""

    def __init__(
        self,
        out: Path | None,
        start: int,
        steps: int,
        *,
        progress: bool,
        tensorboard: bool,
        history: Sequence[Row] = (),
    ):
        for name, wanted in (("rich.progress", progress), ("tensorboardX", tensorboard)):
            if wanted:
                extra(name)
        self.file = None if out is None else open(out / "metrics.jsonl", "a", encoding="utf-8")
        self.board = extra("tensorboardX").SummaryWriter(str(out), purge_step=start) if tensorboard else None
        self.bar = Bar(start, steps, history) if progress else None

    def write(self, rows: Iterable[Row]) -> None:
        """Hands the rows to the file system: a killed process loses none of them."""
        rows = list(rows)
        if self.file is not None:
            self.file.writelines(
                json.dumps({k: encoded(v) for k, v in row.items()}, allow_nan=False) + "\n" for row in rows
            )
            self.file.flush()
        if self.board is not None:
            for row in rows:
                for name, value in row.items():
                    if name != "step":
                        self.board.add_scalar(name, value, int(row["step"]))
            self.board.flush()
        if self.bar is not None and rows:
            self.bar.advance(rows)

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(self, *error: object) -> None:
        for part in (self.file, self.board, self.bar):
            if part is not None:
                part.close()


class Bar:
    """rich's progress bar with loss, accuracy, gradient norm (before clipping), clip rate (of the whole run) and steps
    per second; in 80 columns the bar itself gives way."""

    def __init__(self, start: int, steps: int, history: Sequence[Row] = ()):
        rich = extra("rich.progress")
        count = extra("rich.table").Column(no_wrap=True, min_width=2 * len(str(steps)) + 1)
        columns = [
            rich.BarColumn(bar_width=12),
            rich.MofNCompleteColumn(table_column=count),
            rich.TextColumn("{task.fields[text]}"),
        ]
        self.progress = rich.Progress(*columns)
        text = "compiling" if start < steps else "nothing left to do"
        self.task = self.progress.add_task("training", total=steps, completed=start, text=text)
        self.made = self.clipped = 0
        self.count(history)
        self.since = time.perf_counter()
        self.progress.start()

    def advance(self, rows: list[Row]) -> None:
        now, last = time.perf_counter(), rows[-1]
        speed, self.since = len(rows) / max(now - self.since, 1e-9), now
        self.count(rows)
        parts = [f"loss {last['loss']:.3g}"]
        parts += [f"accuracy {last['accuracy']:.0%}"] if "accuracy" in last else []
        parts += [
            f"norm {last['grad_norm']:.2g}",
            f"clipped {self.clipped / max(self.made, 1):.0%}",
            f"{speed:.0f}/s",
        ]
        self.progress.update(self.task, completed=int(last["step"]) + 1, text="  ".join(parts))

    def count(self, rows: Sequence[Row]) -> None:
        """Adds to the clip rate."""
        self.made += sum(1 - int(row["skipped"]) for row in rows)
        self.clipped += sum(int(row["clipped"]) for row in rows)

    def close(self) -> None:
        self.progress.stop()


def cut_back(path: Path, step: int) -> list[Row]:
    """Leaves the rows before `step` in metrics.jsonl, atomically, and returns them; half-written lines go too."""
    rows, lines = [], []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = {name: decoded(value) for name, value in json.loads(line).items()}
        except (ValueError, AttributeError):
            continue
        if "step" in row and row["step"] < step:
            rows.append(row)
            lines.append(line + "\n")
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    fresh.write_text("".join(lines), encoding="utf-8")
    os.replace(fresh, path)
    return rows


def encoded(value: Any) -> Any:
    """A number as JSON can hold it: NaN and the infinities as the strings "nan", "inf" and "-inf"."""
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def decoded(value: Any) -> Any:
    """The number again."""
    return float(value) if value in ("nan", "inf", "-inf") else value
