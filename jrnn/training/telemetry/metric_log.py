"""What a run says while it runs: metrics.jsonl, TensorBoard files, a progress bar."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jrnn.extras import require
from jrnn.training.storage.folders import storing
from jrnn.training.telemetry.board import Board
from jrnn.training.telemetry.metrics import METRICS, Row, as_line
from jrnn.wording import number, percentage, score


class MetricLog:
    """The hook that writes and shows rows of metrics; a context manager."""

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
                require(name)
        self.out, self.file, self.board = out, None, None
        if out is not None:
            with storing(out):
                # without a buffer: what a full disk did not take is not tried once more on closing
                self.file = open(out / METRICS, "ab", buffering=0)
                self.board = Board(out, start) if tensorboard else None
        self.bar = Bar(start, steps, history) if progress else None

    def __call__(self, rows: list[Row], carry: Any = None) -> None:
        """The hook: hands the rows to the file system; a killed process loses none of them."""
        if self.out is not None:
            with storing(self.out):
                self.append(rows)
                if self.board is not None:
                    self.board.write(rows)
        if self.bar is not None and rows:
            self.bar.advance(rows)

    def append(self, rows: list[Row]) -> None:
        """Rows as lines of metrics.jsonl."""
        rest = "".join(map(as_line, rows)).encode()
        while rest and self.file is not None:
            rest = rest[self.file.write(rest) :]

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(self, failed: type[BaseException] | None, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.file is not None:
            self.file.close()
        if self.out is not None and self.board is not None:
            with suppress(OSError) if failed else storing(self.out):  # what could not be written is tried once more
                self.board.close()


LINE_EVERY = 5.0  # seconds between lines


class Bar:
    """rich's progress bar with loss, accuracy, gradient norm (before clipping), clip rate (of the whole run) and steps
    per second; in 80 columns the bar itself gives way. Into a pipe or a file it writes a line every 5 seconds, with the
    time left."""

    def __init__(self, start: int, steps: int, history: Sequence[Row] = ()):
        rich = require("rich.progress")
        count = require("rich.table").Column(no_wrap=True, min_width=2 * len(str(steps)) + 1)
        columns = [
            rich.BarColumn(bar_width=12),
            rich.MofNCompleteColumn(table_column=count),
            rich.TextColumn("{task.fields[text]}"),
        ]
        self.progress = rich.Progress(*columns)
        text = "compiling" if start < steps else "nothing left to do"
        self.task = self.progress.add_task("training", total=steps, completed=start, text=text)
        self.steps, self.made, self.clipped = steps, 0, 0
        self.count(history)
        self.since = self.told = time.perf_counter()
        self.first: tuple[float, int] | None = None
        self.progress.start()

    def advance(self, rows: list[Row]) -> None:
        now, last = time.perf_counter(), rows[-1]
        speed, self.since = len(rows) / max(now - self.since, 1e-9), now
        self.count(rows)
        parts = [f"loss {number(last['loss'])}"]
        parts += [f"accuracy {score('accuracy', last['accuracy'])}"] if "accuracy" in last else []
        parts += [
            f"norm {number(last['grad_norm'])}",
            f"clipped {percentage(self.clipped / max(self.made, 1))}",
            f"{speed:.0f}/s",
        ]
        done = int(last["step"]) + 1
        self.progress.update(self.task, completed=done, text="  ".join(parts))
        if not self.progress.console.is_terminal and now - self.told >= LINE_EVERY:
            self.told = now
            self.progress.console.print(
                f"{done}/{self.steps}  {'  '.join([*parts, self.left(now, done)])}", soft_wrap=True
            )
        self.first = self.first or (now, done)

    def left(self, now: float, done: int) -> str:
        """The time that the rest takes at the speed since the first rows, which compiling delayed."""
        if self.first is None or done == self.first[1]:
            return "time left: not known yet"
        seconds = (self.steps - done) * (now - self.first[0]) / (done - self.first[1])
        return f"{seconds:.0f} s left" if seconds < 90 else f"{seconds / 60:.0f} min left"

    def count(self, rows: Sequence[Row]) -> None:
        """Adds to the clip rate."""
        self.made += sum(1 - int(row["skipped"]) for row in rows)
        self.clipped += sum(int(row["clipped"]) for row in rows)

    def close(self) -> None:
        self.progress.stop()
