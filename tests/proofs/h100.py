"""Compiles a training gradient, or the forward pass alone, for an H100 that is not there, and prints what the program
launches, one a line.

    python -m tests.proofs.h100 CELL IMPLEMENTATION STEPS [forward]

Run as a process of its own: XLA reads where to write its programs when it starts, and LLVM may end the process.
"""

import os
import sys
import tempfile
from pathlib import Path

TARGET = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448 cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 12 } runtime_version { major: 13 minor: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def launches(cell, implementation, steps, what="gradient"):
    """The lines of XLA's list of what it launches."""
    dump = tempfile.mkdtemp()
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_dump_to={dump} --xla_dump_hlo_as_text"}
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies

    import jrnn
    from jrnn.kernels import IMPLEMENTATIONS
    from jrnn.kernels.cuda.gpu import Gpu, handlers
    from jrnn.kernels.cuda.plan import Target
    from jrnn.kernels.implementations import cuda, native
    from jrnn.kernels.implementations.xla import Xla

    class H100(Gpu):
        backend = "cpu"  # on which this process itself runs
        target = staticmethod(lambda: Target((9, 0)))
        missing = staticmethod(lambda: None)
        code = staticmethod(lambda plan: b"machine code")

    jax.ffi.register_ffi_target(Gpu.call, handlers(native.library()), platform="CUDA")
    name = cuda.CUDA.name
    IMPLEMENTATIONS[name] = cuda.Cuda(H100)
    IMPLEMENTATIONS["xla"] = Xla(few_launches=True)  # as it runs where the backend is a GPU
    topology = topologies.get_topology_desc(platform=name, target_config=TARGET, topology="1x1x1")
    mesh = jax.sharding.Mesh(topology.devices[:1], ("one",))
    placed = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    cell = getattr(jrnn, cell)(256, dtype="bfloat16")
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 64))
    xs = jax.ShapeDtypeStruct((steps, 16, 64), jnp.bfloat16)

    def forward(params, xs):
        return jrnn.unroll(cell, params, xs, implementation=implementation).outputs

    def loss(params, xs):
        return jnp.sum(forward(params, xs).astype(jnp.float32) ** 2)

    given = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=placed), (params, xs))
    jax.jit(forward if what == "forward" else jax.grad(loss)).lower(*given).compile()
    return max(Path(dump).glob("*thunk_sequence.txt"), key=os.path.getmtime).read_text()


if __name__ == "__main__":
    print(launches(*sys.argv[1:3], int(sys.argv[3]), *sys.argv[4:]))
