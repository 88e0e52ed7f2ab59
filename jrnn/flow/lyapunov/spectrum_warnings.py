"""When not to trust a Lyapunov spectrum, in sentences, from what was measured along the run. For the host."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jrnn.wording import number

SHORT = 1e-2
"""Standard errors above this, in nats per step, and above a tenth of the exponent are called too large."""


def reasons(fields: Mapping[str, np.ndarray]) -> list[str]:
    """The sentences for the fields of a `LyapunovSpectrum`; empty if nothing was found."""
    return [*not_finite(fields), *rounding(fields), *too_short(fields)]


def not_finite(fields: Mapping[str, np.ndarray]) -> list[str]:
    """The first state that is not finite, by time and unit; directions that overflowed although all states are."""
    sentences, at, finite = [], fields["broken_at"], fields["finite"]
    broken = np.argwhere(at >= 0)
    if len(broken):
        first = tuple(min(broken, key=lambda i: at[tuple(i)]).tolist())
        more = f"; {len(broken)} sequences in all" if len(broken) > 1 else ""
        sentences.append(
            f"states are not finite: h_{at[first]} is the first (t = {at[first]}, unit {fields['broken_unit'][first]}"
            f"{where(first)}{more}); only renewals before it count"
        )
    burst = ~finite & (at < 0)[None]
    if burst.any():
        n, *place = np.argwhere(burst)[0].tolist()
        sentences.append(
            f"directions are not finite from renewal {n + 1} of {len(finite)} on{where(tuple(place))} although the "
            "states are: they overflowed between two QR steps (take a smaller `every`), or the step has no derivative "
            "there"
        )
    idle = np.argwhere(~fields["counted"].any(axis=0))
    if len(idle):
        sentences.append(f"no step was counted{where(tuple(idle[0].tolist()))}: its exponents of 0 say nothing")
    return sentences


def rounding(fields: Mapping[str, np.ndarray]) -> list[str]:
    """Directions that fell below what the float can hold between two renewals."""
    sentences, exponents = [], fields["exponents"]
    eps = np.finfo(fields["log_r"].dtype).eps
    lost = ~fields["resolved"]
    if lost.any():
        sentences.append(
            f"exponents from number {first_column(lost)} on are rounding: between two QR steps their directions fell "
            "too far below the first for this float; take a smaller `every`, or float64"
        )
    dead = np.isneginf(exponents)
    if dead.any() and eps > 1e-10:
        sentences.append(
            f"exponents from number {first_column(dead)} on are -inf in {fields['log_r'].dtype}, which cannot tell a "
            f"direction that dies from one that shrinks to less than {eps:.0e} in a step; float64 can"
        )
    return sentences


def too_short(fields: Mapping[str, np.ndarray]) -> list[str]:
    """Standard errors too large for the exponents to mean much."""
    errors = fields["standard_errors"]
    counts = np.any(fields["counted"], axis=0)[..., None]
    loose = np.logical_and(errors > np.maximum(0.1 * np.abs(fields["exponents"]), SHORT), counts)
    if not loose.any():
        return []
    worst = errors[loose].max()
    shown = (
        f"standard errors up to {number(worst)} nats per step" if np.isfinite(worst) else "it gives no standard errors"
    )
    return [f"too short a run: {shown}"]


def where(place: tuple[int, ...]) -> str:
    """Which sequence, or nothing where there is but one."""
    return f", sequence {place[0] if len(place) == 1 else place}" if place else ""


def first_column(flags: np.ndarray) -> int:
    """One more than the first index of the last axis with a flag in any sequence."""
    return int(np.argmax(flags.reshape(-1, flags.shape[-1]).any(axis=0))) + 1
