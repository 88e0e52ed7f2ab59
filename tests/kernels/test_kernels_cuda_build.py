"""The compiler of the kernels for GPUs and what it made, on disk: with a stand-in for NVRTC that needs no package."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jrnn.kernels.cuda import build
from jrnn.kernels.cuda.plan import Target, choose

COMPILER = shutil.which("cc") or shutil.which("c++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
HOPPER = Target((9, 0))
PLAN = choose("forward", 0, "bfloat16", 1, 64, HOPPER)

# what it "compiles" is the source, after a mark; a source that begins with an error fails
STAND_IN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct Program { char made[100000]; int failed; };
int nvrtcVersion(int* major, int* minor) { *major = MAJOR, *minor = MINOR; return 0; }
int nvrtcGetNumSupportedArchs(int* n) { *n = 2; return 0; }
int nvrtcGetSupportedArchs(int* all) { all[0] = 80, all[1] = 90; return 0; }
const char* nvrtcGetErrorString(int code) { return code == 6 ? "NVRTC_ERROR_COMPILATION" : "?"; }
int nvrtcCreateProgram(void** p, const char* source, const char* name, int n, const char** texts, const char** names) {
  struct Program* own = calloc(1, sizeof *own);
  for (int i = 0; i < n; ++i) if (!strlen(texts[i]) || !strstr(names[i], ".cuh")) return 3;
  snprintf(own->made, sizeof own->made, "machine code of %s", source);
  own->failed = strncmp(source, "#error", 6) == 0;
  *p = own; return 0;
}
int nvrtcCompileProgram(void* p, int n, const char** options) { return ((struct Program*)p)->failed ? 6 : 0; }
int nvrtcGetProgramLogSize(void* p, size_t* n) { *n = 12; return 0; }
int nvrtcGetProgramLog(void* p, char* to) { strcpy(to, "what it says"); to[11] = 0; return 0; }
int nvrtcGetCUBINSize(void* p, size_t* n) { *n = strlen(((struct Program*)p)->made); return 0; }
int nvrtcGetCUBIN(void* p, char* to) {
  memcpy(to, ((struct Program*)p)->made, strlen(((struct Program*)p)->made));
  return 0;
}
int nvrtcDestroyProgram(void** p) { free(*p); return 0; }
"""


def stand_in(folder, major=13, minor=3):
    """A folder to search that holds a stand-in of this version, where the packages have theirs."""
    where = f"cu{major}" if major > 12 else "cuda_nvrtc"
    place = folder / f"nvidia/{where}/lib/libnvrtc.so.{major}"
    place.parent.mkdir(parents=True)
    command = [
        COMPILER,
        "-shared",
        "-fPIC",
        "-w",
        "-x",
        "c",
        f"-DMAJOR={major}",
        f"-DMINOR={minor}",
        "-",
        "-o",
        str(place),
    ]
    subprocess.run(command, input=STAND_IN, text=True, check=True)
    return str(folder)


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """Nothing found, nothing kept."""
    forget()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("JRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "places", lambda found=build.places: [p for p in found() if isinstance(p, Path)])
    yield
    forget()


def forget():
    build.compiler.cache_clear()
    build.code.cache_clear()


def kept(tmp_path):
    return sorted((tmp_path / "cache" / "kernels").glob("*"))


def test_a_compiler_that_is_missing_too_old_or_broken_is_a_reason(monkeypatch, tmp_path):
    assert "NVRTC was not found: install nvidia-cuda-nvrtc" in build.missing(HOPPER)
    build.compiler.cache_clear()
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path / "old", major=11)])
    assert "NVRTC 11.3 is too old: 12.1 or later is needed" in build.missing(HOPPER)
    build.compiler.cache_clear()
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path / "first", major=12, minor=0)])
    assert "NVRTC 12.0 is too old" in build.missing(HOPPER)
    build.compiler.cache_clear()
    broken = tmp_path / "broken/nvidia/cu13/lib/libnvrtc.so.13"
    broken.parent.mkdir(parents=True)
    broken.write_text("no library")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "broken")])
    assert "NVRTC could not be loaded" in build.missing(HOPPER)


