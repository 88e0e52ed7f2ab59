"""Cells and the combinators that stay causal.

The parameters of every cell, in one place. A cell with G gates has `w_in [F, G*H]`, `w_rec [H, G*H]` and one
`bias [G*H]`; block i (columns i*H to (i+1)*H) belongs to gate i, in PyTorch's order. PyTorch's matrices are the
transposes: w_in = weight_ih^T, w_rec = weight_hh^T.

    cell     gates       bias                      further
    elman    h           b_ih + b_hh
    lstm     i, f, g, o  b_ih + b_hh
    gru      r, z, n     b_ih + b_hh; n: b_ih      bias_rec [H] = n's b_hh, only with reset_after
    linear   h           b                         w_rec is the diagonal, [H]

Around them: `stack` a tuple, bottom first; `Bidirectional` {"forward", "backward"}; `layer_norm` {"cell", "scale",
"bias"}; `learnable_initial_state` {"cell", "initial_state"}; `residual`, `dropout`, `clip_state_gradient`,
`scale_gradient`, `h_detach`, `zoneout` and `teacher_forced` the cell's own; `dense` w [K, features], bias [features].
"""

from jrnn.cells import initializers as initializers
from jrnn.cells._advance import advance as advance
from jrnn.cells._advance import check_cell as check_cell
from jrnn.cells._advance import draw_noise as draw_noise
from jrnn.cells._advance import draws_noise as draws_noise
from jrnn.cells._advance import is_causal as is_causal
from jrnn.cells._advance import output_size as output_size
from jrnn.cells._base import check_key as check_key
from jrnn.cells._bidirectional import Bidirectional as Bidirectional
from jrnn.cells._bidirectional import BidirectionalState as BidirectionalState
from jrnn.cells._bidirectional import merge as merge
from jrnn.cells._clipping import ClipStateGradient as ClipStateGradient
from jrnn.cells._clipping import clip_state_gradient as clip_state_gradient
from jrnn.cells._clipping import clips_on_the_way_back as clips_on_the_way_back
from jrnn.cells._dense import Dense as Dense
from jrnn.cells._dense import dense as dense
from jrnn.cells._dropout import Dropout as Dropout
from jrnn.cells._dropout import dropout as dropout
from jrnn.cells._elman import Elman as Elman
from jrnn.cells._elman import ElmanState as ElmanState
from jrnn.cells._elman import elman as elman
from jrnn.cells._functions import FunctionCell as FunctionCell
from jrnn.cells._functions import StepCell as StepCell
from jrnn.cells._functions import from_functions as from_functions
from jrnn.cells._functions import from_step as from_step
from jrnn.cells._gate_names import Gates as Gates
from jrnn.cells._gates import bare_cells as bare_cells
from jrnn.cells._gates import gate_leaves as gate_leaves
from jrnn.cells._gradient_scaling import HDetach as HDetach
from jrnn.cells._gradient_scaling import ScaleGradient as ScaleGradient
from jrnn.cells._gradient_scaling import h_detach as h_detach
from jrnn.cells._gradient_scaling import scale_gradient as scale_gradient
from jrnn.cells._gru import GRU as GRU
from jrnn.cells._gru import GRUState as GRUState
from jrnn.cells._gru import gru as gru
from jrnn.cells._linear import Linear as Linear
from jrnn.cells._linear import LinearState as LinearState
from jrnn.cells._linear import linear as linear
from jrnn.cells._lstm import LSTM as LSTM
from jrnn.cells._lstm import LSTMState as LSTMState
from jrnn.cells._lstm import lstm as lstm
from jrnn.cells._numbers import check_number as check_number
from jrnn.cells._programs import jit_by_cell as jit_by_cell
from jrnn.cells._programs import program_of as program_of
from jrnn.cells._stack import Stack as Stack
from jrnn.cells._stack import stack as stack
from jrnn.cells._teacher_forcing import TeacherForced as TeacherForced
from jrnn.cells._teacher_forcing import teacher_forced as teacher_forced
from jrnn.cells._wrappers import LayerNorm as LayerNorm
from jrnn.cells._wrappers import LearnableInitialState as LearnableInitialState
from jrnn.cells._wrappers import Residual as Residual
from jrnn.cells._wrappers import Wrapper as Wrapper
from jrnn.cells._wrappers import layer_norm as layer_norm
from jrnn.cells._wrappers import learnable_initial_state as learnable_initial_state
from jrnn.cells._wrappers import residual as residual
from jrnn.cells._zoneout import Zoneout as Zoneout
from jrnn.cells._zoneout import zoneout as zoneout
