"""Standard input, output and error of a run, which goes on where a print fails."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from jrnn.report.plain import PLAIN

LONGEST = 1000  # characters of an error, all in one line


class Lasting(io.RawIOBase):
    """A stream that goes on when its reader has gone or its disk is full: what cannot be written is dropped."""

    def __init__(self, raw: Any):
        self.raw = raw

    def write(self, data: Any) -> int:
        try:
            return self.raw.write(data) or len(data)
        except OSError:
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.raw.fileno()

    def isatty(self) -> bool:
        return self.raw.isatty()


def open_console() -> None:
    """Makes standard output and error lasting, and closed streams (`>&-`) nowhere; what their encoding lacks is spelled
    in ASCII. Streams that a program has put in their place keep all but that."""
    for name in ("stdin", "stdout", "stderr"):  # a closed one's descriptor goes to the next file that is opened
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))
        elif name != "stdin" and isinstance(stream, io.TextIOWrapper):
            if stream is getattr(sys, f"__{name}__"):
                setattr(sys, name, lasting(stream))
            else:
                stream.reconfigure(errors=PLAIN)


def lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The stream, lasting."""
    stream.flush()
    buffer: Any = stream.buffer  # the raw stream itself under `python -u`
    buffered = io.BufferedWriter(Lasting(getattr(buffer, "raw", buffer)))
    lines, through = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(buffered, stream.encoding, PLAIN, line_buffering=lines, write_through=through)


def complain(program: str, message: str) -> None:
    """One line on standard error."""
    print(f"{program}: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """The text without line ends and control characters, which are spelled, and without the middle of what is long."""
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
