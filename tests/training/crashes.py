"""A soak: runs killed with kill -9 at random moments, one process beside another, a full disk; each goes on to the end.

    python -m tests.training.crashes --kills 30 --seed 0

Every second kill is aimed at the moments in which a checkpoint is written or removed. What a run leaves in the end,
every array and every line of metrics, must have the bits of one that nothing happened to. Exit status 1 if not.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from runs import assert_same_run, kept, start  # noqa: E402

STEPS = 18
SLOW = 0.01
DEVICE_FULL = "No space left on device"


def finished(out):
    """Resumes a run and lets it end."""
    output, errors = start(out, STEPS).communicate(timeout=120)
    assert output == f"done {STEPS}\n", (output, errors)
    return kept(out)


def beginnings(folder):
    """The names in a folder of checkpoints that are no whole ones."""
    try:
        return {name for name in os.listdir(folder) if not name.isdecimal()}
    except FileNotFoundError:
        return set()


def killed(out, rng, duration, aimed):
    """Starts or resumes the run and kills it; where it was, None if it had ended. `aimed`: soon after a write or a
    removal has begun."""
    process = start(out, STEPS, SLOW)
    folder = out / "checkpoints"
    if aimed:
        skipped = rng.randrange(6)  # which of the writes and removals
        before = beginnings(folder)
        while process.poll() is None and skipped >= 0:
            now = beginnings(folder)
            skipped -= bool(now - before)
            before = now
        time.sleep(rng.choice([0.0, rng.uniform(0.0, 0.05)]))
    else:
        time.sleep(rng.uniform(0.0, duration))
    process.kill()
    process.communicate()
    there = sorted(p.name for p in folder.iterdir()) if folder.exists() else []
    return f"with {' '.join(there) or 'nothing'} on disk" if process.returncode == -signal.SIGKILL else None


def kills(folder, whole, count, rng, duration):
    """(runs that end with the bits of a whole one, kills in a write, runs): each run is killed one to three times."""
    same = writing = number = runs = 0
    while number < count:
        out = folder / f"killed-{runs}"
        for _ in range(min(rng.choice([1, 1, 2, 3]), count - number)):
            where = killed(out, rng, duration, aimed=number % 2 == 1)
            if where is None:
                break
            writing += "." in where
            number += 1
            print(f"kill {number} of {count}: {where}", flush=True)
        same += agrees(finished(out), whole, out)
        runs += 1
    return same, writing, runs


def agrees(ours, theirs, out):
    """Whether two runs left the same bits."""
    try:
        assert_same_run(ours, theirs)
    except AssertionError as error:
        print(f"{out} differs: {error}", flush=True)
        return False
    return True


def two_at_once(folder, whole):
    """A second process is refused with the first's number; the first, killed, frees the folder."""
    out = folder / "two"
    first = start(out, STEPS, 0.5)
    while not (out / "checkpoints" / "3").exists():
        time.sleep(0.01)
    second = start(out, STEPS)
    errors = second.communicate(timeout=120)[1]
    assert f"where process {first.pid} is training" in errors, errors
    first.kill()
    first.communicate()
    return agrees(finished(out), whole, out)


def full_disk(folder, whole, size):
    """A small file system fills up, and is then made larger; None where nothing may be mounted."""
    place = folder / f"disk-{size}"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", place], capture_output=True).returncode:
        return None
    try:
        output, errors = start(place / "run", STEPS).communicate(timeout=120)
        last = errors.strip().splitlines()[-1] if errors else output
        assert "StorageError: cannot write in" in last and DEVICE_FULL in last, (output, errors)
        print(f"{size} KB: {last.partition('; ')[2]}", flush=True)
        subprocess.run(["mount", "-o", "remount,size=20m", place], check=True)
        return agrees(finished(place / "run"), whole, place)
    finally:
        subprocess.run(["umount", place], check=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "jrnn-crashes"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = finished(folder / "first")  # fills the cache of compiled programs
        process, began = start(folder / "whole", STEPS, SLOW), time.monotonic()
        process.communicate()
        duration = time.monotonic() - began
        fine = agrees(kept(folder / "whole"), whole, folder / "whole")
        same, writing, runs = kills(folder, whole, asked.kills, rng, duration)
        print(f"{asked.kills} kills, {writing} of them in a write: {same} of {runs} runs ended with the same bits")
        print(f"two processes in one folder: {(second := two_at_once(folder, whole))}")
        disks = [full_disk(folder, whole, size) for size in (60, 150, 220)]
        print(f"a full disk: {disks} (None: nothing may be mounted here)")
    return int(not (fine and same == runs and second and False not in disks))


if __name__ == "__main__":
    sys.exit(main())
