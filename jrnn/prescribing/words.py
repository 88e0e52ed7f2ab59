"""What a race found, in words and in code to copy."""

import math
from typing import NamedTuple

from jrnn.prescribing.candidates import AS_IT_IS, Arm
from jrnn.prescribing.jobs import Job
from jrnn.prescribing.result import Best, Row
from jrnn.wording import confidence, number, percentage


class Facts(NamedTuple):
    """What the sentences speak of beside the table."""

    target: float | None
    updates: int
    """Of a run in the final."""
    lag: int
    prediction: tuple[float, float]
    floor: float | None = None
    """The loss of the best constant answer, or the plateau of a task."""
    floor_name: str = ""


def finding(table: tuple[Row, ...], chosen: Row | None, facts: Facts, interrupted: bool) -> str:
    """The finding, in a sentence."""
    if interrupted:
        return f"Interrupted: nothing is recommended. The table tells what was seen of {len(table)} arms."
    ran = [row for row in table if row.seeds]
    if ran and all(row.diverged == row.seeds for row in ran):
        return "All runs diverged: nothing is recommended. Try a smaller learning rate or a smaller max_norm."
    own = next((row for row in table if row.name == AS_IT_IS), None)
    if chosen is not None and own is not None:
        what = f"Take {chosen.cure} with a learning rate of" if chosen.cure != AS_IT_IS else "Change the rate alone, to"
        return f"{what} {number(chosen.learning_rate)}: {achieved(chosen, own, facts)}."
    best = closest(table)
    if best is None or best.against is None or own is None:
        failed = ": what would have, failed" if any(row.failed for row in table) else ""
        return f"Keep yours: nothing else got to the final{failed}."
    if best.against.hurts:
        return f"Keep yours: it did better than {named(best)}, the best of the others ({ratio(best, facts)})."
    if facts.target is not None and not any(row.solved for row in table):
        return (
            f"Keep yours for now: no arm reached a loss of {number(facts.target)} within {facts.updates:,} updates. "
            "A longer budget may tell."
        )
    return f"Keep yours: {named(best)} did best beside it, and the difference may be chance ({ratio(best, facts)})."


def achieved(row: Row, own: Row, facts: Facts) -> str:
    """What a finalist reached, and what the network as it is did."""
    if facts.target is None:
        return f"its held-out loss after {facts.updates:,} updates is {number(row.loss)}, yours {number(own.loss)}"
    most = row.solved > row.seeds / 2 and row.figure is not None
    when = f", after {number(row.figure or 0)} updates in the median" if most else ""
    yours = f"{own.solved} of {own.seeds} runs of {facts.updates:,} updates"
    if own.solved > own.seeds / 2 and own.figure is not None:
        yours += f", after {number(own.figure)}"
    return (
        f"it reaches a loss of {number(facts.target)} in {row.solved} of {row.seeds} runs{when}; "
        f"your network as it is reaches it in {yours}"
    )


def evidence(table: tuple[Row, ...], chosen: Row | None, facts: Facts) -> str:
    """What supports the finding: the paired interval, the gradient, what one more seed would give."""
    best = chosen or closest(table)
    own = next((row for row in table if row.name == AS_IT_IS), None)
    if best is None or best.against is None or own is None:
        return ""
    verb = "takes" if facts.target is not None else "has"
    said = [f"Seed by seed, {named(best)} {verb} {ratio(best, facts)}."]
    if facts.target is not None:
        said.append(f"A run that does not get there counts as {facts.updates:,} updates.")
    if math.isfinite(best.arriving) and math.isfinite(own.arriving):
        said.append(
            f"Before training, {percentage(best.arriving)} of a pull on the output arrives {facts.lag:,} steps back; "
            f"in your network as it is {percentage(own.arriving)}."
        )
    low, high = facts.prediction
    said[0] = f"{said[0][:-1]}, and is better in {number(best.against.better * best.seeds)} of {best.seeds} seeds."
    if chosen is not None and math.isfinite(low) and low < high:
        unit = "a held-out loss of" if facts.target is None else "updates:"
        said.append(f"One more seed is expected to give {unit} {number(low)} to {number(high)}, at {confidence(0.95)}.")
    if facts.floor is not None and not (best.loss < facts.floor or own.loss < facts.floor):
        said.append(
            f"Neither beats the {facts.floor_name} ({number(facts.floor)}) on cases it has not seen: more data, fewer "
            "updates or a penalty may do more than any cure."
        )
    said.append("Nothing is said of longer runs.")
    return " ".join(said)


def ratio(row: Row, facts: Facts) -> str:
    """0.8 times the updates (0.75 to 0.86 at 97.5 % confidence); the difference where some loss is not positive."""
    against, what = row.against, "updates" if facts.target is not None else "held-out loss"
    if against is None:
        return f"a {what} that was not compared"
    interval = f"{number(against.low)} to {number(against.high)} at {confidence(against.level)}"
    if not against.relative:
        return f"a {what} that differs by {number(against.ratio)} ({interval})"
    return f"{number(against.ratio)} times the {what} ({interval})"


def closest(table: tuple[Row, ...]) -> Row | None:
    """The finalist that did best against the network as it is."""
    compared = [row for row in table if row.against is not None]
    return min(compared, key=lambda row: row.against.ratio if row.against else math.inf, default=None)


def named(row: Row) -> str:
    """An arm with its learning rate."""
    who = "your network" if row.cure == AS_IT_IS else row.cure
    return f"{who} at a learning rate of {number(row.learning_rate)}"


def recipe_of(arm: Arm, rate: float, template: Job, best: Best) -> str:
    """Python that repeats the best run of the arm; `found` is the prescription."""
    cures, plan = ", ".join(cure.python for cure in arm.cures), template.plan
    if plan.build is not None:
        lines = [f"cell = jrnn.cures.apply_to_cell([{cures}], cell)"] if arm.cures else []
        return "\n".join([*lines, f"learning_rate = {rate:.6g}  # for {best.updates} updates"])
    maker = getattr(plan.optimizer, "__name__", "optimizer")
    optimizer = f"learning_rate={rate:.12g}" if maker == "adam" else f"optimizer={maker}({rate:.12g})"
    settings = [
        f"steps={best.updates}, seed={best.seed}, {optimizer}",
        f"max_norm={plan.max_norm}, batch_size={template.batch_size}",
        *([f"unroll_options={dict(plan.unroll_options)}"] if plan.unroll_options else []),
        *([f"cures=[{cures}]"] if arm.cures else []),
    ]
    lines = ["    cell, objective, found.train,", *(f"    {each}," for each in settings)]
    return "\n".join(["jrnn.training.fit(", *lines, ")"])
