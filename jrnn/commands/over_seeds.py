"""--seeds: the same training from several seeds in one program, how far they differ, and which stands for all."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from jrnn import data
from jrnn.commands.output import say
from jrnn.report import OverSeeds
from jrnn.training import Fitted, Objective, evaluate, save
from jrnn.training.fitted import member_folder
from jrnn.training.intervals import held_out_intervals
from jrnn.types import InputError
from jrnn.wording import score

MOST = 100


def seed_of(args: Namespace) -> int | list[int]:
    """What `fit` is to begin from: --seed, or with --seeds so many from there on."""
    if args.seeds is None:
        return args.seed
    if not 2 <= args.seeds <= MOST:
        raise InputError("--seeds", args.seeds, f"a whole number from 2 to {MOST}")
    return [*range(args.seed, args.seed + args.seeds)]


def kept(
    out: Path, fitted: Fitted, objective: Objective, dataset: data.Dataset, known: dict[str, Any]
) -> tuple[Fitted, OverSeeds | None]:
    """Saves what was trained in `out`, with its intervals; (the network that is reported, what all seeds have).

    Each of several is saved in a folder of its own; the one whose held-out loss is the median (of two the lower), which
    is no choice of the best by what it is judged on, stands for all in `out`.
    """
    known = known | {"step": fitted.step, "steps": fitted.step}
    if fitted.seeds is None:
        saved(out, fitted, objective, dataset, known)
        return fitted, None
    members = [fitted.member(i) for i in range(len(fitted.seeds))]
    held_out, scores = dataset.subset(dataset.test), []
    for seed, each in zip(fitted.seeds, members, strict=True):
        scores.append(evaluate(each.cell, each.params, objective, each.loss_params, held_out))
        saved(member_folder(out, seed), each, objective, dataset, known | {"member": seed})
    losses = np.nan_to_num([each["loss"] for each in scores], nan=np.inf)
    typical = int(np.argsort(losses, kind="stable")[(len(losses) - 1) // 2])
    chosen = {"member": fitted.seeds[typical], "members": [*fitted.seeds]}
    saved(out, members[typical], objective, dataset, known | chosen)
    every = OverSeeds(fitted.seeds, tuple(scores), fitted.seeds[typical], np.asarray(fitted.history["loss"]))
    return members[typical], every


def saved(out: Path, fitted: Fitted, objective: Objective, dataset: data.Dataset, known: dict[str, Any]) -> None:
    """One network in its folder."""
    network = fitted.cell, fitted.params, objective, fitted.loss_params
    known = known | held_out_intervals(*network, dataset)
    save(out, fitted.cell, fitted.params, loss_params=fitted.loss_params, objective=objective, metadata=known)


def say_scores(every: OverSeeds) -> None:
    """A row for each seed, then what they have in common."""
    names = list(every.scores[0])
    say("\nOn held-out data, by seed:")
    say("  " + "".join(f"{word:>14}" for word in ("seed", *names)))
    for seed, scores in zip(every.seeds, every.scores, strict=True):
        cells = (str(seed), *(score(name, scores[name]) for name in names))
        mark = "  the median" if seed == every.typical else ""
        say("  " + "".join(f"{cell:>14}" for cell in cells) + mark)
    spreads = ", ".join(f"{name} {every.spread(name)}" for name in names)
    say(f"Over {len(every.seeds)} seeds, median (least to most): {spreads}")


def say_member(known: dict[str, Any], model: str) -> None:
    """Which of several seeds a saved network is."""
    if "members" in known:
        others = [f"{model.rstrip('/')}/seed-{seed}" for seed in known["members"] if seed != known["member"]]
        say(
            f"Of {len(known['members'])} seeds this is the one whose held-out loss is the median, seed "
            f"{known['member']}; the others: {', '.join(others[:4])}{', ...' * (len(others) > 4)}."
        )
