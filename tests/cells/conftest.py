"""These tests compile hundreds of small programs and run each once: XLA's optimisations would cost more than they save.

They are switched off for this folder only; the tests of the other rooms run programs as users do.
"""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
