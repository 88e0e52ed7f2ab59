"""Time: a cell over a sequence, whole or step by step, and the gradients of a loss of it.

reading     the options of a run, read once into one record        step_rule     one step, as everything takes it
choice      which implementation a call takes                       layers        directions and stacks
scans       the scan over time, in segments                         kernel_calls  the same by one call of a kernel
gradients   the loss and all its gradients, dL/dh_t included        schedule      which steps happen
"""

from jrnn.unrolling.choice import Explanation as Explanation
from jrnn.unrolling.choice import explain as explain
from jrnn.unrolling.gradients import Gradients as Gradients
from jrnn.unrolling.gradients import state_gradients as state_gradients
from jrnn.unrolling.gradients import value_and_grads as value_and_grads
from jrnn.unrolling.layers import run as run
from jrnn.unrolling.reading import read as read
from jrnn.unrolling.records import Options as Options
from jrnn.unrolling.records import Unrolled as Unrolled
from jrnn.unrolling.records import ZeroTap as ZeroTap
from jrnn.unrolling.sequences import unroll as unroll
from jrnn.unrolling.streaming import step as step
