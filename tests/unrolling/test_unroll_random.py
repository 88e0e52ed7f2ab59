"""Hypothesis draws shapes, lengths, resets, mask, direction, truncation and rematerialisation together."""

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jrnn.cells import elman, gru, lstm

from .brute_force import compare, make

CELLS = (elman, gru, lstm)


@st.composite
def cases(draw):
    steps, features = draw(st.integers(0, 6)), draw(st.integers(1, 3))
    batch = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    flags = st.one_of(st.none(), arrays(bool, (steps, *batch)))
    return {
        "cell": draw(st.sampled_from(CELLS))(draw(st.integers(1, 4))),
        "features": features,
        "steps": steps,
        "batch": batch,
        "lengths": draw(st.one_of(st.none(), arrays(np.int64, batch, elements=st.integers(0, steps)))),
        "resets": draw(flags),
        "mask": draw(flags),
        "reverse": draw(st.booleans()),
        "truncate": draw(st.one_of(st.none(), st.integers(1, 7))),
        "remat": draw(st.sampled_from([None, "step", "sqrt", 1, 2, 3, 7])),
        "unroll": draw(st.sampled_from([1, 2])),
        "seed": draw(st.integers(0, 99)),
    }


@pytest.mark.thorough
@settings(max_examples=14, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_any_schedule_equals_the_oracle(case):
    case = dict(case)
    cell, params = make(case.pop("cell"), case.pop("features"))
    size = jax.tree.leaves(params["w_in"])[0].shape[0]
    xs = np.random.default_rng(case["seed"]).normal(size=(case["steps"], *case["batch"], size))
    compare(cell, params, xs, **case)
