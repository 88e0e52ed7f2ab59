"""FIX, measured: races cures against a network as it is, on a user's own data."""

from jrnn.prescribing.prescription import prescribe
from jrnn.prescribing.result import Best, Prescription, Row

__all__ = ["Best", "Prescription", "Row", "prescribe"]
