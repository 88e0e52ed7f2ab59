"""What surrounds a run changes nothing in it: encodings, terminals, closed streams, a full disk, a missing home."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

import jrnn
from jrnn import cli
from jrnn.cells import elman, gru, indrnn, lstm, stack
from jrnn.commands import memory, output, running
from jrnn.commands.console import LONGEST, Lasting, one_line
from jrnn.commands.threads import VARIABLES
from jrnn.cures import skip_nonfinite
from jrnn.report import print_report, write_report, writing
from jrnn.report.plain import PLAIN, plain
from jrnn.training import Objective
from jrnn.training.batches import source_of
from jrnn.training.fit_step import make_step
from jrnn.training.training_step import TrainingStep
from jrnn.training.weights import first_carry, initial_weights
from jrnn.types import InputError

from .report.samples import diagnosis

pytestmark = pytest.mark.thorough

EVERY_PROGRAM_IS_KEPT = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # for the next process of this file
NAME = "mé 中\nx.npz"  # a letter of Latin 1, one of no code page, a space and a line's end
GONE = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "PYTHONUTF8", "COLUMNS", "TERM")


def diagnose(folder, redirected="", without=(), out="ré sult", **environment):
    """`jrnn diagnose` in a shell; what it printed, once it went well."""
    x = np.random.default_rng(0).normal(size=(40, 8, 2)).astype(np.float32)
    np.savez(folder / NAME, x=x, y=(x[:, 0, 0] > 0).astype(int))
    kept = {name: value for name, value in os.environ.items() if name not in (*GONE, *without)}
    options = ["--data", NAME, "--hidden", "4", "--steps", "2", "--batch-size", "8", "--out", out]
    command = [sys.executable, "-m", "jrnn.cli", "diagnose", *options]
    shell = ["bash", "-c", f'set -o pipefail; "$@" {redirected}', "bash", *command]
    kept |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "COLUMNS": "80", **EVERY_PROGRAM_IS_KEPT, **environment}
    done = subprocess.run(shell, cwd=folder, capture_output=True, timeout=300, env=kept)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def written(out):
    """The names of all files, and the report's JSON."""
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert found.pop("command").startswith("jrnn diagnose --data 'mé 中\nx.npz'")
    assert "中" in (out / "report.html").read_text(encoding="utf-8")
    return sorted(path.name for path in out.iterdir()), found


def squeezed(text):
    """Without the progress bar's speed, and without what pads a spelling to the width of a column."""
    return re.sub(r" +", " ", re.sub(r"\d+/s", "", text))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """What is printed and written where all is well."""
    folder = tmp_path_factory.mktemp("usual")
    said = squeezed(diagnose(folder, PYTHONIOENCODING="utf-8").decode())
    assert "é 中\nx.npz" in said and "━" in said and "─" in said
    return said, written(folder / "ré sult")


