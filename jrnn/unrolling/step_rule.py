"""One step as `unroll` takes it, for everything that steps a cell: the scan, the recursion over lags, the Jacobians.

In this order: a cut stops the gradient into h_{t-1}, a reset puts the reset state in its place, a step that does not
happen is shown zeros, holds the state and gives the output zero.

The kernels have this rule a second time, on purpose: they are compared with it. What it means for J_t where no step is
taken (I where nothing happens, 0 after a reset) stands in `flow/jacobian/steps.py`, beside the closed forms, and in
`flow/singular_values/tangent_transport.py`.
"""

from typing import Any, NamedTuple

import jax

from jrnn.numerics import select
from jrnn.types import Array, Inputs, Params, State
from jrnn.unrolling.schedule import Schedule, zero_unless


class Entered(NamedTuple):
    """A step about to be taken: what the cell's functions are given."""

    cell: Any
    params: Params
    state: State
    """h_{t-1} after cut and reset [*B, ...]."""
    x: Inputs
    """x_t, zeros where the step does not happen: padding may hold NaN, and 0 * NaN would reach the gradient."""
    valid: Array | None
    """[*B] of bool: the step happens."""
    noise: dict[str, Any]
    """The cell's noise as a keyword argument, {} without."""

    def after(self) -> State:
        """h_t."""
        return hold(self.valid, self.cell.step(self.params, self.state, self.x, **self.noise), self.state)

    def output(self, after: State) -> Any:
        """y_t, read from `after` (h_t), or from the state entered with where the cell says so."""
        reads = self.state if reads_previous(self.cell) else after
        y = self.cell.output(self.params, reads, self.x, **self.noise)
        return y if self.valid is None else zero_unless(self.valid, y)


def enter(
    cell: Any, params: Params, state: State, x: Inputs, now: Schedule, reset_state: State, noise: Any = None
) -> Entered:
    """The step from h_{t-1} and x_t, where `now` is the schedule at t (fields [*B], or scalars).

    `noise` is what `draw_noise` gives; `reset_state` is read only where `now` has resets.
    """
    if now.cuts is not None:
        state = select(now.cuts, jax.lax.stop_gradient(state), state)
    if now.resets is not None:
        state = select(now.resets, reset_state, state)
    if now.valid is not None:
        x = zero_unless(now.valid, x)
    return Entered(cell, params, state, x, now.valid, {} if noise is None else {"noise": noise})


def hold(valid: Array | None, after: Any, before: Any) -> Any:
    """`after` where the step happens, `before` where not; of tangents too, for dh_t/dh_{t-1} = I there."""
    return after if valid is None else select(valid, after, before)


def reads_previous(cell: Any) -> bool:
    """Whether y_t is read from h_{t-1}."""
    return getattr(cell, "reads_previous", False)
