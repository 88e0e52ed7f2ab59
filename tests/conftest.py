"""Strict JAX, two CPU devices, and the fixtures every test may use."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)

# these tests compile hundreds of small programs and run each once; the others run programs as users do
COMPILED_ONCE = {"cells", "flow", "gradients", "unrolling", "test_telemetry", "test_clipping_proof"}


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation(request):
    """Switches off XLA optimisations that would cost those tests more than they save."""
    before = jax.config.read("jax_disable_most_optimizations")
    once = {request.path.parent.name, request.path.stem} & COMPILED_ONCE
    jax.config.update("jax_disable_most_optimizations", bool(once))
    yield
    jax.config.update("jax_disable_most_optimizations", before)
