"""Parameter dtypes: the state and the output follow them; 16-bit cells add up in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.cells import draws_noise
from tests.cells.cases import Case

MAKE = {
    "elman": lambda **o: jrnn.elman(5, **o),
    "lstm": lambda **o: jrnn.lstm(5, **o),
    "gru": lambda **o: jrnn.gru(5, **o),
    "gru_before": lambda **o: jrnn.gru(5, reset_after=False, **o),
    "linear": lambda **o: jrnn.linear(5, **o),
    "cornn": lambda **o: jrnn.cornn(5, **o),
    "unicornn": lambda **o: jrnn.unicornn(5, **o),
    "lem": lambda **o: jrnn.lem(5, **o),
    "antisymmetric": lambda **o: jrnn.antisymmetric(5, **o),
    "indrnn": lambda **o: jrnn.indrnn(5, t_max=9, **o),
    "min_gru": lambda **o: jrnn.min_gru(5, **o),
    "min_lstm": lambda **o: jrnn.min_lstm(5, **o),
    "rg_lru": lambda **o: jrnn.rg_lru(5, **o),
    "lru": lambda **o: jrnn.lru(5, **o),
    "layer_norm": lambda **o: jrnn.layer_norm(jrnn.gru(5, **o), on="hidden"),
    "stack": lambda **o: jrnn.stack(jrnn.residual(jrnn.elman(3, **o)), jrnn.layer_norm(jrnn.lstm(5, **o))),
    "dropout": lambda **o: jrnn.dropout(jrnn.lstm(5, **o), outputs=0.5, recurrent=0.5),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", MAKE)
def test_state_and_output_follow_the_parameters(name, dtype):
    cell = MAKE[name](dtype=dtype)

    def run(key, x):
        params = cell.init(key, 3)
        state = cell.initial_state(params, (2,))
        return params, state, jrnn.step(cell, params, state, x, key=key if draws_noise(cell) else None)

    # inputs of any floating dtype are taken and cast
    for given in ("float16", "bfloat16", "float32", "float64"):
        found = jax.eval_shape(run, jax.random.key(0), jax.ShapeDtypeStruct((2, 3), given))
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}


def test_default_dtype_is_that_of_jax():
    params = jrnn.lstm(3).init(jax.random.key(0), 2)
    assert params["w_in"].dtype == jnp.zeros(()).dtype == jnp.float64
    with jax.enable_x64(False):
        assert jrnn.lstm(3).init(jax.random.key(0), 2)["w_in"].dtype == jnp.float32


@pytest.mark.parametrize("dtype, bits", [("bfloat16", 8), ("float16", 11), ("float32", 24)])
@pytest.mark.parametrize("name", [name for name in MAKE if name not in ("layer_norm", "stack", "dropout")])
def test_one_rounding_away_from_float64(name, dtype, bits):
    """The step of a 16-bit cell is the float64 step of the same numbers, rounded at the end."""
    wide = Case("", MAKE[name](), 40, 0, 0)
    cell, x = MAKE[name](dtype=dtype), wide.inputs((3,)).astype(dtype)
    params, state = jax.tree.map(lambda a: (0.5 * a).astype(dtype), (wide.params(), wide.state((3,))))
    got = cell.step(params, state, x)
    exact = wide.cell.step(*jax.tree.map(lambda a: a.astype(np.float64), (params, state, x)))
    unit = 2.0**-bits
    # rounded once more, before a product: r * h of the reset-before GRU, the new z of LEM, M - M^T
    slack = {"float32": 16, "float16": 1.1, "bfloat16": 1.1}[dtype] + (
        4 if name in ("gru_before", "lem", "antisymmetric") else 0
    )
    for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(exact), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype(np.float64), e, rtol=slack * unit, atol=slack * unit / 4)


def test_sums_are_not_rounded_on_the_way():
    """256 + 1 is not a bfloat16 (it rounds to 256), yet 256 + 1 - 256 = 1 comes out."""
    for make in (jrnn.linear, lambda h, **o: jrnn.elman(h, "identity", **o)):
        cell = make(1, dtype="bfloat16")
        params = jax.tree.map(jnp.ones_like, cell.init(jax.random.key(0), 2)) | {"bias": jnp.full(1, -256, "bfloat16")}
        start = cell.initial_state(params, ())
        after = cell.step(params, start, jnp.array([256.0, 1.0], "bfloat16"))
        np.testing.assert_array_equal(after.h, jnp.ones(1, "bfloat16"))


def test_long_sums_of_small_terms_arrive():
    """A bfloat16 running sum of ones stops at 256; here 1,024 of them arrive, in the cell and in the readout."""
    cell = jrnn.elman(1, "identity", w_in=jax.nn.initializers.ones, dtype="bfloat16")
    params, x = cell.init(jax.random.key(0), 1024), jnp.ones(1024, "bfloat16")
    assert cell.step(params, cell.initial_state(params, ()), x).h[0] == 1024
    head = jrnn.dense(1, w=jax.nn.initializers.ones, dtype="bfloat16")
    logits = head(head.init(jax.random.key(0), 1025), jnp.ones(1025, "bfloat16"))
    assert logits.dtype == jnp.float32 and logits[0] == 1025  # 1,025 is no bfloat16


def test_layer_norm_works_in_float32():
    """The mean of many 16-bit values is taken in float32, or it would stick."""
    norm = jrnn.layer_norm(jrnn.elman(1024, dtype="bfloat16"))
    h = np.random.default_rng(0).normal(10, 1, 1024).astype(jnp.bfloat16)
    y = norm.output(
        {"cell": None, "scale": jnp.ones(1024, "bfloat16"), "bias": jnp.zeros(1024, "bfloat16")},
        jrnn.ElmanState(jnp.asarray(h)),
        None,
    )
    wide = h.astype(np.float64)
    exact = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float64), exact, rtol=2.0**-8 + 1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64"])
@pytest.mark.parametrize("make", [jrnn.elman, jrnn.lstm, jrnn.gru, jrnn.linear, jrnn.min_gru, jrnn.lru])
def test_inputs_that_are_no_floats(make, dtype):
    cell = make(3)
    params = cell.init(jax.random.key(0), 2)
    with pytest.raises(jrnn.InputError, match=f"^xs: got dtype {dtype}; need floating-point values"):
        jrnn.unroll(cell, params, jnp.ones((5, 2), dtype))
    with pytest.raises(jrnn.InputError, match=f"^xs: got dtype {dtype}"):
        jrnn.step(cell, params, cell.initial_state(params, ()), jnp.ones(2, dtype))


@pytest.mark.parametrize("dtype", ["int32", int, "complex64", "string", "float33", [2]], ids=str)
def test_parameter_dtypes_that_are_no_floats(dtype):
    gated = jrnn.min_gru, jrnn.min_lstm, jrnn.rg_lru, jrnn.lru
    for make in (jrnn.elman, jrnn.lstm, jrnn.gru, jrnn.linear, *gated, jrnn.dense):
        with pytest.raises(jrnn.InputError, match="^dtype: got .*need a floating dtype"):
            make(3, dtype=dtype)


def test_float64_parameters_need_x64():
    """JAX would warn and give float32; with warnings as errors the wish is not dropped in silence."""
    with jax.enable_x64(False), pytest.warns(UserWarning, match="float64"):
        jrnn.elman(3, dtype="float64").init(jax.random.key(0), 2)
