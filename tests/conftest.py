"""Strict JAX, two CPU devices, the choice between a quick and a whole run, and the fixtures every test may use."""

import atexit
import gc
import os
import shutil
import tempfile
import zlib
from importlib.metadata import version
from pathlib import Path

# the same programs are compiled by both workers and by the processes that tests start: one cache for this run, made by
# whoever comes first
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jrnn-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# small programs, hundreds of them: no tracebacks in what is lowered, one LLVM module for each (both cores have work)
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_parallel_codegen_split_count=1"

# XLA's older code generator takes half the time for programs that run once, as in the commands; the usual one is what
# the examples and the benchmarks in .ci/run have, and the tests on the newest JAX, which no longer knows the older one
if version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

os.environ.setdefault("JRNN_MALLOC", "off")  # on one heap, compiling takes 3 % longer, and here little else is done

import jax
import pytest

gc.set_threshold(100_000, 20, 100)  # what is traced lives on in caches: looking through it again finds nothing
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)

MOST_MAPS = 20_000  # a heavy module adds as many again

# these tests compile hundreds of small programs and run each once; the others run programs as users do
COMPILED_ONCE = {"cells", "kernels", "unrolling", "gradients", "flow", "cures", "training", "interop", "data"}

ONE_CASE_OF = 6
"""A quick run takes one of so many cases of a test."""


def pytest_addoption(parser):
    parser.addoption("--whole", action="store_true", help="every case of every test, and those marked `thorough`")
    parser.addoption("--rest", action="store_true", help="what a run without --whole leaves out")
    parser.addoption("--share", default="1/1", metavar="K/N", help="of a quick run or --rest, the K-th of N shares")


def pytest_collection_modifyitems(config, items):
    """A quick run where all of the tests are asked for, unless told otherwise; a room, a file, a test runs whole."""
    if config.getoption("--whole") or [Path(arg).absolute() for arg in config.args] != [Path(__file__).parent]:
        return
    cases = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    quick = {item for test, found in cases.items() for item in cases_to_take(test, found)}
    chosen = [item for item in items if (item in quick) != config.getoption("--rest")]
    share, shares = map(int, config.getoption("--share").split("/"))
    if not 1 <= share <= shares:
        raise pytest.UsageError(f"--share: got {share}/{shares}; need K/N with K from 1 to N")
    wanted = chosen[share - 1 :: shares]
    kept = set(wanted)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = wanted


def cases_to_take(test, found):
    """Every sixth case. Which is the first turns from test to test, so that some test takes each cell, each option."""
    found = [item for item in found if item.get_closest_marker("thorough") is None]
    first = zlib.crc32(test.encode()) % min(len(found) or 1, ONE_CASE_OF)
    return found[first::ONE_CASE_OF]


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(autouse=True)
def numbers_of_its_own(request, drawn={}):  # noqa: B006 - of all tests together
    """A test draws the same numbers from its module's RNG whichever tests ran before it."""
    rng = getattr(request.module, "RNG", None)
    if rng is not None:
        rng.bit_generator.state = drawn.setdefault(request.module, rng.bit_generator.state)
    yield


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Forgets compiled programs before a worker has as many memory maps as Linux allows (65,530): JAX would crash."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(request):
    """Switches off XLA optimisations that would cost those tests more than they save."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", request.path.parent.name in COMPILED_ONCE)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
