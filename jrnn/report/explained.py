"""The page's fixed sentences: what it is about, what to try, and what the words mean."""

from __future__ import annotations

import math

from jrnn.flow.summary import FlowSummary
from jrnn.flow.verdicts.verdict import VANISHED

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
        "Percent and times",
        "Shares have two digits, 36 %, small ones with a power of ten: 3.4e-04 % is 0.00034 %. From tenfold on they "
        "are told in times: 31 times. A range at 99.5 % confidence misses the truth in 1 of 200 measurements.",
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
        "enters; growth and half-life are those of the steps after the first. That 36 % of what entered arrives is "
        "a share of a share: where the first step leaves 16 % and each later one 90 %, what entered is 16 % / 0.9 = "
        "18 %, and 36 % of 18 %, 6.4 % of the whole, arrives.",
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
