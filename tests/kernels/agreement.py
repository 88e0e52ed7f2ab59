"""A case of the table by the compiled kernel, values and every gradient, in every dtype it has."""

import jax
import jax.numpy as jnp
import numpy as np

from jrnn.kernels.implementations import reference

from .cases import close, cotangents_like, kernel, make, pulled
from .plain import gradients

TOLERANCES = {"float64": 1e-12, "float32": 2e-5}
"""In bfloat16 every state is rounded, in the spec's sums too: each array to 3 % of its norm."""


def check(case):
    """Against loops in float64; in bfloat16 against the spec. Rounding moves relu over its corner: float64 alone."""
    corner = case.kind.endswith(("relu", "positive"))
    for dtype in ("float64",) if corner else TOLERANCES:
        against_loops(case, jnp.dtype(dtype), TOLERANCES[dtype])
    if not corner:
        against_spec(case)


def against_loops(case, dtype, tol):
    operands, events = make(case, dtype)
    found, back = jax.vjp(lambda o: kernel(case.scan, name="native")(o, events), operands)
    cotangents = cotangents_like(found)
    grads = back(jax.tree.unflatten(jax.tree.structure(found), cotangents))[0]
    found, *given = jax.tree.map(lambda a: a.astype(jnp.float64), ((found, grads), operands, cotangents))
    close(found, gradients(case, given[0], events, given[1]), tol=tol)


def against_spec(case):
    operands, events = make(case, jnp.bfloat16)

    def spec(o, e):
        return reference.run(case.scan, o, e)

    cotangents = cotangents_like(jax.eval_shape(spec, operands, events))
    runs = kernel(case.scan, name="native"), spec
    both = (jax.jit(jax.grad(pulled(each, cotangents)))(operands, events) for each in runs)
    for a, b in zip(*map(jax.tree.leaves, both), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= 3e-2 * np.linalg.norm(b), case
