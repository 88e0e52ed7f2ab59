"""The page's sentences: what each figure shows and how to read it, what to try, and what the words mean."""

from __future__ import annotations

import math

import numpy as np

from jrnn.flow.judging import VANISHED
from jrnn.flow.summary import FlowSummary
from jrnn.report.diagnosis import Diagnosis, Stage
from jrnn.report.facts import clipping_facts, measured
from jrnn.wording import listed, number, percentage, score, steps

INTRO = (
    "A recurrent network reads a sequence one step at a time and remembers what it read in its state. To learn from "
    "something it saw long ago, the training signal (the gradient) must travel back over all the steps in between, "
    "and at each step it shrinks or grows. This page shows how much of it arrives."
)

GLOSSARY = (
    (
        "Gradient",
        "The training signal: how a small change of the network's state would change the error. Weights learn from it.",
    ),
    ("Lag", "A distance back in time, in steps: from the step of an output to an earlier step."),
    (
        "Fraction that arrives",
        "The size of the gradient of one output, followed back by some lag, divided by its size at the output "
        "itself. Each output is followed on its own: adding all of them up would hide that the part from far back "
        "is gone.",
    ),
    (
        "Nats per step",
        "The growth on a logarithmic scale: 0 keeps the size, -0.1 shrinks it by about 10 % each step, -0.69 halves "
        "it.",
    ),
    (
        "J_t and its singular values",
        "J_t = dh_t/dh_{t-1} says how the state before a step changes the state after it. Its singular values are "
        "the factors by which it stretches (above 1) or shrinks (below 1) the gradient, one for each direction.",
    ),
    (
        "Vanishing, exploding",
        "Vanishing: under 1 % of the gradient arrives at the lag the task needs, and that is not the doing of the "
        "first step alone. Exploding: it arrives over 100 times as large. Either is said only if the whole interval "
        "of confidence lies there.",
    ),
    (
        "What enters",
        "The first step back can cost more than later ones, once: the gradient of an LSTM's output must pass the "
        "output gate to enter the memory. A memory that keeps what entered is not vanishing, unless under 1 % "
        "enters; growth and half-life are those of the steps after the first.",
    ),
)

ADVICE = {
    "vanishing": "What happened that long ago hardly moves the weights, so the network can hardly learn from it. "
    "What often helps: a cell with gates (LSTM or GRU), or recurrent weights that start orthogonal or as the "
    "identity.",
    "exploding": "One unusual sequence can move the weights very far. Clipping keeps the updates bounded; smaller "
    "recurrent weights, an orthogonal start or a cell with gates (LSTM or GRU) treat the cause.",
    "healthy": "The training signal reaches as far back as the task needs, so the network can learn from it.",
    "chaotic": "The states stay bounded, but two that differ slightly part ever faster, and the gradient grows with "
    "them at every lag: training sees noise from far back, not a signal. Smaller recurrent weights, an orthogonal "
    "start or a cell with gates take the network out of chaos; clipping keeps the updates bounded meanwhile.",
    "both": "In most sequences what happened that long ago hardly moves the weights, and in a few it moves them far "
    "too much. Clipping bounds the few; for the others a cell with gates or an orthogonal start is needed.",
    "transient growth": "The gradient first grows and is then lost: the strongest voice is not the last step, nor the "
    "one that the task needs. An orthogonal start keeps its size at every lag.",
    "undecided": "The measurement cannot tell on which side of the boundary the network lies. Measure on more "
    "sequences, or at another lag.",
    "not finite": "Numbers overflowed. Lower the learning rate, clip the gradient, or start with smaller "
    "recurrent weights.",
}


def advice(flow: FlowSummary) -> str:
    """What the verdict means for training and what often helps; a cell that has gates is not told to get some."""
    if not flow.lag:
        return ""
    if flow.verdict == "vanishing" and flow.entry < VANISHED <= flow.of_entered:
        return (
            "Hardly any of the gradient gets past the first step back, so the weights learn from the last step alone. "
            "What often helps in an LSTM: an output gate that starts open (a bias above 0), and a memory so small that "
            "its tanh does not saturate."
        )
    if flow.verdict == "vanishing" and flow.lag_norms_by_gate:
        bias = f"ln({flow.lag}) = {math.log(flow.lag):.1f}" if flow.lag > 2 else "1"
        return (
            "What happened that long ago hardly moves the weights, so the network can hardly learn from it. What often "
            "helps: let the gate that keeps the state (the forget gate of an LSTM, the update gate of a GRU) start "
            f"open, with a bias of up to {bias} (jrnn.initializers.chrono)."
        )
    return ADVICE[flow.verdict]


