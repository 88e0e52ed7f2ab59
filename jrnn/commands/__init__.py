"""What the command line does: train, measure before and after, report, predict."""

from jrnn.commands.comparing import compare as compare
from jrnn.commands.diagnosing import diagnose as diagnose
from jrnn.commands.predicting import predict as predict
from jrnn.commands.prescribing import prescribe as prescribe
from jrnn.commands.running import train as train
