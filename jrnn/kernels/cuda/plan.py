"""The sizes of a device kernel: chosen for a recurrence, a number of units, a storage format and an architecture.

`plan.cuh` says what each means; `shared` and `threads` are the formulas of the .cuh files, which the compiler checks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

STORAGE = {"bfloat16": ("jrnn::Bfloat16", 2), "float32": ("jrnn::Float32", 4)}
"""The C++ type and the bytes of a number, by dtype."""

SHARED = {
    (8, 0): 166_912,
    (8, 6): 101_376,
    (8, 7): 166_912,
    (8, 9): 101_376,
    (9, 0): 232_448,
    (10, 0): 232_448,
    (10, 3): 232_448,
    (12, 0): 101_376,
    (12, 1): 101_376,
}
"""Bytes of shared memory that a block may have, by compute capability: CUDA C++ Programming Guide, table of technical
specifications."""

LARGE_CLUSTERS = ((9, 0), (10, 0), (10, 3))
"""Where a cluster may have 16 blocks, if the program asks for it."""

GATES = (1, 1, 1, 4, 3, 3)
"""By the recurrence's number, its `native`."""
BLOCKS = (1, 1, 1, 4, 4, 3)
"""Those of dz that a backward pass leaves: a gate's each, and of the GRU what meets its candidate's product with h."""
LSTM, GRU, GRU_BEFORE = 3, 4, 5

FRAGMENTS = {("forward", 1): 136, ("forward", 2): 64, ("backward", 1): 96, ("backward", 2): 32}
"""Registers of a thread that may hold weights, of 255, by direction and tiles; the others are for sums and gates."""
FRAGMENTS_OF_MANY = 32
"""The same where a block has more than 8 warps, of 128."""


class Target(NamedTuple):
    """A GPU, as far as the sizes depend on it."""

    capability: tuple[int, int]
    """Its compute capability, (9, 0) of an H100."""
    processors: int = 132
    """How many blocks run at the same time: its streaming multiprocessors."""

    def __str__(self) -> str:
        return ".".join(map(str, self.capability))


