"""SEE: where the gradient goes. Numbers only; figures are in `jrnn.report`."""

from jrnn.flow.credit import GradientFlow as GradientFlow
from jrnn.flow.credit import gradient_flow as gradient_flow
from jrnn.flow.jacobian import ScaledProduct as ScaledProduct
from jrnn.flow.jacobian import jacobian_product as jacobian_product
from jrnn.flow.jacobian import jacobians as jacobians
from jrnn.flow.jacobian import scaled_jacobian_product as scaled_jacobian_product
from jrnn.flow.summary import FlowSummary as FlowSummary
from jrnn.flow.summary import summarise as summarise
