"""Compiles the TPU kernels for TPUs that are not here, and counts what a step costs: `python -m tests.proofs.tpu`.

Needs libtpu, which `--wheel` names. It needs neither a TPU nor a network. A bundle is one instruction of a TPU's core:
all its units at once. That is what the compiler schedules. Beside it stand the bytes that stream from and to memory at
each step, whole tiles of them; which of the two takes longer only a TPU shows.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from importlib.metadata import requires
from pathlib import Path
from typing import NamedTuple

TYPES = {"v5e": "v5litepod-4", "v6e": "v6e-4"}


class Row(NamedTuple):
    kind: str
    way: str
    units: int
    rows: int
    dtype: str
    bundles: dict[str, int]
    """A step's, by the TPU, of a kernel written by hand for each kind; ours may take a fifth more."""
    mib: int = 128
    """VMEM that it may have."""

    def __str__(self):
        return f"{self.kind} {self.way}, H = {self.units}, B = {self.rows}, {self.dtype}"


TABLE = [
    Row("tanh", "forward", 256, 16, "bfloat16", {"v5e": 69, "v6e": 73}),
    Row("lstm", "forward", 256, 16, "bfloat16", {"v5e": 256, "v6e": 174}),
    Row("lstm", "backward", 256, 16, "bfloat16", {"v5e": 206}),
    Row("gru", "forward", 256, 16, "bfloat16", {"v5e": 173, "v6e": 148}),
    Row("gru", "backward", 256, 16, "bfloat16", {"v5e": 167, "v6e": 144}),
    Row("lstm", "forward", 128, 8, "bfloat16", {"v5e": 86}),
    Row("lstm", "forward", 256, 128, "bfloat16", {"v5e": 787}),
    Row("lstm", "forward", 512, 16, "bfloat16", {"v5e": 871}, mib=16),  # the smallest VMEM that there is
    Row("lstm", "forward", 256, 16, "float32", {"v5e": 997}),  # with all digits, six products for one
]
MARGIN = 1.2

COMPILED = [
    ("relu-1x70x9x3x5", "float32", "lengths mask resets cuts tap"),  # 70 steps: the last block is not full
    ("leaky_tanh-1x9x5x3x5", "bfloat16", "lengths resets reverse"),
    ("gru_reset_before-1x9x5x3x5", "float32", "mask resets cuts"),
    ("min_gru-1x9x5x3x5", "float32", "lengths resets cuts"),
    ("gated-1x9x5x0x5", "bfloat16", "lengths mask resets cuts tap"),
    ("complex-1x9x5x0x5", "float32", "resets cuts"),
    ("lstm-1x5x9x3x150", "float32", "lengths mask resets cuts tap"),
]
"""Kind and sizes as `Case` prints them, dtype, events: both kernels of a gradient compile, here for v5e."""
LIMIT = 240
"""Seconds that the compiler may take for one target."""


def why_not():
    """Why nothing can be compiled here; None if it can."""
    if importlib.util.find_spec("libtpu") or os.environ.get("TPU_LIBRARY_PATH"):
        return None
    return f"libtpu is not installed: {wheel()}"


def wheel():
    """The requirement that goes with this JAX."""
    named = next(need for need in requires("jax") or () if need.startswith("libtpu"))
    return named.partition(";")[0].strip()


