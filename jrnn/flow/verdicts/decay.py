"""What the first step back loses once, and what every later step loses: two things that one ratio cannot tell apart.

The gradient of an LSTM's output enters the memory c through the output gate o and tanh, and is then kept by the forget
gate f alone: (1 - tanh(c)^2) o f^lag arrives. Only f fades with the lag. A loss like that on entering is a constant;
spread over the lag it would pass for a faster fading, and a memory that halves in 37 steps for one that halves in 16.
"""

from typing import NamedTuple

from jrnn.flow.verdicts.arrival import Arrival, Ratio

LATE = 8
"""From this lag on the growth is taken over the further half of the way back; below, over all but the first step."""


class Decay(NamedTuple):
    """Ratios of what is left at some lags, of the outputs and sequences that have a way back of `lag` steps."""

    entry: Ratio
    """What the first step leaves."""
    later: Ratio
    """What the `steps` later steps leave that the growth is taken over."""
    steps: int
    of_entered: Ratio
    """What is left at `lag`, had the first step taken no more than a later one: arriving / (entry e^-growth)."""


def decay(arrival: Arrival, lag: int) -> Decay:
    """How the loss over a way back of `lag` steps splits into that on entering and that of later steps; at lag 1 there
    is nothing to split."""
    sent = min(arrival.base, lag)
    first = min(sent + 1, lag)
    start = lag // 2 if lag >= LATE else first if lag > first else sent
    entry, later, steps = ((first, sent, 1.0),), ((lag, start, 1.0),), lag - start
    of_entered = ((lag, first, 1.0), (lag, start, 1 / steps)) if lag > first else arrival.plain(lag)
    return Decay(entry, later, steps, of_entered)


def judged_share(arriving: float, entry: float, of_entered: float) -> float:
    """The share that vanishing is judged by: what arrives, or, if that is more, the smaller of what enters and what of
    it arrives.

    A loss of the first step alone is thus no vanishing while at least 1 % is left of it; nor does it help to keep well
    what never entered.
    """
    return max(arriving, min(entry, of_entered))
