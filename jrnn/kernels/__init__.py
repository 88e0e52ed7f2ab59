"""FAST: recurrences over a whole sequence, arrays in and arrays out."""

from jrnn.kernels.choice import Explanation as Explanation
from jrnn.kernels.choice import explain as explain
from jrnn.kernels.problem import Events as Events
from jrnn.kernels.problem import Operands as Operands
from jrnn.kernels.problem import Outcome as Outcome
from jrnn.kernels.problem import Scan as Scan
from jrnn.kernels.problem import Weights as Weights
from jrnn.kernels.recurrences import RECURRENCES as RECURRENCES
from jrnn.kernels.recurrences import Recurrence as Recurrence
from jrnn.kernels.recurrences.dense import Dense as Dense
from jrnn.kernels.sequence import Problem as Problem
from jrnn.kernels.sequence import problem_of as problem_of
from jrnn.kernels.sequence import recur as recur
from jrnn.kernels.sequence import recur_all as recur_all
from jrnn.kernels.xla import step as step
