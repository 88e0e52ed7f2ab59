"""jrnn: recurrent networks for JAX that show where the gradient goes, mend it, and run at the speed of the hardware."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from jrnn import cures as cures
from jrnn import flow as flow
from jrnn import kernels as kernels
from jrnn.cells import AntisymmetricState as AntisymmetricState
from jrnn.cells import Bidirectional as Bidirectional
from jrnn.cells import BidirectionalState as BidirectionalState
from jrnn.cells import CoRNNState as CoRNNState
from jrnn.cells import ElmanState as ElmanState
from jrnn.cells import GatedState as GatedState
from jrnn.cells import GRUState as GRUState
from jrnn.cells import IndRNNState as IndRNNState
from jrnn.cells import LEMState as LEMState
from jrnn.cells import LinearState as LinearState
from jrnn.cells import LRUState as LRUState
from jrnn.cells import LSTMState as LSTMState
from jrnn.cells import UnICORNNState as UnICORNNState
from jrnn.cells import antisymmetric as antisymmetric
from jrnn.cells import cornn as cornn
from jrnn.cells import dense as dense
from jrnn.cells import dropout as dropout
from jrnn.cells import elman as elman
from jrnn.cells import from_functions as from_functions
from jrnn.cells import from_step as from_step
from jrnn.cells import gru as gru
from jrnn.cells import indrnn as indrnn
from jrnn.cells import initializers as initializers
from jrnn.cells import layer_norm as layer_norm
from jrnn.cells import leaky as leaky
from jrnn.cells import learnable_initial_state as learnable_initial_state
from jrnn.cells import lem as lem
from jrnn.cells import linear as linear
from jrnn.cells import lru as lru
from jrnn.cells import lstm as lstm
from jrnn.cells import min_gru as min_gru
from jrnn.cells import min_lstm as min_lstm
from jrnn.cells import mixed_precision as mixed_precision
from jrnn.cells import orthogonal_map as orthogonal_map
from jrnn.cells import output_size as output_size
from jrnn.cells import residual as residual
from jrnn.cells import rg_lru as rg_lru
from jrnn.cells import stack as stack
from jrnn.cells import unicornn as unicornn
from jrnn.cells import zoneout as zoneout
from jrnn.cures import ClippingProof as ClippingProof
from jrnn.cures import ClipState as ClipState
from jrnn.cures import SkipState as SkipState
from jrnn.cures import clip_by_global_norm as clip_by_global_norm
from jrnn.cures import clip_state_gradient as clip_state_gradient
from jrnn.cures import clipping_proof as clipping_proof
from jrnn.cures import skip_nonfinite as skip_nonfinite
from jrnn.flow import Comparison as Comparison
from jrnn.flow import FlowSummary as FlowSummary
from jrnn.flow import GradientFlow as GradientFlow
from jrnn.flow import LyapunovSpectrum as LyapunovSpectrum
from jrnn.flow import ScaledProduct as ScaledProduct
from jrnn.flow import WindowSpectrum as WindowSpectrum
from jrnn.flow import compare as compare
from jrnn.flow import condition_number as condition_number
from jrnn.flow import gradient_flow as gradient_flow
from jrnn.flow import jacobian_product as jacobian_product
from jrnn.flow import jacobians as jacobians
from jrnn.flow import lyapunov_spectrum as lyapunov_spectrum
from jrnn.flow import scaled_jacobian_product as scaled_jacobian_product
from jrnn.flow import spectral_radius as spectral_radius
from jrnn.flow import window_singular_values as window_singular_values
from jrnn.types import Cell as Cell
from jrnn.types import InputError as InputError
from jrnn.types import ravel_state as ravel_state
from jrnn.unrolling import Gradients as Gradients
from jrnn.unrolling import Unrolled as Unrolled
from jrnn.unrolling import state_gradients as state_gradients
from jrnn.unrolling import step as step
from jrnn.unrolling import unroll as unroll
from jrnn.unrolling import value_and_grads as value_and_grads

if _TYPE_CHECKING:
    from jrnn import data as data
    from jrnn import interop as interop
    from jrnn import report as report
    from jrnn import training as training
    from jrnn.prescribing import Prescription as Prescription
    from jrnn.prescribing import prescribe as prescribe
    from jrnn.training import probe as probe

__version__ = _version("jrnn")

_LATER = {"prescribe": "prescribing", "Prescription": "prescribing", "probe": "training"}
_ROOMS = ("cells", "cures", "data", "flow", "initializers", "interop", "kernels", "report", "training")


def __getattr__(name: str) -> _Any:
    """The rooms that a first gradient does not need are imported when they are first asked for."""
    if name in _ROOMS:
        return _import_module(f"jrnn.{name}")
    if name in _LATER:
        return getattr(_import_module(f"jrnn.{_LATER[name]}"), name)
    raise AttributeError(f"module 'jrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names and the rooms, without the modules behind them."""
    public = [name for name, value in globals().items() if name[0] != "_" and not isinstance(value, _ModuleType)]
    return sorted([*public, *_ROOMS, *_LATER, "__version__"])