def main():
    """Every target in a process of its own, as libtpu reads its flags once."""
    for name, kind in TYPES.items():
        with tempfile.TemporaryDirectory() as place:
            flags = f"--xla_jf_dump_to={place} --xla_jf_dump_llo_text=true"
            flags += " --xla_jf_dump_llo_pass_label_regex=.*final_bundles.*"
            here = {"TPU_ACCELERATOR_TYPE": kind, "TPU_WORKER_HOSTNAMES": "localhost", "TPU_SKIP_MDS_QUERY": "1"}
            here["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # nothing runs, so several may compile at once
            environment = os.environ | here | {"LIBTPU_INIT_ARGS": flags, "JAX_PLATFORMS": "cpu"}
            done = subprocess.run(
                [sys.executable, "-m", "tests.proofs.tpu", name, place], env=environment, timeout=LIMIT
            )
            if done.returncode:
                sys.exit(done.returncode)


def prove(name, place):
    """Everything for one target."""
    import jax
    from jax.experimental import topologies

    devices = topologies.get_topology_desc(platform="tpu", topology_name=f"{name}:2x2").devices
    place_on_one, seen = jax.sharding.SingleDeviceSharding(devices[0]), set()
    for row in (row for row in TABLE if name in row.bundles):
        streamed = compile_row(row, place_on_one)
        (file,) = [f for f in Path(place).glob("*jrnn*final_bundles.txt") if "analysis" not in f.name and f not in seen]
        seen.add(file)
        found, known = bundles_of_loop(file.read_text()), row.bundles[name]
        print(f"{name}: {row}: {found} bundles a step, {found / known:.2f} of {known}, {streamed:,} bytes", flush=True)
        assert known / MARGIN**2 <= found <= MARGIN * known, row  # fewer: the loop was not found
    for shape, dtype, events in COMPILED if name == "v5e" else ():
        compile_both(shape, dtype, events, place_on_one)
        print(f"{name}: {shape}, {dtype}, {events}: compiles, forward and backward", flush=True)
    split_over(devices)
    print(f"{name}: two directions and their gradient over {len(devices)} chips: four kernels, nothing gathered")


def compile_row(row, place):
    """Compiles the kernel of a row, of a backward pass without the products that follow it; its bytes a step."""
    import jax
    import jax.numpy as jnp

    from jrnn.kernels.implementations.tpu import Tpu

    from ..kernels.cases import Case, make

    case = Case(row.kind, 1, 256, row.rows, 64, row.units, "lengths resets")
    operands, events = make(case, jnp.dtype(row.dtype))
    on = Tpu(vmem=row.mib * 2**20)
    forward = partial(on.forward, case.scan, all_states=True, save_gates=True)
    given = (operands, events)
    if row.way == "backward":
        result = jax.eval_shape(forward, operands, events)
        needed = jax.tree.map(lambda _: False, operands)._replace(start=(True,) * len(operands.start))
        given = (*given, result, result._replace(gates=None))
        run = partial(on.backward, case.scan, needed)
    else:
        run = forward
    with jax.default_matmul_precision("highest"):
        jax.jit(run).lower(*of_shapes(given, lambda _: place)).compile()
    return streamed_bytes(jax.make_jaxpr(run)(*given).jaxpr)


def streamed_bytes(jaxpr):
    """The bytes a step of all arrays [T, B, n] of the kernel in a program: n is filled up to 128."""
    (kernel,) = (eqn for eqn in jaxpr.eqns if eqn.primitive.name == "pallas_call")
    arrays = [var.aval for var in (*kernel.invars, *kernel.outvars) if var.aval.ndim == 3]
    return sum(a.shape[1] * -(-a.shape[2] // 128) * 128 * a.dtype.itemsize for a in arrays)


def compile_both(shape, dtype, events, place):
    """A gradient of all operands, with all digits."""
    import jax
    import jax.numpy as jnp

    from jrnn.kernels.implementations.tpu import Tpu

    from ..kernels.cases import Case, make

    kind, sizes = shape.split("-")
    case = Case(kind, *map(int, sizes.split("x")), events)
    operands, flags = make(case, jnp.dtype(dtype))
    needed, on = jax.tree.map(lambda _: True, operands), Tpu(vmem=16 * 2**20)

    def both(operands, flags):
        result = on.forward(case.scan, operands, flags, True, True)
        return on.backward(case.scan, needed, operands, flags, result, result._replace(gates=None))

    with jax.default_matmul_precision("highest"):
        jax.jit(both).lower(*of_shapes((operands, flags), lambda _: place)).compile()


def of_shapes(tree, place):
    """Shapes in place of arrays, each where `place(array)` says."""
    import jax

    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place(a)), tree)


def bundles_of_loop(text):
    """The bundles of the innermost loop: from its line marked LB to the last with as many `>`.

    A bundle in between may have fewer, where it begins with what was moved in from outside.
    """
    lines = re.findall(r"^\s*0x([0-9a-f]+)\s+(\w\w)?\s*:?\s*(>*)", text, re.MULTILINE)
    bundles = [(int(address, 16), tag, len(depth)) for address, tag, depth in lines]
    deepest = max(depth for _, _, depth in bundles)
    (first,) = (address for address, tag, depth in bundles if tag == "LB" and depth == deepest)
    return max(address for address, _, depth in bundles if depth == deepest) - first + 1


def split_over(devices):
    """A gradient under plain `jit` and under `shard_map`, sequences on four chips."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from jrnn.kernels import IMPLEMENTATIONS
    from jrnn.kernels.implementations.tpu import Tpu

    from ..kernels.cases import Case, kernel, make

    IMPLEMENTATIONS["tpu"] = Tpu(vmem=128 * 2**20)
    case = Case("gru", 2, 20, 16, 3, 4, "lengths resets tap")
    given, run = make(case, jnp.float32), kernel(case.scan, name="tpu")
    mesh = Mesh(np.asarray(devices), ("b",))

    def loss(operands, events):
        return sum(jnp.sum(a**2) for a in jax.tree.leaves(run(operands, events)))

    def spec(array):
        return PartitionSpec(*("b" if n == case.rows else None for n in array.shape))

    mapped = jax.shard_map(
        lambda *given: jax.lax.psum(loss(*given), "b"),
        mesh=mesh,
        in_specs=jax.tree.map(spec, given),
        out_specs=PartitionSpec(),
    )
    for each in (loss, mapped):
        program = jax.jit(jax.grad(each)).lower(*of_shapes(given, lambda a: NamedSharding(mesh, spec(a)))).compile()
        text = program.as_text()
        assert text.count('custom_call_target="tpu_custom_call"') == 4 and "all-gather" not in text


if __name__ == "__main__":
    if sys.argv[1:] == ["--wheel"]:
        print(wheel())
    elif sys.argv[1:]:
        prove(*sys.argv[1:])
    elif why_not():
        print(f"TPU proofs skipped: {why_not()}")
    else:
        main()
