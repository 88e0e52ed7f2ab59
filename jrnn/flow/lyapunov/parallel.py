"""Whether all steps could be solved at once: what a spectrum says of Newton's method over time. For the host."""

from __future__ import annotations

import math

from jrnn.wording import nats, number

SLOW = 10.0
"""Time constants in a sequence below which the state keeps much of its memory and Newton's method takes many turns."""


def parallel_sentence(exponent: float, error: float, overshoot: float, steps: int) -> str:
    """Whether Newton's method on h_t - f(h_{t-1}, x_t) = 0 for all t (DEER) would converge, and why.

    The problem's condition is bounded by the overshoot a of the products of Jacobians and by lambda, the largest
    exponent: sqrt(mu) >= (e^lambda - 1) / (a (e^(lambda T) - 1)), independent of T for lambda < 0, exponentially bad in
    T for lambda > 0 (arXiv 2508.16817).

    Args:
      exponent, error: the largest exponent and its standard error, nats per step.
      overshoot: ln a, nats.
      steps: T.
    """
    known = f"the largest exponent is {nats(exponent)} per step"
    if math.isfinite(error) and error > 0:
        known += f" (standard error {number(error)})"
    grown = (
        f" Products of Jacobians first grow {number(math.exp(overshoot))} times." if overshoot > math.log(10) else ""
    )
    margin = 2 * error if math.isfinite(error) else math.inf
    name = "Newton's method over all steps at once (DEER)"
    if exponent == -math.inf or exponent + margin < 0:
        if exponent == -math.inf or -exponent * steps > SLOW * (1 + max(overshoot, 0.0)):
            return f"{name} should converge in turns whose number does not grow with T: {known}.{grown}"
        return (
            f"{name} should converge, but slowly: {known}, so the state remembers much of all {steps:,} steps.{grown}"
        )
    if exponent - margin > 0:
        return f"{name} would not converge: {known}, so its condition grows like e^(lambda T).{grown}"
    return f"Whether {name} would converge cannot be told: {known}.{grown}"