def test_the_newest_compiler_that_the_driver_reads_is_taken(monkeypatch, tmp_path):
    found = [stand_in(tmp_path / f"{major}", major=major) for major in (12, 13)]
    monkeypatch.setattr(sys, "path", found)
    assert build.compiler().version == build.compiler(13).version == (13, 3)
    assert build.compiler(12).version == (12, 3)
    monkeypatch.setattr(sys, "path", found[1:])
    build.compiler.cache_clear()
    why = build.missing(HOPPER, 12)
    assert (
        "NVRTC 13.3 makes code that this driver, of CUDA 12, does not read" in why and "nvidia-cuda-nvrtc-cu12" in why
    )


def test_nothing_of_the_working_directory_is_loaded(monkeypatch, tmp_path):
    (tmp_path / "libnvrtc-builtins.so.13.0").write_text("no library")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="libnowhere"):
        build.Nvrtc("libnowhere.so.13")


def test_a_gpu_that_the_compiler_does_not_know_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path)])
    assert build.missing(HOPPER) is None
    assert "NVRTC 13.3 does not compile for compute capability 10.0" in build.missing(Target((10, 0)))


def test_the_words_of_the_compiler_are_the_error(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path)])
    with pytest.raises(RuntimeError, match="NVRTC could not compile a kernel: what it sa"):
        build.compiler().compile("#error", build.headers())


def test_what_was_made_is_kept_and_read_again(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path)])
    made = build.code(PLAN, HOPPER)
    assert made == b"machine code of " + PLAN.source.encode() and len(kept(tmp_path)) == 1
    monkeypatch.setattr(build.Nvrtc, "compile", lambda *_: pytest.fail("it was kept"))
    build.code.cache_clear()
    assert build.code(PLAN, HOPPER) == made


def test_another_source_plan_gpu_or_compiler_is_another_kernel(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path)])
    build.code(PLAN, HOPPER)
    build.code(choose("forward", 0, "bfloat16", 1, 65, HOPPER), HOPPER)
    build.code(PLAN, Target((8, 0)))
    monkeypatch.setattr(build, "headers", lambda: {"device.cuh": "another"})
    build.code.cache_clear()
    build.code(PLAN, HOPPER)
    monkeypatch.setattr(build.compiler(None), "identity", "another file")
    build.code.cache_clear()
    build.code(PLAN, HOPPER)
    monkeypatch.setenv("JRNN_CUDA_WAIT", "1000")
    build.code.cache_clear()
    build.code(PLAN, HOPPER)
    assert len(kept(tmp_path)) == 6


def test_what_was_spoiled_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path)])
    made = build.code(PLAN, HOPPER)
    (file,) = kept(tmp_path)
    for content in (b"", file.read_bytes()[:-1], b"x" + file.read_bytes()[1:]):
        file.write_bytes(content)
        build.code.cache_clear()
        assert build.code(PLAN, HOPPER) == made
        assert build.whole(file.read_bytes()) == made


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [stand_in(tmp_path)])
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot be written: .*set JRNN_CACHE"):
        assert build.code(PLAN, HOPPER).startswith(b"machine code")
    monkeypatch.setenv("JRNN_CACHE", "off")
    build.code.cache_clear()
    assert build.code(PLAN, HOPPER).startswith(b"machine code")  # without a warning


def test_what_cannot_be_finished_leaves_nothing(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.os, "replace", full)
    with pytest.warns(UserWarning, match="No space left"):
        build.keep(tmp_path / "kernel.cubin", b"machine code")
    monkeypatch.undo()
    assert not list(tmp_path.glob("kernel*"))
    build.keep(tmp_path / "kernel.cubin", b"machine code")
    (tmp_path / "plain").touch()  # others may read it, as far as the user's files can be read
    assert (tmp_path / "kernel.cubin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_several_may_write_at_once(tmp_path):
    """Whoever reads meanwhile finds all of it or nothing."""
    place, content = tmp_path / "kernel.cubin", b"machine code" * 10_000

    def write():
        for _ in range(50):
            build.keep(place, content)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        if place.exists():
            assert build.whole(place.read_bytes()) == content
            seen += 1
    assert seen and list(tmp_path.iterdir()) == [place]
