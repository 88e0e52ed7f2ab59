"""What the figures of the gradient's way show: a sentence or two for the page, and the alternative text."""

from __future__ import annotations

import math

import numpy as np

from jrnn.flow.judging import VANISHED
from jrnn.report.diagnosis import Diagnosis
from jrnn.report.exponents_figure import expectations
from jrnn.report.unrolled_figure import boxes, followed
from jrnn.wording import nats, number, part_of, steps


def unrolled_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """The unrolled network."""
    shown = (
        "The network at one step after another, from left to right. The arrows are the gradient of an output on its "
        "way back, in the typical sequence: the thicker, the more arrives (the percentage under each box; the scale is "
        "logarithmic). Where an arrow is a dotted line, practically nothing is left to learn from. The green box is "
        "where the way that the task needs ends."
    )
    alt = []
    for stage in diagnosis.stages:
        t, fractions = followed(stage.flow)
        first = int(boxes(t, stage.flow.lag)[0])
        alt.append(f"{stage.name}: {part_of(fractions[first], f'the gradient of output {t}')} arrives at h_{first}")
    return shown, f"The network unrolled, arrows back as thick as the gradient is strong. {'; '.join(alt)}."


def credit_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """The credit map."""
    few = max(stage.flow.outputs for stage in diagnosis.stages) == 1
    each = "The strip is" if few else "Each row is"
    shown = (
        f"{each} one output: the colour says how strongly its error pulls on the state at each earlier step, from the "
        "right (the output itself) to the left (long ago). An even colour means that all the past is heard; a colour "
        "that fades to the left means that only the last steps are."
    )
    alt = "; ".join(f"{s.name}: at most {number(s.flow.credit.max(initial=0))}" for s in diagnosis.stages)
    return shown, f"Size of the gradient of each output with respect to each state. {alt}."


def heard_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """What the weights hear."""
    shown = (
        "The same question asked of the weights: the part of their gradient that comes from so many steps back. "
        f"{_sum(diagnosis)} The triangle is the lag by which 95 % of them are summed: what lies further back hardly "
        "moves the weights."
    )
    alt = "; ".join(f"{s.name}: 95 % from the last {steps(s.flow.effective_horizon)}" for s in diagnosis.stages)
    return shown, f"Norm of the parameter gradient from each lag. {alt}."


def _sum(diagnosis: Diagnosis) -> str:
    """What the parts add up to; what to add where only some outputs were followed."""
    caution = next((s.flow.judgement.caution for s in diagnosis.stages if s.flow.judgement.caution), "")
    if caution:
        return caution
    flow = diagnosis.stages[-1].flow
    said = f"; here they are estimated from {flow.outputs} outputs, spread evenly over all; the band is their error"
    return f"The parts add up to the gradient that training uses{'' if flow.exact else said}."


def gates_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """Gates and paths."""
    flow = diagnosis.stages[-1].flow
    paths = (
        " Below, the two ways back, each alone: h, which every step squeezes through the gates, and c, the memory that "
        "the forget gate keeps. Where c lies higher, the memory carries the gradient."
        if flow.arriving_by_state
        else ""
    )
    shown = f"Which gate's weights hear how far back: the gradient of each gate's weights, lag by lag.{paths}"
    alt = ", ".join(f"{gate} {number(np.asarray(norms)[0])}" for gate, norms in flow.lag_norms_by_gate.items())
    return shown, f"Norm of each gate's parameter gradient by lag. At lag 0: {alt}."


def bands_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """Singular values of ways back."""
    shown = (
        "A way back of many steps stretches some directions of the state and shrinks others; a straight line down is "
        "a loss of the same share at every step. The thick line is the direction that gets through best: no gradient "
        "can arrive larger, whatever the error. If it lies under the green mark at the lag needed, less than 1 % can "
        "arrive. A few directions far above the rest mean that only what lies along them is remembered."
    )
    alt = []
    for stage in diagnosis.stages:
        windows = stage.flow.windows
        if windows is not None:
            best = part_of(float(np.exp(min(windows.largest[-1], 700.0))), "its size")
            alt.append(f"{stage.name}: the best direction keeps {best} over {steps(int(windows.lags[-1]))}")
    return shown, f"Singular values of the Jacobian of the way back, against the lag. {'; '.join(alt)}."


def lyapunov_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """The spectrum with theory."""
    last = diagnosis.stages[-1].flow
    need = math.log(VANISHED) / last.lag if last.lag else 0.0
    shown = (
        "Lyapunov exponents are the growth per step of each direction in the long run: above 0 it explodes, below it "
        f"fades. To keep 1 % over {steps(last.lag)} it takes at least {nats(need)} per step, the green line. "
    )
    if not math.isnan(expectations(last.theory)[0]):
        shown += (
            "On the right, theory beside measurement: what a large network with random Gaussian weights of the same "
            "size would do with these data (diamonds; orthogonal or trained weights may differ from it, in the mean "
            "above all), and the bound that no direction can pass, from the norm of the weights (arrow). "
        )
    elif last.theory:
        shown += "The thin dotted curve is what the gate that keeps the state would do to each unit alone. "
    found = last.spectrum
    if found is not None and found.warnings:
        shown += f"Not to be trusted to the last digit, {'; '.join(found.warnings)}."
    alt = "; ".join(
        f"{s.name}: largest {s.flow.spectrum.exponents[0]:+.3f} ± {s.flow.spectrum.standard_errors[0]:.3f}"
        for s in diagnosis.stages
        if s.flow.spectrum is not None
    )
    return shown.strip(), f"Lyapunov exponents in nats per step, largest first. {alt}."


def proof_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """Clipping is a bandage: the sentence stands also where there is no figure."""
    shown = (
        "Clipping to a global norm multiplies the part from every lag by the same number, so it moves no information "
        "between lags: their shares are the same before and after, and what vanished stays vanished. It keeps a large "
        "update from doing damage, no more; the cure is another start, another cell or another step."
    )
    proof = diagnosis.clipping_proof
    if proof is None:
        return shown, ""
    found = number(proof.largest_difference)
    shown += (
        f" The figure shows it on a real batch: before and after the two differ by {found} at most. Clipping each "
        "step's gradient on its way back is another thing: it changes what each lag says."
    )
    return shown, f"Split of the gradient by lag before and after clipping. They differ by {found} at most."
