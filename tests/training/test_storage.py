"""No room left: one error that names the folder and what is whole, and a resume that ends with the same bits."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import worker
from runs import assert_same_run, kept

import jrnn
from jrnn import InputError
from jrnn.training import StorageError, load, save
from jrnn.training.storage import checkpoints
from jrnn.training.storage.locking import locked
from jrnn.training.telemetry.board import Board
from jrnn.training.telemetry.metric_log import MetricLog

STEPS = 12


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that always had room."""
    out = tmp_path_factory.mktemp("whole")
    worker.run(out, STEPS)
    return kept(out)


@pytest.fixture
def unlimited():
    """Takes the limit on the size of files back that a run was given."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def assert_one_line(error, folder, reason, checkpoint):
    text = str(error)
    end = "nothing whole is there yet"
    if checkpoint is not None:
        path = folder / "checkpoints" / str(checkpoint)
        end = f"the newest whole checkpoint is {path}: make room, then go on with resume=True (--resume)"
    assert text == f"cannot write in {folder}: {reason}; {end}"
    assert isinstance(error, OSError)


def assert_goes_on(out, whole):
    """Resumed to the end it has the bits of the run that always had room, and nothing half-written is left."""
    worker.run(out, STEPS, resume=True)
    assert_same_run(kept(out), whole)
    assert all(p.name.isdecimal() for p in (out / "checkpoints").iterdir())
    names = {p.name for p in out.iterdir() if "tfevents" not in p.name}
    assert names == {"checkpoints", "metrics.jsonl"}


@pytest.mark.thorough
@pytest.mark.parametrize("limit, options", [(900, {}), (2500, {}), (900, {"tensorboard": True}), (300, {})])
def test_a_limit_on_files(limit, options, tmp_path, whole, unlimited, capfd):
    """The operating system says it as it says that a disk is full: to metrics.jsonl, to Orbax, to TensorBoard's file,
    to the smallest file."""
    with pytest.raises(StorageError) as caught:
        worker.run(tmp_path, STEPS, limit=limit, **options)
    unlimited()
    assert_one_line(caught.value, tmp_path, "File too large", 3)
    assert capfd.readouterr().err == ""
    assert_goes_on(tmp_path, whole)


def test_a_full_disk(tmp_path, whole):
    """A file system of 150 KB, which is then made larger."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "none", tmp_path], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    out = tmp_path / "run"
    try:
        with pytest.raises(StorageError, match=f"cannot write in {out}: No space left on device; the newest whole"):
            worker.run(out, STEPS)
        reached = int(checkpoints.newest(out / "checkpoints").path.name)
        assert 3 <= reached < STEPS
        with pytest.raises(StorageError) as caught:  # still too small; what it clears may make room
            worker.run(out, STEPS, resume=True)
        newest = int(checkpoints.newest(out / "checkpoints").path.name)
        assert reached <= newest < STEPS
        assert_one_line(caught.value, out, "No space left on device", newest)
        with pytest.raises(StorageError, match="cannot write in .*: No space left on device; nothing whole is there"):
            save(tmp_path / "model", jrnn.elman(4), {"w": np.random.default_rng(0).normal(size=(200, 200))})
        # an empty folder at most; on a disk that is fuller still not even that can be made
        assert [*(tmp_path / "model").rglob("*")] in ([], [tmp_path / "model" / "model"])
        subprocess.run(["mount", "-o", "remount,size=2m", tmp_path], check=True)
        assert_goes_on(out, whole)
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)  # a thread of Orbax may still look into it


