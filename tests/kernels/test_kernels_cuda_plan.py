"""The sizes of the kernels for GPUs, and the places where Python and C++ must agree."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from jrnn.kernels import RECURRENCES
from jrnn.kernels.cuda import build, launch
from jrnn.kernels.cuda.fragments import fragments
from jrnn.kernels.cuda.gpu import Gpu
from jrnn.kernels.cuda.plan import GATES, SHARED, Plan, Target, choose
from jrnn.kernels.implementations import native
from jrnn.kernels.implementations.cuda import has

HOPPER, AMPERE = Target((9, 0)), Target((8, 0))
KINDS = {name: each.native for name, each in RECURRENCES.items() if has(each)}


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_must_fit_on_an_h100(kind, direction):
    def fits(dtype, products, units):
        return isinstance(choose(direction, KINDS[kind], dtype, products, units, HOPPER), Plan)

    gated = GATES[KINDS[kind]] > 1
    assert all(fits("bfloat16", 1, units) for units in (1, 5, 64, 100, 512 if gated else 1024))
    assert all(fits("float32", products, 256) for products in (1, 3))
    assert not fits("bfloat16", 1, 4096)


def test_every_plan_keeps_to_its_gpu():
    """By the plan's own sizes; that a kernel has the same the compiler says (`static_assert` in its source)."""
    for capability, room in SHARED.items():
        for kind in KINDS.values():
            for dtype in ("bfloat16", "float32"):
                for units in (1, 7, 33, 64, 100, 130, 256, 500):
                    for direction in ("forward", "backward"):
                        for tiles in (1, 40, 1000):
                            plan = choose(direction, kind, dtype, 3, units, Target(capability), tiles)
                            if isinstance(plan, str):
                                assert str(units) in plan and f"{capability[0]}.{capability[1]}" in plan
                                continue
                            assert plan.shared <= room and plan.warps <= 16 and plan.padded >= units
                            assert plan.cluster == 1 or capability >= (9, 0)
                            assert plan.padded % (8 * plan.span * plan.cluster) == 0
                            assert all(plan.rest(steps) <= steps for _, steps in plan.products_of_weights)


def test_one_block_is_enough_for_small_layers_on_ampere():
    for kind, units in (("lstm", 128), ("gru", 128), ("tanh", 256)):
        plans = [choose(each, KINDS[kind], "bfloat16", 1, units, AMPERE) for each in ("forward", "backward")]
        assert all(isinstance(plan, Plan) and plan.cluster == 1 for plan in plans), plans
    why = choose("forward", KINDS["lstm"], "bfloat16", 1, 512, AMPERE)
    assert "512 units do not fit" in why and "8.0" in why
    assert "compute capability 7.5" in choose("forward", 0, "bfloat16", 1, 8, Target((7, 5)))


def test_many_sequences_take_larger_tiles_or_smaller_clusters():
    few, many = (choose("forward", KINDS["lstm"], "bfloat16", 1, 256, HOPPER, tiles) for tiles in (2, 60))
    at_once = HOPPER.processors // many.cluster * many.tiles
    assert few.tiles == 1 and at_once > HOPPER.processors // few.cluster


@pytest.mark.parametrize(
    "device, wanted",
    [
        ({"compute_capability": "9.0", "core_count": 114}, Target((9, 0), 114)),
        ({"compute_capability": "12.0"}, Target((12, 0), 132)),
        ({"compute_capability": "gfx90a"}, "NVIDIA GPUs, and this is some device"),
        ({}, "NVIDIA GPUs, and this is some device"),
    ],
)
def test_the_gpu_that_jax_runs_on(monkeypatch, device, wanted):
    monkeypatch.setattr("jax.local_devices", lambda: [SimpleNamespace(device_kind="some device", **device)])
    Gpu.target.cache_clear()
    found = Gpu.target()
    Gpu.target.cache_clear()
    assert found == wanted if isinstance(wanted, Target) else wanted in found


def test_gpus_that_are_not_alike_are_refused(monkeypatch):
    both = [SimpleNamespace(device_kind="some device", compute_capability=each) for each in ("9.0", "8.0")]
    monkeypatch.setattr("jax.local_devices", lambda: both)
    Gpu.target.cache_clear()
    found = Gpu.target()
    Gpu.target.cache_clear()
    assert "different compute capabilities" in found


@pytest.mark.skipif(isinstance(native.library(), str), reason=str(native.library()))
def test_the_launcher_is_in_the_library():
    for name in ("jrnn_cuda", "jrnn_cuda_initialize", "jrnn_cuda_missing", "jrnn_cuda_version", "jrnn_cuda_clusters"):
        assert hasattr(native.library(), name)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_order_of_arrays(direction):
    """A kernel's arrays are those that a launch gives, by name and in order."""
    text = (build.PLACE / f"{direction}.cuh").read_text(encoding="utf-8")
    (body,) = re.findall(rf"struct {direction.capitalize()}Problem {{(.*?)  int steps, rows;", text, re.S)
    declared = ", ".join(re.findall(r"Operand ([^;]*);", body)).replace(
        "gates[4]", ", ".join(f"gates{i}" for i in range(4))
    )
    assert re.split(r",\s*", declared) == [*launch.ARGUMENTS[direction], *launch.RESULTS[direction]]


def test_the_numbers_of_recurrences_and_gates():
    """`plan.cuh` numbers them as `recurrences/` does."""
    text = (build.PLACE / "plan.cuh").read_text(encoding="utf-8")
    (body,) = re.findall(r"enum Kind {(.*?)}", text)
    theirs = {name.lower(): int(number) for name, number in re.findall(r"k(\w+) = (\d+)", body)}
    assert theirs == {name.replace("gru_reset_before", "grubefore"): number for name, number in KINDS.items()}


@pytest.mark.parametrize("kind", ["lstm", "gru_reset_before"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_weight_is_where_its_lane_looks(kind, direction, dtype):
    """By PTX's own words on mma.m16n8k16 and m16n8k8, number by number."""
    units, number = 37, KINDS[kind]
    plan = Plan(direction, number, dtype, 1, units, 2, 1, 1 if kind == "lstm" and direction == "forward" else 2, 2)
    w_rec = np.random.default_rng(0).normal(size=(units, GATES[number] * units)).astype(np.float32)
    in_word, rest = 4 // plan.size, iter(([0, 1], [2]) if kind == "gru_reset_before" else ([*range(GATES[number])],))
    for found in fragments(plan, w_rec):
        gates = next(rest)
        columns = plan.padded * (len(gates) if direction == "backward" else 1)
        halves = plan.span * (len(gates) if direction == "forward" else 1)
        at = np.asarray(found).reshape(2 * plan.warps, halves // 2, -1, 32, 4, in_word)
        assert at.shape[2] * 8 * in_word == columns
        for warp, tile, step, lane, word, i in np.ndindex(at.shape):
            half, k = 2 * tile + word % 2, (8 * step + lane % 4 + 4 * (word // 2)) * in_word + i
            row = (warp * plan.span + half % plan.span) * 8 + lane // 4
            if direction == "forward":
                unit, gate, other = k, gates[half // plan.span], row
            else:
                unit, gate, other = row, gates[k // plan.padded], k % plan.padded
            inside = unit < units and other < units
            assert at[warp, tile, step, lane, word, i] == (w_rec[unit, gate * units + other] if inside else 0)
