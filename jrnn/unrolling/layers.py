"""What is made of cells: both directions of a sequence, and stacks, layer by layer or as one cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from jrnn.cells import Bidirectional, BidirectionalState, Stack, merge, program_of
from jrnn.types import Inputs, Params, State
from jrnn.unrolling.choice import CELL_SCAN, Explanation, choose_for
from jrnn.unrolling.kernel_calls import Run, scan_together, share_one_call
from jrnn.unrolling.records import Options, Unrolled
from jrnn.unrolling.scans import scan
from jrnn.unrolling.states import filled, has_gaps, own_state

STATES = ("initial_state", "reset_state", "state_tap")


def run(cell: Any, params: Params, xs: Inputs, options: Options, choice: Explanation | None = None) -> Unrolled:
    """`unroll` with options that were read, time on axis 0: what is no cell by itself goes to its parts."""
    choice = choose_for(cell, params, xs, options) if choice is None else choice
    if isinstance(cell, Bidirectional):
        return run_both(cell, params, xs, options, choice)
    if isinstance(cell, Stack) and not (cell.causal and choice.chosen == CELL_SCAN):
        return run_layers(cell, params, xs, options, choice)
    return scan(cell, params, xs, compiled_alike(cell, params, options), choice.chosen)


def run_both(cell: Bidirectional, params: Params, xs: Inputs, options: Options, choice: Explanation) -> Unrolled:
    """One direction reads forwards, the other backwards; each has its part of every state."""
    keys = (None, None) if options.key is None else jax.random.split(options.key)
    ways = (("forward", options.reverse, keys[0]), ("backward", not options.reverse, keys[1]))
    parts = cell.parts(params)
    sides = [
        (*parts[side], xs, own_options(options, side, reverse=way, key=key), choice.parts[side])
        for side, way, key in ways
    ]
    if any(isinstance(cell, Bidirectional | Stack) for cell, *_ in sides):
        return side_by_side(*(run(*side) for side in sides))
    runs = [Run(*side[:3], compiled_alike(side[0], side[1], side[3]), side[4].chosen) for side in sides]
    if not share_one_call(*runs):
        return side_by_side(*(scan(*each) for each in runs))
    cells, arguments = tuple(program_of(each.cell) for each in runs), [(each.params, each.options) for each in runs]
    return side_by_side(*scan_together(cells, runs[0].implementation, xs, *arguments))


def side_by_side(ahead: Unrolled, back: Unrolled) -> Unrolled:
    """The results of both directions as one."""
    return Unrolled(
        outputs=merge(ahead.outputs, back.outputs),
        final_state=BidirectionalState(ahead.final_state, back.final_state),
        states=None if ahead.states is None else BidirectionalState(ahead.states, back.states),
        mask=ahead.mask,
        last=merge(ahead.last, back.last),
    )


def run_layers(cell: Stack, params: Params, xs: Inputs, options: Options, choice: Explanation) -> Unrolled:
    """A stack with a layer that reads the future, or that a kernel takes, layer by layer."""
    layers: list[Unrolled] = []
    for i, (layer, own) in enumerate(cell.layers(params)):
        key = None if options.key is None else jax.random.fold_in(options.key, i)
        inside = options.inside_stack or (cell.causal and i < len(cell.cells) - 1)
        of_layer = own_options(options, i, key=key, inside_stack=inside)
        layers.append(run(layer, own, xs, of_layer, choice.parts[f"layer {i}"]))
        xs = layers[-1].outputs
    return layers[-1]._replace(
        final_state=tuple(layer.final_state for layer in layers),
        states=tuple(layer.states for layer in layers) if options.return_states else None,
    )


def compiled_alike(cell: Any, params: Params, options: Options) -> Options:
    """The options of a scan, without those that the scan does not read and that would make it compile anew."""
    start = options.initial_state
    if has_gaps(start):
        start = filled(start, own_state(cell, params, options.batch_shape))
    return replace(options, initial_state=start, implementation=None, time_axis=0)


def own_options(options: Options, part: str | int, **changes: Any) -> Options:
    """The options of one direction or layer, with its part of every state."""
    given = {name: getattr(options, name) for name in STATES}

    def own(state: State) -> State:
        return getattr(state, part) if isinstance(part, str) else state[part]

    states = {name: None if state is None else own(state) for name, state in given.items()}
    return replace(options, **states, **changes)