def full(*args, **kwargs):
    """What any call says on a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def after(calls, function):
    """The function, which meets a full disk when it was called so often."""
    count = iter(range(1_000_000))
    return lambda *args, **kwargs: (full if next(count) >= calls else function)(*args, **kwargs)


def closed_and_full(board):
    board.file.close()
    full()


def renamed(before, after, rename=os.rename):
    return full() if Path(after).name == "9" else rename(before, after)


def summed(path, sums=checkpoints.checksums):
    return full() if path.name.startswith("9") else sums(path)


def opened(path, mode="r", *args, opens=open, **kwargs):
    return full() if Path(str(path)).name == "metrics.jsonl" else opens(path, mode, *args, **kwargs)


PLACES = {
    "the lock": ("os.ftruncate", after(0, os.ftruncate), None),
    "opening metrics.jsonl": ("builtins.open", opened, None),
    "metrics.jsonl": ("jrnn.training.telemetry.metric_log.MetricLog.append", after(3, MetricLog.append), 3),
    "TensorBoard's file": ("jrnn.training.telemetry.board.Board.write", after(3, Board.write), 3),
    "TensorBoard's file, on closing": ("jrnn.training.telemetry.board.Board.close", closed_and_full, 12),
    "the arrays": ("jrnn.training.storage.checkpoints.save", after(2, checkpoints.save), 6),
    "the checksums": ("jrnn.training.storage.checkpoints.checksums", summed, 6),
    "the name": ("os.rename", renamed, 6),
    "the last checkpoint": ("jrnn.training.storage.checkpoints.save", after(3, checkpoints.save), 9),
}


@pytest.mark.thorough
@pytest.mark.parametrize("place", PLACES)
def test_each_place_that_writes(place, tmp_path, whole, monkeypatch):
    name, function, checkpoint = PLACES[place]
    monkeypatch.setattr(name, function)
    with pytest.raises(StorageError) as caught:
        worker.run(tmp_path, STEPS, tensorboard=True)
    monkeypatch.undo()
    assert_one_line(caught.value, tmp_path, "No space left on device", checkpoint)
    assert_goes_on(tmp_path, whole)


def test_what_the_user_s_own_function_says_stays_what_it_is(tmp_path):
    def data(step):
        if step == 2:
            raise FileNotFoundError("my-file")
        return worker.Batches(0.0)(step)

    with pytest.raises(FileNotFoundError, match="my-file"):
        jrnn.training.fit(jrnn.elman(4), worker.Objective("classify", 3), data, steps=4, out=tmp_path)


def test_a_save_without_room_keeps_the_one_before(tmp_path, unlimited):
    save(tmp_path, jrnn.elman(4), {"w": np.ones(3)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(StorageError, match=f"too large; the model saved before is whole: {tmp_path}/model/0$"):
        save(tmp_path, jrnn.elman(4), {"w": np.random.default_rng(0).normal(size=(100, 100))})
    unlimited()
    np.testing.assert_array_equal(load(tmp_path).params["w"], np.ones(3))
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["0"] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.thorough
def test_the_command_line_says_it_in_one_line(tmp_path):
    """Exit code 1, and what was trained is named; the limit comes after the data and the libraries are read."""
    program = """
import resource, sys
import numpy as np
from jrnn.cli import main
from jrnn.training.storage import checkpoints
whole = checkpoints.write
def write(path, trees, about):
    whole(path, trees, about)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
checkpoints.write = write
np.savez("data.npz", x=np.ones((20, 5, 1)), y=np.arange(20) % 2)
sys.exit(main("train --data data.npz --hidden 2 --steps 120 --out run".split()))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(jrnn.__file__).parents[1]), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    end = "the newest whole checkpoint is run/checkpoints/100: make room, then go on with resume=True (--resume)"
    assert done.stderr == f"jrnn train: cannot write in run: File too large; {end}\n"


def test_one_process_at_a_time_holds_a_folder(tmp_path):
    with locked(tmp_path, "training", "out"):
        assert (tmp_path / "training.lock").read_text() == str(os.getpid())
        with pytest.raises(InputError, match=f"out: got {tmp_path}, where process {os.getpid()} is training; need"):
            worker.run(tmp_path, STEPS)
        with locked(tmp_path, "saving", "directory"):
            pass
    (tmp_path / "training.lock").write_text("what kill -9 left")
    with locked(tmp_path, "training", "out"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
# of a read that another process cut short and that was begun anew, TensorStore's threads may still tell Python's hook
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_processes_that_save_in_one_folder_wait_for_each_other(tmp_path):
    program = """
import sys, numpy as np, jrnn
from jrnn.training import save
for i in range(12):
    save(sys.argv[1], jrnn.elman(3), {"w": np.full(4, i, np.float32), "v": np.full((3, 3), i, np.float32)})
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(jrnn.__file__).parents[1])}
    both = [subprocess.Popen([sys.executable, "-c", program, tmp_path], env=environment) for _ in range(2)]
    reads = 0
    while any(process.poll() is None for process in both):
        if (tmp_path / "model").exists() and checkpoints.steps_in(tmp_path / "model"):
            found = load(tmp_path).params  # whole, and without a warning
            assert (found["v"] == found["w"][0]).all()
            reads += 1
    assert [process.wait() for process in both] == [0, 0] and reads > 0
    assert len(list((tmp_path / "model").iterdir())) == 1 and len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_that_goes_while_it_is_read_is_looked_for_anew(tmp_path, monkeypatch):
    save(tmp_path, jrnn.elman(4), {"w": np.zeros(3)})
    read = checkpoints.read

    def slow(path):
        if path.name == "0":
            save(tmp_path, jrnn.elman(4), {"w": np.ones(3)})  # takes 0 away
        return read(path)

    monkeypatch.setattr(checkpoints, "read", slow)
    np.testing.assert_array_equal(load(tmp_path).params["w"], np.ones(3))
