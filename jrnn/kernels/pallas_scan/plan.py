"""How many sequences and time steps a kernel holds at once, from the VMEM that there is."""

from __future__ import annotations

from typing import Any, NamedTuple

from jrnn.kernels.pallas_scan.tiles import SUBLANES, rounded_up

MOST_ROWS = 128
"""Sequences that one step takes at once: each further tile of them shares the weights that the step has loaded."""
BLOCKS = (64, 32, 16, 8, 4, 2)
"""Time steps that stream in together: a block costs about a third of a microsecond besides."""
SHARE = 0.75
"""Of VMEM, for what a kernel is known to hold; the rest is for what the compiler keeps in between."""
MIB = 2**20


class Target(NamedTuple):
    """What a kernel is compiled for."""

    vmem: int
    """Bytes of VMEM."""
    interpret: Any
    """False on TPUs; on other platforms what Pallas's `interpret` takes."""


class Unfit(ValueError):
    """What the kernel cannot run, with the reason."""


class TooLarge(Unfit):
    """What a kernel must hold at once does not fit into VMEM."""


class Plan(NamedTuple):
    """The blocks of a kernel."""

    tile: int
    """Sequences in a block."""
    rows: int
    """Sequences of all blocks, those that fill the last one included."""
    block: int
    """Time steps in a block."""


def plan_for(held: int, of_row: int, of_step: int, rows: int, steps: int, vmem: int) -> Plan:
    """The largest blocks that fit.

    Args:
      held: bytes of the weights.
      of_row: bytes that a sequence takes in all: its state.
      of_step: bytes that a sequence takes at each step of a block, once; blocks are held twice, as the next one comes.
      rows, steps: B and T.
      vmem: bytes that there are.
    Raises:
      TooLarge: not even the smallest blocks fit; it tells the numbers.
    """
    budget, most, need = int(SHARE * vmem), MOST_ROWS, 0
    while True:
        tiles = -(-max(rows, 1) // most)
        tile = rounded_up(-(-max(rows, 1) // tiles), SUBLANES)
        for block in BLOCKS:
            block = min(block, steps)
            need = held + tile * (of_row + 2 * block * of_step)
            if need <= budget:
                return Plan(tile, tile * tiles, block)
        if most <= SUBLANES:
            break
        most //= 2
    raise TooLarge(
        f"the weights take {held / MIB:.1f} MiB and the smallest blocks {(need - held) / MIB:.1f} MiB, and "
        f"{budget / MIB:.1f} of the {vmem / MIB:.0f} MiB of VMEM are for them"
    )
