"""Why the gradient arrives or not, in sentences with the numbers behind them."""

from __future__ import annotations

import math

import numpy as np

from jrnn.flow.summary import FlowSummary
from jrnn.flow.verdicts.verdict import VANISHED
from jrnn.wording import half_life, nats, number, part_of, percentage, steps

GATES = {"f": "forget gate", "z": "update gate"}


def reasons(flow: FlowSummary) -> list[str]:
    """One sentence each: the best direction, the long run, the gates or the bound, and what the weights hear."""
    if not flow.lag or flow.verdict == "not finite":
        return []
    found = (_unknown(flow), _best(flow), _long_run(flow), *_gates(flow), _bound(flow), _heard(flow))
    return [text for text in found if text]


def _unknown(flow: FlowSummary) -> str:
    if flow.forward:
        return ""
    return (
        "The step cannot be differentiated forwards (it holds a jax.custom_vjp), so its Jacobians, and with them the "
        "singular values and Lyapunov exponents, could not be measured."
    )


def _best(flow: FlowSummary) -> str:
    windows = flow.windows
    if windows is None or flow.lag not in windows.lags:
        return ""
    row = int(np.flatnonzero(windows.lags == flow.lag)[0])
    logs = windows.log_singular_values[1, row]
    best = part_of(math.exp(min(logs[0], 700.0)), "its size")
    many = int((logs >= math.log(VANISHED)).sum())
    if not windows.complete and many == len(logs):
        keep = f"at least {many}"
    else:
        keep = "none" if many == 0 else f"{many}"
    limit = "No gradient can arrive larger than that."
    if flow.at_lag < VANISHED <= math.exp(min(logs[0], 700.0)):
        limit = f"What the errors send back lies mostly along the others: {percentage(flow.at_lag)} arrives."
        if flow.judgement.lost_on_entering:
            limit = f"Of what the errors send back, {percentage(flow.entry)} gets past the first step."
    return (
        f"Of the {windows.size} directions of the state, {keep} keep{'s' if many == 1 else ''} 1 % or more over "
        f"{steps(flow.lag)} in the typical sequence; the best keeps {best}. {limit}"
    )


def _long_run(flow: FlowSummary) -> str:
    found = flow.spectrum
    if found is None:
        return ""
    largest, error, need = float(found.exponents[0]), float(found.standard_errors[0]), math.log(VANISHED) / flow.lag
    if not math.isfinite(largest):
        return "The largest Lyapunov exponent is minus infinity: every direction dies at once."
    side = "above" if largest > need else "below"
    rate = f"halves in {steps(half_life(largest))}" if largest < 0 else "does not fade in the long run"
    return (
        f"The largest Lyapunov exponent is {nats(largest, error)} per step (the best direction {rate}), {side} the "
        f"{nats(need)} that leave 1 % over {steps(flow.lag)}."
    )


def _gates(flow: FlowSummary) -> list[str]:
    found = []
    for layer in flow.theory:
        if layer.gate:
            low, middle, high = (number(value) for value in layer.half_life_quantiles)
            where = f" of layer {layer.layer}" if layer.layer else ""
            found.append(
                f"The {GATES.get(layer.gate, layer.gate)}{where} alone halves what a typical unit holds "
                f"in {middle} steps (80 % of the units: {low} to {high})."
            )
    return found


def _bound(flow: FlowSummary) -> str:
    bounds = [layer.norm_gain for layer in flow.theory if not math.isnan(layer.norm_gain)]
    if len(bounds) != 1 or not 0 < bounds[0] < 1:
        return ""
    return (
        f"The norm of the recurrent weights allows a factor of at most {number(bounds[0])} a step, so the gradient "
        f"must vanish: at most {percentage(bounds[0] ** flow.lag)} can be left after {steps(flow.lag)}."
    )


def _heard(flow: FlowSummary) -> str:
    return f"95 % of what the weights hear comes from the last {steps(flow.effective_horizon)}."