def lag_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """What the lag figure shows, and its alternative text."""
    lag = diagnosis.stages[-1].flow.lag
    shown = (
        "The curve starts at 1, where the error is measured, and shows what is left of the gradient after so many "
        "steps back. Where it falls below the dotted line, less than 1 % arrives (the dot marks the last lag above "
        f"it). The green line is at {steps(lag)}, the lag the task needs: the closer to 1 a curve crosses it, the "
        "better the network can learn from that far back. The scale is logarithmic, so a straight line down is a "
        "loss of the same share at every step; a drop at the first step alone is lost only once. The line is the "
        "median sequence; the band holds 80 % of them."
    )
    alt = "; ".join(
        f"{s.name}: {percentage(s.flow.at_lag)} arrives at lag {lag}, 1 % reaches {_reach(s)}" for s in diagnosis.stages
    )
    return shown, f"Fraction of the gradient that arrives against the lag. {alt}."


def singular_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """What the figure of singular values shows, and its alternative text."""
    shown = (
        "A step treats each direction of the state differently; here are its factors, from the strongest direction "
        "to the weakest. Above the dotted line at 1 a direction grows in one step, below it shrinks. The steps "
        "multiply: what keeps 0.9 of its size at each of 64 steps ends with 0.1 %. The line is the median over "
        "time, the band holds 80 % of the steps."
    )
    alt = "; ".join(f"{s.name}: largest {number(s.flow.singular_values[1].max(initial=0))}" for s in diagnosis.stages)
    return shown, f"Singular values of the Jacobian of one step, largest first, median over time. {alt}."


def clipping_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """What the figure of clipping shows, and its alternative text."""
    facts = clipping_facts(diagnosis)
    median, largest = number(facts.norm_median), number(facts.norm_largest)
    norms = f"The gradient norm before clipping had the median {median} and reached {largest}."
    if facts.max_norm is None:
        did = f"Nothing was clipped: max_norm is not set. Each point is the size of one update's gradient. {norms}"
    else:
        limit = number(facts.max_norm)
        did = (
            f"Each point is the size of one update's gradient. Those above the dashed line (max_norm = {limit}) were "
            f"scaled down to it: {percentage(facts.clipped_share)} of {facts.updates:,} updates. {norms}"
        )
    why = (
        "Clipping multiplies the whole gradient by one number. It keeps a large update from doing damage, but it "
        "moves no information between lags: what vanished stays vanished."
    )
    skipped = f" {facts.skipped:,} updates were skipped because a number was not finite." if facts.skipped else ""
    return f"{did} {why}{skipped}", f"Gradient norm of each update. {norms}"


def telemetry_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """What the figure of the gradient during training shows, and its alternative text."""
    shown = (
        "For updates spread over the training: the size of the gradient with respect to the state over the last tenth "
        "of each sequence (near the error) and over the first tenth (far back), and below it the growth per step "
        "between the two. Close together means that the training signal gets through; far apart, that it vanishes "
        "(early below late) or explodes. Where every step has an error of its own, early steps also collect the pull "
        "of all later ones."
    )
    last = int(np.flatnonzero(measured(diagnosis.history))[-1])
    late, early = (float(diagnosis.history[f"delta_{name}"][last]) for name in ("late", "early"))
    end = f"At the end: {number(early)}, {number(late)}."
    return shown, f"Gradient early and late in the sequences during training. {end}"


def training_text(diagnosis: Diagnosis) -> tuple[str, str]:
    """What the figure of training shows, and its alternative text."""
    scores = listed(f"{name} {score(name, value)}" for name, value in diagnosis.stages[-1].scores.items())
    measures = (
        "loss (the error) should fall and the accuracy rise"
        if "accuracy" in diagnosis.history
        else "loss (the error) should fall"
    )
    shown = (
        f"The {measures}. Faint lines are single updates, strong lines their running mean, both on the data the "
        "network trained on. The numbers in the table are on held-out data, which it never saw."
    )
    return shown, f"Training curves. On held-out data at the end: {scores}."


def _reach(stage: Stage) -> str:
    return f"{'at least ' if stage.flow.reach_is_bound else ''}{steps(stage.flow.reach)} back"
