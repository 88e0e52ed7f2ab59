"""What figures draw, and where each quantity is found: in a result of jrnn, or in a diagnosis, by the stages' names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jrnn import cures
from jrnn.flow import FlowSummary, GradientFlow, LyapunovSpectrum, MeasuredSpectrum, WindowBands, WindowSpectrum
from jrnn.flow.curves import FlowCurves, flow_curves
from jrnn.flow.lyapunov.dataset_spectrum import over_sequences
from jrnn.flow.singular_values.window_quantiles import bands_of
from jrnn.flow.summary import singular_quantiles
from jrnn.flow.theory.network_theory import Expected
from jrnn.prescribing import DataLags, Prescription
from jrnn.report.diagnosis import ClippingProof, Diagnosis, shown_proof
from jrnn.report.training_facts import history_of, logged
from jrnn.training import Fitted
from jrnn.types import InputError

FLOWS = "a GradientFlow or a FlowSummary"


class Found(NamedTuple):
    """A quantity of one network."""

    of: Any
    """None where the result is of the right kind, and does not hold it."""
    lag: int | None = None
    """The lag that the task needs, where the result knows."""


class Spectrum(NamedTuple):
    """Exponents, and what theory expects of them."""

    measured: MeasuredSpectrum
    theory: tuple[Expected, ...] = ()


@dataclass(frozen=True)
class Quantity:
    """What some figures draw."""

    words: str
    """The results that hold it, for errors."""
    find: Callable[[Any], Found | None]
    """What a result holds of it; None for results of another kind."""
    within: Callable[[Diagnosis], Mapping[str, Any]]
    """Of a diagnosis the results, by name."""


def stages(diagnosis: Diagnosis) -> dict[str, Any]:
    """The flow of each stage."""
    return {stage.name: stage.flow for stage in diagnosis.stages}


def alone(value: Any) -> dict[str, Any]:
    """What has no name, if there is any."""
    return {} if value is None else {"": value}


def find_flow(value: Any) -> Found | None:
    """What arrives, by lag and by output."""
    if isinstance(value, FlowSummary | FlowCurves):
        return Found(value, value.lag)
    return Found(flow_curves(value)) if isinstance(value, GradientFlow) else None


def find_lag_norms(value: Any) -> Found | None:
    """What the weights hear of each lag."""
    flow = find_flow(value)
    return flow if flow is None or len(flow.of.lag_norms) else Found(None)


def find_gates(value: Any) -> Found | None:
    """The same, gate by gate."""
    flow = find_flow(value)
    return flow if flow is None or flow.of.lag_norms_by_gate else Found(None)


def find_windows(value: Any) -> Found | None:
    """The singular values of a way back, by lag."""
    if isinstance(value, FlowSummary):
        return Found(value.windows, value.lag)
    if isinstance(value, WindowSpectrum):
        return Found(bands_of(value) if np.size(value.log_singular_values) else None)
    return Found(value) if isinstance(value, WindowBands) else None


def find_singular_values(value: Any) -> Found | None:
    """[3, N] quantiles of the singular values of one step."""
    if isinstance(value, FlowSummary):
        return Found(value.singular_values if value.forward else None)
    square = isinstance(value, np.ndarray | jax.Array) and value.ndim > 1 and value.shape[-1] == value.shape[-2] > 0
    return Found(singular_quantiles(value)) if square else None


def find_spectrum(value: Any) -> Found | None:
    """The Lyapunov spectrum."""
    if isinstance(value, FlowSummary):
        return Found(None if value.spectrum is None else Spectrum(value.spectrum, value.theory), value.lag)
    if isinstance(value, LyapunovSpectrum):
        return Found(Spectrum(over_sequences(value)) if np.size(value.exponents) else None)
    return Found(Spectrum(value)) if isinstance(value, MeasuredSpectrum) else None


def find_history(column: str) -> Callable[[Any], Found | None]:
    """The history of a run that logged this quantity."""

    def find(value: Any) -> Found | None:
        if isinstance(value, Diagnosis):
            run = history_of(value)
        elif isinstance(value, Fitted):
            run = logged(value.history)
        elif is_history(value):
            run = logged({name: np.asarray(values) for name, values in value.items()})
        else:
            return None
        values = np.asarray(run.columns.get(column, ()), float)
        if values.ndim != 1:
            needed = "one number an update, [n]; `plot_over_seeds` draws ensembles"
            raise InputError("measured", f"{column!r} of shape {values.shape}", needed)
        return Found(run if np.any(~np.isnan(values)) or (len(values) and column != "delta_late") else None)

    return find


def is_history(value: Any) -> bool:
    """Whether it is a dict of columns, and not one of results by name."""
    return isinstance(value, Mapping) and all(
        isinstance(each, np.ndarray | jax.Array | list | tuple) and not hasattr(each, "_fields")
        for each in value.values()
    )


def find_proof(value: Any) -> Found | None:
    """What clipping does to the split by lag."""
    if isinstance(value, cures.ClippingProof):
        return Found(shown_proof(value))
    return Found(value) if isinstance(value, ClippingProof) else None


def find_race(value: Any) -> Found | None:
    """A race with curves."""
    return Found(value if value.curves else None) if isinstance(value, Prescription) else None


def find_data_lags(value: Any) -> Found | None:
    """The lag profile of the data."""
    if isinstance(value, Prescription):
        return find_data_lags(value.data_lags) or Found(None)
    return Found(value if len(value.windows) else None) if isinstance(value, DataLags) else None


FLOW = Quantity(FLOWS, find_flow, stages)
LAG_NORMS = Quantity(FLOWS, find_lag_norms, stages)
GATES = Quantity(FLOWS, find_gates, stages)
WINDOWS = Quantity("a WindowSpectrum, WindowBands or a FlowSummary", find_windows, stages)
SINGULAR_VALUES = Quantity("Jacobians [..., N, N] or a FlowSummary", find_singular_values, stages)
SPECTRUM = Quantity("a LyapunovSpectrum, a MeasuredSpectrum or a FlowSummary", find_spectrum, stages)
PROOF = Quantity("a ClippingProof", find_proof, lambda diagnosis: alone(diagnosis.clipping_proof))
RACE = Quantity("a Prescription", find_race, lambda diagnosis: alone(diagnosis.prescription))
DATA_LAGS = Quantity("a Prescription or DataLags", find_data_lags, lambda diagnosis: alone(diagnosis.prescription))


def history_with(column: str) -> Quantity:
    """The history of a run that logged this quantity."""
    words = f"a run's history (a dict of arrays, {column!r} among them) or a Fitted"
    return Quantity(words, find_history(column), alone)
