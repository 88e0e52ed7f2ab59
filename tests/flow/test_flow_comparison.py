"""`compare` is `summarise`, network by network, in one table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.flow import summarise
from jrnn.types import InputError
from tests.report.results import stands_for

CELL, T, S, LAG = jrnn.elman(3), 7, 4, 5
XS = jnp.asarray(np.random.default_rng(0).normal(size=(T, S, 2)))


def loss(head, run):
    return jnp.sum((run.last @ head) ** 2)


def weights(scale):
    params = CELL.init(jax.random.key(0), 2)
    return {**params, "w_rec": scale * params["w_rec"]}


HEADS = jnp.ones((3, 1)), jnp.array([[1.0], [0.0], [2.0]])


@pytest.fixture(scope="module")
def found():
    networks = {
        "small": (CELL, weights(0.1)),
        "large": (CELL, weights(0.9), HEADS[1]),
        "loaded": stands_for(CELL, weights(0.9), HEADS[1]),
    }
    return jrnn.compare(networks, XS, loss, lag=LAG, loss_params=HEADS[0])


def test_each_network_is_summarised(found):
    """With the head it brings, or the one that all share."""
    assert list(found.summaries) == ["small", "large", "loaded"] and found.lag == LAG
    for name, scale, head in (("small", 0.1, HEADS[0]), ("large", 0.9, HEADS[1]), ("loaded", 0.9, HEADS[1])):
        alone = summarise(CELL, weights(scale), XS, loss, loss_params=head, lag=LAG, why=False)
        np.testing.assert_array_equal(found.summaries[name].arriving, alone.arriving)
        assert found.summaries[name].judgement == alone.judgement
    # every step's Jacobian is at most as large as w_rec, which is orthogonal times the scale
    small, large, _ = found.rows
    assert small.arriving <= 0.1**LAG * (1 + 1e-9) < large.arriving <= 0.9**LAG
    assert small.growth <= np.log(0.1) and small.reach <= 2 and not small.reach_is_bound


def test_it_prints_as_its_table(found):
    head, *lines = repr(found).splitlines()
    assert head.split("  ")[0] == "" and f"arrives at lag {LAG}" in head and head.endswith("verdict")
    assert [line.split()[0] for line in lines] == ["small", "large", "loaded"]
    for line, row in zip(lines, found.rows, strict=True):
        assert line.endswith(row.verdict) and f"{row.growth:+.3f} nats" in line
    assert str(found) == repr(found) and "np." not in repr(found.rows)


@pytest.mark.parametrize(
    "networks, words",
    [
        ({}, "networks: got an empty dict"),
        ([(CELL, None)], "networks: got a list"),
        ({"a": CELL}, "'a': a Elman"),
        ({"a": (CELL,)}, "'a': a tuple of 1"),
        ({"a": (None, None)}, "'a': a tuple of 2"),
    ],
)
def test_what_is_no_network_is_refused(networks, words):
    with pytest.raises(InputError, match=words):
        jrnn.compare(networks, XS, loss, lag=LAG)


def test_an_error_names_the_network():
    with pytest.raises(InputError, match=r"^lag: got 9 \(network 'a'\); need a lag from 0 to T - 1 = 6$"):
        jrnn.compare({"a": (CELL, weights(1.0))}, XS, loss, lag=9)
