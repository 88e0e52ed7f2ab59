"""Cells and the combinators that stay causal.

The parameters of every cell, in one place. A cell with G gates has `w_in [F, G*H]`, `w_rec [H, G*H]` and one
`bias [G*H]`; block i (columns i*H to (i+1)*H) belongs to gate i, in PyTorch's order. PyTorch's matrices are the
transposes: w_in = weight_ih^T, w_rec = weight_hh^T.

    cell     gates       bias                      further
    elman    h           b_ih + b_hh               rotation [H (H - 1) / 2] for w_rec with `orthogonal_map`,
                                                   offset [H] with modReLU
    lstm     i, f, g, o  b_ih + b_hh
    gru      r, z, n     b_ih + b_hh; n: b_ih      bias_rec [H] = n's b_hh, only with reset_after
    refined  i, f, g, o, refine and r, z, refine, n: `lstm` and `gru` with refine=True
    linear   h           b                         w_rec is the diagonal, [H]
    min_gru  z, n        b                         no w_rec, as the gates of these three read x alone
    min_lstm f, i, n     b
    rg_lru   i, n, r     b                         decay [H]

`lru` has w_in [F, 2H] and w_out [2H, K] (real and imaginary parts), nu, theta, gamma [H] and skip [F, K].

Around them: `stack` a tuple, bottom first; `Bidirectional` {"forward", "backward"}; `layer_norm` {"cell", "scale",
"bias"}; `learnable_initial_state` {"cell", "initial_state"}; `leaky` {"cell", "theta"}; `residual`, `dropout`,
`zoneout`, `scale_gradient`, `h_detach`, `clip_state_gradient`, `mixed_precision` and `teacher_forced` the cell's own;
`dense` w [K, features] and bias [features].
"""

from jrnn.cells import initializers as initializers
from jrnn.cells._advance import advance as advance
from jrnn.cells._advance import check_cell as check_cell
from jrnn.cells._advance import draw_noise as draw_noise
from jrnn.cells._advance import draws_noise as draws_noise
from jrnn.cells._advance import is_causal as is_causal
from jrnn.cells._advance import output_size as output_size
from jrnn.cells._advance import prepared as prepared
from jrnn.cells._advance import prepared_shapes as prepared_shapes
from jrnn.cells._antisymmetric import Antisymmetric as Antisymmetric
from jrnn.cells._antisymmetric import AntisymmetricState as AntisymmetricState
from jrnn.cells._antisymmetric import antisymmetric as antisymmetric
from jrnn.cells._base import check_key as check_key
from jrnn.cells._bidirectional import Bidirectional as Bidirectional
from jrnn.cells._bidirectional import BidirectionalState as BidirectionalState
from jrnn.cells._bidirectional import merge as merge
from jrnn.cells._clipping import ClipStateGradient as ClipStateGradient
from jrnn.cells._clipping import clip_state_gradient as clip_state_gradient
from jrnn.cells._clipping import clips_on_the_way_back as clips_on_the_way_back
from jrnn.cells._cornn import CoRNN as CoRNN
from jrnn.cells._cornn import CoRNNState as CoRNNState
from jrnn.cells._cornn import cornn as cornn
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
from jrnn.cells._gated import GatedState as GatedState
from jrnn.cells._gated_states import GRUState as GRUState
from jrnn.cells._gated_states import LSTMState as LSTMState
from jrnn.cells._gates import bare_cells as bare_cells
from jrnn.cells._gates import gate_leaves as gate_leaves
from jrnn.cells._gradient_scaling import HDetach as HDetach
from jrnn.cells._gradient_scaling import ScaleGradient as ScaleGradient
from jrnn.cells._gradient_scaling import h_detach as h_detach
from jrnn.cells._gradient_scaling import scale_gradient as scale_gradient
from jrnn.cells._gru import GRU as GRU
from jrnn.cells._gru import gru as gru
from jrnn.cells._indrnn import IndRNN as IndRNN
from jrnn.cells._indrnn import IndRNNState as IndRNNState
from jrnn.cells._indrnn import indrnn as indrnn
from jrnn.cells._leaky import Leaky as Leaky
from jrnn.cells._leaky import leaky as leaky
from jrnn.cells._lem import LEM as LEM
from jrnn.cells._lem import LEMState as LEMState
from jrnn.cells._lem import lem as lem
from jrnn.cells._linear import Linear as Linear
from jrnn.cells._linear import LinearState as LinearState
from jrnn.cells._linear import linear as linear
from jrnn.cells._lru import LRU as LRU
from jrnn.cells._lru import LRUState as LRUState
from jrnn.cells._lru import lru as lru
from jrnn.cells._lstm import LSTM as LSTM
from jrnn.cells._lstm import lstm as lstm
from jrnn.cells._min_gru import MinGRU as MinGRU
from jrnn.cells._min_gru import min_gru as min_gru
from jrnn.cells._min_lstm import MinLSTM as MinLSTM
from jrnn.cells._min_lstm import min_lstm as min_lstm
from jrnn.cells._mixed_precision import MixedPrecision as MixedPrecision
from jrnn.cells._mixed_precision import mixed_precision as mixed_precision
from jrnn.cells._numbers import check_number as check_number
from jrnn.cells._orthogonal import OrthogonalMap as OrthogonalMap
from jrnn.cells._orthogonal import orthogonal_map as orthogonal_map
from jrnn.cells._programs import jit_by_cell as jit_by_cell
from jrnn.cells._programs import program_of as program_of
from jrnn.cells._refined import RefinedGRU as RefinedGRU
from jrnn.cells._refined import RefinedLSTM as RefinedLSTM
from jrnn.cells._rg_lru import RGLRU as RGLRU
from jrnn.cells._rg_lru import rg_lru as rg_lru
from jrnn.cells._stack import Stack as Stack
from jrnn.cells._stack import stack as stack
from jrnn.cells._teacher_forcing import TeacherForced as TeacherForced
from jrnn.cells._teacher_forcing import teacher_forced as teacher_forced
from jrnn.cells._unicornn import UnICORNN as UnICORNN
from jrnn.cells._unicornn import UnICORNNState as UnICORNNState
from jrnn.cells._unicornn import unicornn as unicornn
from jrnn.cells._wrappers import LayerNorm as LayerNorm
from jrnn.cells._wrappers import LearnableInitialState as LearnableInitialState
from jrnn.cells._wrappers import Residual as Residual
from jrnn.cells._wrappers import Wrapper as Wrapper
from jrnn.cells._wrappers import layer_norm as layer_norm
from jrnn.cells._wrappers import learnable_initial_state as learnable_initial_state
from jrnn.cells._wrappers import residual as residual
from jrnn.cells._zoneout import Zoneout as Zoneout
from jrnn.cells._zoneout import zoneout as zoneout
