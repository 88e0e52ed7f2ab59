"""These tests compile many small programs and run each once."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def compiled_once(quick_compilation):
    """Switches off XLA optimisations that would cost more than they save."""
    jax.config.update("jax_disable_most_optimizations", True)  # `quick_compilation` puts it back