@dataclass(frozen=True)
class Plan:
    """A kernel's sizes."""

    direction: str
    """forward or backward."""
    kind: int
    """The recurrence's number."""
    dtype: str
    products: int
    """How many products of TF32 make one of float32: 3, or 1 where that precision will do; 1 in bfloat16."""
    units: int
    """H."""
    cluster: int
    """Blocks that share a tile of sequences."""
    tiles: int
    """The tile has 8 of these sequences."""
    span: int
    """A warp owns 8 of these units."""
    held: int
    """k-steps of the weights, of 32 bytes, in registers."""

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return STORAGE[self.dtype][1]

    @property
    def padded(self) -> int:
        """H, made to fit: the units of all warps."""
        return multiple(self.units, max(8 * self.span * self.cluster, 64 // self.size))

    @property
    def warps(self) -> int:
        return self.padded // self.cluster // (8 * self.span)

    @property
    def threads(self) -> int:
        """Of a block."""
        return 32 * self.warps

    @property
    def parts(self) -> int:
        """The widths of H of the widest message."""
        if self.direction == "forward":
            return 1
        return 2 if self.kind == GRU_BEFORE else GATES[self.kind]

    @property
    def products_of_weights(self) -> list[tuple[int, int]]:
        """(tiles of 16 rows, k-steps) of each product of a step."""
        steps, half = self.padded * self.size // 32, self.span // 2
        if self.direction == "forward":
            if self.kind == GRU_BEFORE:
                return [(self.span, steps), (half, steps)]
            return [(GATES[self.kind] * self.span // 2, steps)]
        return [(half, self.parts * steps), *([(half, steps)] if self.kind == GRU_BEFORE else [])]

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        rows = 8 * self.tiles
        slots = 2 * rows * (self.parts * self.padded * self.size + 16)
        if self.cluster > 1:
            slots += self.warps * rows * self.parts * 8 * self.span * self.size + 16
        return slots + sum(self.warps * tiles * self.rest(steps) * 512 for tiles, steps in self.products_of_weights)

    def rest(self, steps: int) -> int:
        """k-steps in shared memory."""
        return multiple(max(steps - self.held, 0), 4)

    @property
    def cycles(self) -> float:
        """Of a step, estimated, to compare plans with: none of the figures was measured.

        The longest of three: reading weights and messages from shared memory (128 bytes a cycle); the work of the four
        tensor cores (6.5 cycles a fragment); the sums that wait for each other (33 cycles each). Then what an exchange
        and the gates take.
        """
        shares = -(-self.warps // 4)  # warps of one scheduler
        total = 0.0
        for tiles, steps in self.products_of_weights:
            reads = self.warps * (tiles * self.rest(steps) * 512 + steps * 256 * self.tiles) / 128
            work = shares * tiles * steps * self.tiles * self.products * 6.5
            waits = steps * 33 / -(-4 // (tiles * self.tiles)) if self.products == 1 else 3 * 33 + 4 * steps
            total += max(reads, work, waits)
            total += 300 + 16 * self.cluster if self.cluster > 1 else 40
        return total + 60 * GATES[self.kind] * self.span * self.tiles * shares

    @property
    def sizes(self) -> tuple[int, ...]:
        """What the launcher is told."""
        return self.threads, self.cluster, 8 * self.tiles, self.shared

    @property
    def name(self) -> str:
        """The kernel's."""
        return f"jrnn_{self.direction}"

    @property
    def source(self) -> str:
        """What is compiled, with the .cuh files beside it."""
        numbers = (self.products, self.units, self.cluster, self.tiles, self.span, self.held)
        arguments = ", ".join(map(str, (self.kind, STORAGE[self.dtype][0], *numbers)))
        template = self.direction.capitalize()
        return f"""#include <{self.direction}.cuh>
using Sizes = jrnn::Plan<{arguments}>;
static_assert(jrnn::{template}<Sizes>::kShared == {self.shared} && Sizes::kThreads == {self.threads}, "as in plan.py");
JRNN_KERNEL({self.name}, {self.direction}, {template}Problem, Sizes)
"""


def multiple(number: int, of: int) -> int:
    """The first multiple that is no less."""
    return -(-number // of) * of


def choose(
    direction: str, kind: int, dtype: str, products: int, units: int, target: Target, tiles_of_8: int = 1
) -> Plan | str:
    """The plan whose steps are estimated to be the shortest, or why there is none.

    Arguments are as in `Plan`; `tiles_of_8`: into how many tiles of 8 sequences a call can be cut. What fits is the
    same for all numbers of them; where all clusters cannot run at once, larger tiles or fewer blocks may win.
    """
    if target.capability not in SHARED:
        return f"it knows no GPU of compute capability {target}"
    room = SHARED[target.capability]
    span = 1 if direction == "forward" and kind == LSTM else 2

    def plans(tiles: int, clusters: tuple[int, ...]) -> list[Plan]:
        return [filled(Plan(direction, kind, dtype, products, units, each, tiles, span, 2)) for each in clusters]

    def fitting(candidates: list[Plan]) -> list[Plan]:
        return [plan for plan in candidates if plan.warps <= 16 and plan.shared <= room]

    def time(plan: Plan) -> float:
        clusters = -(-tiles_of_8 // plan.tiles)
        at_once = max(1, target.processors // plan.cluster)
        return plan.cycles * -(-clusters // at_once)

    portable = (1, 2, 4, 8) if target.capability >= (9, 0) else (1,)
    large = (16,) if target.capability in LARGE_CLUSTERS else ()
    for clusters in (portable, large):  # a GPU need not have room for 16 blocks side by side
        fits = fitting(plans(1, clusters))
        if fits:
            return min([*fits, *fitting(plans(2, clusters))], key=time)
    least = min(plans(1, portable + large), key=lambda plan: (max(plan.warps, 16), plan.shared))
    needs = f"{least.threads} threads" if least.warps > 16 else f"{least.shared:,} bytes of shared memory"
    has = "512" if least.warps > 16 else f"{room:,}"
    blocks = f"each of {least.cluster} blocks" if least.cluster > 1 else "a block"
    return f"{units} units do not fit: {blocks} would need {needs}, and compute capability {target} has {has}"


def filled(plan: Plan) -> Plan:
    """The plan with as many k-steps in registers as there is room for."""
    steps, tiles = max(n for _, n in plan.products_of_weights), sum(n for n, _ in plan.products_of_weights)
    room = FRAGMENTS[plan.direction, plan.tiles] if plan.warps <= 8 else FRAGMENTS_OF_MANY
    room -= 24 if plan.dtype == "float32" and room > 32 else 0  # for the parts of numbers
    if plan.products == 3 and plan.direction == "forward":
        steps = min(steps, 6 if plan.kind == GRU_BEFORE else 12)  # of more the compiler spills
    return replace(plan, held=min(steps, max(2, room // (4 * tiles) // 2 * 2)))