def test_ascii(usual, tmp_path):
    """A locale of ASCII, an unknown terminal, no input, no stream for errors, no home: letters are shown in ASCII."""
    said = diagnose(tmp_path, "2>&- <&-", ("HOME",), "result", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    wanted = plain(usual[0].replace("ré sult", "result"), "ascii")
    assert wanted == squeezed(said.decode("ascii"))
    assert written(tmp_path / "result") == usual[1]


def test_code_page(usual, tmp_path):
    """cp1252, a dumb terminal, a home that is no folder."""
    said = diagnose(tmp_path, PYTHONIOENCODING="cp1252", HOME="/dev/null", TERM="dumb")
    assert squeezed(said.decode("cp1252")) == plain(usual[0], "cp1252")
    assert written(tmp_path / "ré sult") == usual[1]


@pytest.mark.parametrize("redirected", [">&- 2>/dev/full", "| head -n 1"])
def test_nobody_listens(usual, tmp_path, redirected):
    said = diagnose(tmp_path, redirected).decode()
    assert said == ("The arrays of mé 中\n" if "head" in redirected else "")
    assert written(tmp_path / "ré sult") == usual[1]


def test_a_narrow_terminal(usual, tmp_path):
    """Twenty columns: the same words, folded."""
    said = diagnose(tmp_path, COLUMNS="20", PYTHONIOENCODING="utf-8").decode()
    words = usual[0].split("After training: ")[1].split("\n\n")[0].split()
    found = said.split("After training:")[1].split()
    assert "".join(found).startswith("".join(words)[:200])
    assert written(tmp_path / "ré sult") == usual[1]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis", "utf-8", "utf-16"])
def test_a_report_prints_in_every_encoding(encoding):
    """Into a stream that refuses what its encoding lacks."""
    rich = pytest.importorskip("rich.console")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    print_report(diagnosis(), rich.Console(file=stream, width=100))
    stream.flush()
    said = stream.buffer.getvalue().decode(encoding)
    assert "before training" in said.lower() and "\\" not in said


def test_every_character_that_jrnn_prints_has_a_spelling():
    """No backslash in ASCII for what stands in the package's own texts."""
    room = Path(jrnn.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in room.rglob("*.py")]
    own = {character for text in texts for character in text if not character.isascii()}
    assert own and "\\" not in "".join(character.encode("ascii", PLAIN).decode() for character in own)


class Broken(io.RawIOBase):
    def write(self, data):
        raise OSError(28, "No space left on device")


def test_a_broken_stream_takes_everything():
    """More than its buffer holds, and what is left in it at the end."""
    stream = io.TextIOWrapper(io.BufferedWriter(Lasting(Broken())), "ascii", PLAIN)
    print("é" * 100_000, file=stream, flush=True)
    stream.close()


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\tb", "\x1b[2J", "a\0b", "a\u2028b", "\udce9", "é 中", "x" * 10**6])
def test_one_line(text):
    line = one_line(f"--out: got {text}; need a folder")
    assert len(line.splitlines()) == 1 and len(line) < LONGEST + 10 and line.endswith("need a folder")
    assert line.isprintable() and ("é 中" in line or text != "é 中")


@pytest.mark.parametrize("variable, count", [(None, 1), ("OPENBLAS_NUM_THREADS", 2), ("OMP_NUM_THREADS", 2)])
def test_blas_threads(monkeypatch, variable, count):
    """One while a command runs, as many as before after it; the user's word counts."""
    tool = pytest.importorskip("threadpoolctl")
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "2")

    def counts(*args):
        return {library["num_threads"] for library in tool.threadpool_info() if library["user_api"] == "blas"}

    seen = []
    monkeypatch.setattr(cli.commands, "train", lambda args: seen.append(counts()) or 0)
    with tool.threadpool_limits(2, user_api="blas"):
        assert cli.main(["train"]) == 0
        assert counts() == {2}
    assert seen == [{count}]


# the report comes first


ARGS = SimpleNamespace(lag=None, command="train")


@pytest.fixture
def no_figures(monkeypatch):
    """They take seconds, and are written like the page."""
    monkeypatch.setattr(writing, "figures_of", lambda diagnosis: ())


def reported(monkeypatch, out):
    """What `output.report` does with a diagnosis that was measured."""
    monkeypatch.setattr(output, "Diagnosis", lambda **given: diagnosis())
    cell = elman(2)
    monkeypatch.setattr(output, "baselines", lambda objective, data: ())
    known = {"task": "classify", "outputs": 2, "warmup": 0, "lag": 1, "lag_reason": "x", "plateau": None}
    dataset = SimpleNamespace(name="x", source="x", x=np.zeros((2, 3, 1)), **known)
    stages = diagnosis().stages
    return output.report(ARGS, out, cell, cell.init(jax.random.key(0), 1), dataset, 1, stages, {}, {})


def test_the_report_is_on_disk_before_anything_is_printed(no_figures, monkeypatch, tmp_path):
    def printed(found):
        assert (tmp_path / "out" / "report.html").exists() and (tmp_path / "out" / "report.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(output, "print_report", printed)
    with pytest.raises(KeyboardInterrupt):
        reported(monkeypatch, tmp_path / "out")


def test_a_report_that_cannot_be_written_is_shown(no_figures, monkeypatch, tmp_path, capsys):
    """The folder has become a file: one line that names it, exit code 1, and what was measured."""
    (tmp_path / "out").write_text("in the way")
    assert reported(monkeypatch, tmp_path / "out") == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1 and str(tmp_path / "out") in said.err and "File exists" in said.err
    assert "before training" in said.out.lower() and "The report:" not in said.out


def test_a_full_disk_leaves_the_older_report(no_figures, monkeypatch, tmp_path):
    """The second file finds no room: the first is not there either."""
    write_report(diagnosis(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls = iter([None])

    def synced(descriptor):
        if next(calls, "full") == "full":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", synced)
    with pytest.raises(InputError, match="No space left on device"):
        write_report(diagnosis(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# folders


def failing(monkeypatch, folder, error, before=lambda: None):
    """`jrnn train` whose training fails at once."""
    x = np.random.default_rng(0).normal(size=(20, 6, 2))
    np.savez(folder / "tiny.npz", x=x, y=np.arange(20) % 2)
    monkeypatch.chdir(folder)

    def train_model(*args):
        before()
        raise error

    monkeypatch.setattr(running, "train_model", train_model)
    return lambda *args: cli.main(["train", "--data", "tiny.npz", *args])


@pytest.mark.parametrize(
    "error, code, words",
    [
        (InputError("steps", 1, "more"), 2, "--steps"),
        (MemoryError(), 1, "out of memory; a smaller --hidden"),
        (RuntimeError("RESOURCE_EXHAUSTED: 3 GB"), 1, "out of memory; a smaller --hidden"),
        (RuntimeError("INTERNAL: Out of memory allocating 5 bytes"), 1, "out of memory; a smaller --hidden"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("a bug"), RuntimeError, ""),
    ],
    ids=repr,
)
@pytest.mark.parametrize("out", [None, "new", "a/b/c", "there"])
def test_an_empty_folder_is_not_left_behind(monkeypatch, tmp_path, capsys, error, code, words, out):
    (tmp_path / "there").mkdir()
    run = failing(monkeypatch, tmp_path, error)
    args = [] if out is None else ["--out", out]
    if isinstance(code, int):
        assert run(*args) == code
    else:
        with pytest.raises(code):
            run(*args)
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["there", "tiny.npz"]


def test_a_folder_with_something_in_it_stays(monkeypatch, tmp_path):
    run = failing(monkeypatch, tmp_path, MemoryError(), lambda: (tmp_path / "new" / "metrics.jsonl").write_text("{}"))
    assert run("--out", "new") == 1
    assert (tmp_path / "new" / "metrics.jsonl").read_text() == "{}"


def test_memory_that_runs_out_elsewhere_has_no_hint_of_training(monkeypatch, tmp_path, capsys):
    def load(*args, **options):
        raise MemoryError("Unable to allocate 8 TiB for an array")

    monkeypatch.setattr(running.data, "load", load)
    assert cli.main(["train", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "8 TiB" in said and "--hidden" not in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", [elman, gru, lstm])
def test_the_estimate_of_memory_is_a_lower_bound(kind):
    """XLA's own account of the compiled step: the estimate is below it, and above half of it."""
    cell = stack(kind(64), kind(64))
    objective, optimizer = Objective("classify", 3), skip_nonfinite(optax.adam(1e-3))
    cases = {"x": np.ones((16, 40, 5), np.float32), "y": np.arange(16) % 3}
    with jax.enable_x64(False):
        source = source_of(cases, objective, 16, 0)
        given = source.arguments(0)
        weights = initial_weights(cell, objective, None, None, jax.eval_shape(source.batch, given), 0)
        step = make_step(TrainingStep(cell, objective, optimizer), source, 0, None, None)
        found = step.lower(first_carry(weights, optimizer), np.int32(0), given, False).compile().memory_analysis()
    held = found.argument_size_in_bytes + found.temp_size_in_bytes
    args = SimpleNamespace(hidden=64, layers=2, batch_size=16)
    assert held / 2 < memory.least_bytes(args, kind(64), 5, 40) < held


def test_a_diagonal_recurrence_is_counted_as_one():
    """It has no H x H weights to hold: 100,000 units are no 40 GB."""
    args = SimpleNamespace(hidden=10**5, layers=1, batch_size=1)
    assert memory.least_bytes(args, indrnn(10**5), 2, 3) == 4 * (4 * 4 * 10**5 + 3 * 2 * 10**5)
