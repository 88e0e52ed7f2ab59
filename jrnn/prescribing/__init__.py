"""FIX, measured: races cures against a network as it is, on a user's own data."""

from jrnn.prescribing.data_lags import DataLags
from jrnn.prescribing.prescription import prescribe
from jrnn.prescribing.result import Best, Prescription, Row

__all__ = ["Best", "DataLags", "Prescription", "Row", "prescribe"]
