"""Predictions against the published spectra, closed forms and plain sampling."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import jrnn
from jrnn.flow import (
    critical_gain,
    gate_half_life,
    gaussian_product_errors,
    gaussian_product_exponents,
    mean_field,
    norm_bound,
)
from jrnn.flow.theory.network_theory import expected


@pytest.mark.parametrize(
    "gain, variance, largest, chi, mean",
    [(2.0, 2.12147, 0.15472, 1.36267, -1.14902), (3.0, 6.30539, 0.31025, 1.85986, -2.27281)],
)
def test_tanh_against_the_reference_values(gain, variance, largest, chi, mean):
    """The theory columns beside the published N = 4096 spectra (Clark 2026)."""
    found = mean_field(gain)
    np.testing.assert_allclose(found, (variance, chi, largest, mean), atol=1.01e-5)


def test_fixed_point_against_sampling():
    """q is what it maps to, with input, by Monte Carlo."""
    z = np.random.default_rng(0).normal(size=4_000_000)
    found = mean_field(1.3, 0.2)
    assert abs(1.69 * np.mean(np.tanh(np.sqrt(found.q) * z) ** 2) + 0.2 - found.q) < 2e-3
    assert abs(1.69 * np.mean(np.cosh(np.sqrt(found.q) * z) ** -4.0) - found.chi) < 2e-3


def test_criticality():
    np.testing.assert_allclose(critical_gain(), 1, atol=1e-9)
    np.testing.assert_allclose(critical_gain(activation="relu"), np.sqrt(2), atol=1e-9)
    assert critical_gain(0.1) > 1.2  # input saturates the units, so a larger gain is critical
    np.testing.assert_allclose(mean_field(critical_gain(0.1), 0.1).largest_exponent, 0, atol=1e-9)
    assert mean_field(0.5).q == 0 and np.isclose(mean_field(0.5).largest_exponent, np.log(0.5))
    relu = mean_field(1.0, 0.3, "relu")
    assert np.isclose(relu.q, 0.6) and np.isclose(relu.chi, 0.5) and np.isneginf(relu.mean_exponent)


def test_gaussian_products():
    """N = 8, 16, 64 from the published formula, and N = 1, where E ln|z| = -(ln 2 + Euler's gamma) / 2."""
    np.testing.assert_allclose(gaussian_product_exponents(8)[[0, -1]], [-0.06509, -1.67490], atol=1e-5)
    np.testing.assert_allclose(gaussian_product_exponents(16)[0], -0.031900, atol=1e-6)
    np.testing.assert_allclose(gaussian_product_exponents(64, 2.0)[0], np.log(2) - 0.007853, atol=1e-6)
    np.testing.assert_allclose(gaussian_product_exponents(1), -(np.log(2) + np.euler_gamma) / 2, atol=1e-12)


def test_norm_bound_has_its_two_directions():
    """Below 1 it must vanish; above 1 it can explode and need not: a nilpotent matrix of norm 5 dies in two steps."""
    small, nilpotent = 0.9 * np.eye(3), np.array([[0.0, 5.0], [0.0, 0.0]])
    assert norm_bound(small).must_vanish and not norm_bound(small).can_explode
    bound = norm_bound(nilpotent)
    assert bound.can_explode and not bound.must_vanish and np.all(nilpotent @ nilpotent == 0)
    assert np.isclose(norm_bound(3.9 * np.eye(2), "sigmoid").gain, 0.975)


def test_gate_half_life():
    gates = np.array([[0.5, 1.0, 0.25], [0.5, 1.0, 1.0]])
    np.testing.assert_allclose(gate_half_life(gates), [1.0, np.inf, 1.0])
    np.testing.assert_allclose(gate_half_life([[0.0, 0.9]]), [0.0, np.log(0.5) / np.log(0.9)])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: mean_field(0), "gain"),
        (lambda: mean_field(1, -1), "input_variance"),
        (lambda: mean_field(1, 0, "sigmoid"), "activation"),
        (lambda: norm_bound(np.zeros((2, 3))), "w_rec"),
        (lambda: norm_bound(np.diag([1.0, np.nan])), r"w_rec: got nan at \(1, 1\)"),
        (lambda: gate_half_life([[0.5], [1.5]]), r"gate: got 1.5 at \(1, 0\)"),
        (lambda: gate_half_life([[np.nan]]), r"gate: got nan at \(0, 0\)"),
        (lambda: gaussian_product_exponents(0), "size: got 0"),
        (lambda: gaussian_product_errors(3, 0), "factors: got 0"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(jrnn.InputError, match=words):
        call()


@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_gaussian_products_to_the_last_digits(size):
    """mpmath with 50 digits; about -1/(2 N) is left of logarithms of N."""
    mpmath = pytest.importorskip("mpmath")
    found, errors = gaussian_product_exponents(size, 0.5), gaussian_product_errors(size, 12)
    with mpmath.workdps(50):
        for i in {1, (size + 1) // 2, size}:
            x = mpmath.mpf(size - i + 1) / 2
            exact = mpmath.log(0.5) + (mpmath.log(mpmath.mpf(2) / size) + mpmath.digamma(x)) / 2
            np.testing.assert_allclose(found[i - 1], float(exact), rtol=0, atol=4e-15)
            np.testing.assert_allclose(errors[i - 1], float(mpmath.sqrt(mpmath.psi(1, x) / 48)), rtol=1e-13)


ALONE = """
import numpy as np, jax, jrnn
from jrnn.flow import gaussian_product_exponents, gaussian_product_errors, gate_half_life, norm_bound
from jrnn.flow.theory.network_theory import expected
assert not jax.config.jax_enable_x64
near = 1 - 2.0**-40
cell, bias = jrnn.lstm(1), np.repeat(np.float32([0, 20, 0, 0]), 1)
params = {"w_in": np.zeros((1, 4), np.float32), "w_rec": np.zeros((1, 4), np.float32), "bias": bias}
xs = np.zeros((3, 1, 1), np.float32)
states = jrnn.unroll(cell, params, xs, return_states=True).states
(lstm,) = expected(cell, params, xs, states, np.ones((3, 1), bool))
found = [gaussian_product_exponents(10**6)[0], gaussian_product_errors(7, 12)[3], gate_half_life([near])[0],
         norm_bound(np.diag([near, 0.5])).gain, lstm.half_lives[0]]
print(*(repr(float(x)) for x in found))
"""


def test_host_theory_is_in_float64_where_jax_is_not():
    """In float32, -6.2e-7 for -5.0e-7, and an infinite half-life for a gate of 1 - 2e-9."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    run = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, check=True)
    exponent, error, life, gain, learnt = map(float, run.stdout.split())
    # psi(m) = H_{m-1} - Euler's gamma, psi'(2) = pi^2 / 6 - 1
    exact = (math.log(2e-6) + math.fsum(1 / k for k in range(1, 500_000)) - np.euler_gamma) / 2
    np.testing.assert_allclose(exponent, exact, rtol=0, atol=4e-15)
    np.testing.assert_allclose(error, math.sqrt((math.pi**2 / 6 - 1) / 48), rtol=1e-13)
    np.testing.assert_allclose(life, math.log(0.5) / math.log1p(-(2.0**-40)), rtol=1e-12)
    np.testing.assert_allclose(gain, 1 - 2.0**-40, rtol=1e-15)
    np.testing.assert_allclose(learnt, math.log(2) / math.log1p(math.exp(-20)), rtol=1e-7)


def test_half_lives_of_a_leak_and_of_a_refined_gate():
    """ln 2 / -ln(1 - a) of each unit; of a refined gate without weights that of 2 r g + (1 - 2 r) g^2."""
    half = lambda keep: np.sort(np.log(2) / -np.log(keep))  # noqa: E731
    params = {"cell": {}, "theta": np.array([0.0, -3.0])}
    states, xs = jrnn.GRUState(np.zeros((2, 1, 2))), np.zeros((1, 1, 2))
    (found,) = expected(jrnn.leaky(jrnn.gru(2), 9), params, xs, states, np.ones((1, 1), bool))
    assert found.gate == "leak"
    np.testing.assert_allclose(found.half_lives, half(1 / (1 + np.exp([0.0, -3.0]))), rtol=1e-12)
    bias = np.array([0, 0, 1.0, 2.0, -1.0, 3.0, 0, 0])
    params = {"w_in": np.zeros((2, 8)), "w_rec": np.zeros((2, 8)), "bias": bias, "bias_rec": np.zeros(2)}
    (found,) = expected(jrnn.gru(2, refine=True), params, xs, states, np.ones((1, 1), bool))
    g, r = (1 / (1 + np.exp(-np.array(z))) for z in ([1.0, 2.0], [-1.0, 3.0]))
    np.testing.assert_allclose(found.half_lives, half(2 * r * g + (1 - 2 * r) * g**2), rtol=1e-12)
