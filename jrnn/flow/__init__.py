"""SEE: where the gradient goes. Numbers only; figures are in `jrnn.report`."""

from jrnn.flow.credit import GradientFlow as GradientFlow
from jrnn.flow.credit import gradient_flow as gradient_flow
from jrnn.flow.jacobian import ScaledProduct as ScaledProduct
from jrnn.flow.jacobian import jacobian_product as jacobian_product
from jrnn.flow.jacobian import jacobians as jacobians
from jrnn.flow.jacobian import scaled_jacobian_product as scaled_jacobian_product
from jrnn.flow.spectrum import LyapunovSpectrum as LyapunovSpectrum
from jrnn.flow.spectrum import lyapunov_spectrum as lyapunov_spectrum
from jrnn.flow.summary import FlowSummary as FlowSummary
from jrnn.flow.summary import summarise as summarise
from jrnn.flow.theory import MeanField as MeanField
from jrnn.flow.theory import NormBound as NormBound
from jrnn.flow.theory import critical_gain as critical_gain
from jrnn.flow.theory import gate_half_life as gate_half_life
from jrnn.flow.theory import gaussian_product_errors as gaussian_product_errors
from jrnn.flow.theory import gaussian_product_exponents as gaussian_product_exponents
from jrnn.flow.theory import mean_field as mean_field
from jrnn.flow.theory import norm_bound as norm_bound
