"""Every instrument in every dtype says what it says in float64 of the same numbers, to the rounding of that dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn

from .instruments import CELLS, INSTRUMENTS, OFTEN, ONCE, a_case, as_float64, in_float64

STEPS, A_STEP = 5, 4
"""Roundings of a step, forwards and back, relative to the largest number of an array."""
ROUNDING = ("sum_error", "coefficient_spread", "largest_difference")
"""Fields that are rounding, or the error of a sample: relative to 1 at least."""
OTHERS = [cell for cell in CELLS if cell != "gru"]
TABLE = [("gru", f.__name__) for f in (*OFTEN, *ONCE)]
TABLE += [(OTHERS[(2 * i + j) % len(OTHERS)], f.__name__) for i, f in enumerate(OFTEN) for j in range(2)]
"""Every instrument of one cell, and of the others two cells for each of those that are quick to compile."""


@pytest.fixture(autouse=True)
def hunting_nan():
    """As people have it who look for a NaN: none may come of finite data, in any dtype."""
    with jax.debug_nans(True):
        yield


@pytest.mark.parametrize("name, instrument", TABLE)
def test_every_dtype_says_what_float64_says(name, instrument):
    for dtype in ("float32", "bfloat16", "float16") if name == "gru" else ("bfloat16",):
        case = a_case(CELLS[name], dtype, STEPS)
        got = as_float64(INSTRUMENTS[instrument](case))
        true = as_float64(INSTRUMENTS[instrument](in_float64(case, CELLS[name])))
        assert got.keys() == true.keys()
        for field, exact in true.items():
            where = f"{dtype} {field}"
            assert not np.isnan(got[field]).any() and not np.isnan(exact).any(), where
            if "drawn" in field:
                continue
            size = np.abs(exact).max(initial=any(kind in field for kind in ROUNDING), where=exact < np.inf)
            within = A_STEP * STEPS * float(jnp.finfo(dtype).eps) * size
            np.testing.assert_allclose(got[field], exact, rtol=0, atol=within, err_msg=where)


@pytest.mark.thorough
@pytest.mark.parametrize("implementation", [None, "reference"])
@pytest.mark.parametrize("make", [jrnn.linear, lambda units, **o: jrnn.elman(units, "identity", **o)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_long_sums_in_16_bits(dtype, make, implementation):
    """300 lags of the same size: a bfloat16 running sum of them would stop growing at 256 times one of them."""
    cell, how = make(1, dtype=dtype), {"implementation": implementation}
    params = jax.tree.map(jnp.ones_like, cell.init(jax.random.key(0), 1)) | {"bias": jnp.zeros(1, dtype)}
    xs = jnp.zeros((300, 1, 1), dtype)
    assert jrnn.value_and_grads(cell, params, xs, lambda run: jnp.sum(run.last), **how)[1].params["bias"] == 300
    flow = jrnn.gradient_flow(cell, params, xs, lambda run: jnp.sum(run.last), **how)
    assert flow.lag_norms.dtype == jnp.float32 and flow.effective_horizon() == 284
    assert float(flow.sum_error) < float(jnp.finfo(dtype).eps) and flow.verdict(lag=299).caution == ""
    np.testing.assert_array_equal(flow.lag_norms, np.append(np.ones(300), 0))  # the bias hears 1 of each lag


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_of_many_16_bit_factors(dtype):
    """The logarithm of 0.75^300 to 1e-5 of itself: float32 carries it, though 0.75^300 is no float16."""
    J = jnp.full((300, 1, 1), 0.75, dtype)
    product = jrnn.scaled_jacobian_product(J, 0, 300)
    np.testing.assert_allclose(product.log_singular_values(), [300 * np.log(0.75)], rtol=1e-5)
    assert jrnn.jacobian_product(J, 0, 3).dtype == dtype and jrnn.jacobian_product(J, 0, 2)[0, 0] == 0.5625
