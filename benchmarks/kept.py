"""Cases of a long benchmark, kept as they end: a run that was interrupted goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHANGES = ("date", "load_average")
"""Facts of a machine that differ from run to run."""


class Kept:
    """Cases in a file, one a line; what another machine, another setting or other sources measured is left out."""

    def __init__(self, path: Path | None = None, machine: Mapping[str, Any] | None = None) -> None:
        """Reads the file, if there is one; without a path nothing is kept."""
        self.path = path
        self.cases: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        lasting = {name: fact for name, fact in (machine or {}).items() if name not in CHANGES}
        self.origin = hashlib.sha256(json.dumps([lasting, sources(ROOT)]).encode()).hexdigest()
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                found = json.loads(line)
            except ValueError:  # the run ended while it wrote this line
                continue
            if found["origin"] == self.origin:
                self.cases[found["name"]] = found["case"]

    def case(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The case of this name, measured now unless it was before."""
        if name not in self.cases:
            self.cases[name] = measure()
            if self.path:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as file:
                    line = json.dumps({"origin": self.origin, "name": name, "case": self.cases[name]})
                    file.write(f"\n{line}\n")  # the line before may lack its end
        return self.cases[name]

    def forget(self) -> None:
        """Removes the file."""
        if self.path:
            self.path.unlink(missing_ok=True)


def sources(root: Path) -> str:
    """A digest of jrnn, its compiled kernel and the benchmarks."""
    digest = hashlib.sha256()
    for package in ("jrnn", "benchmarks"):
        for file in sorted(Path(root, package).rglob("*")):
            if file.suffix in (".py", ".sum"):
                digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()
