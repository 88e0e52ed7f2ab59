"""A cell as JSON and back: nested frozen dataclasses by class name and fields; only jrnn's own classes come back."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from functools import cache, partial
from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn.cells
from jrnn.training.batches import digest
from jrnn.training.objectives import Objective
from jrnn.types import InputError


def described(value: Any) -> Any:
    """A JSON value that says what `value` is; what has no description (a function, a foreign object) as {"opaque":
    name}."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).name}
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return {type(value).__name__: [described(item) for item in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: described(item) for key, item in value.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: described(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init
        }
        cls = type(value)
        known = classes().get(cls.__name__) is cls
        return {"class" if known else "opaque": cls.__name__ if known else full_name(cls), "fields": fields}
    if isinstance(value, np.ndarray | jax.Array):
        return {"opaque": f"{value.dtype}{list(value.shape)} {digest({'array': value})}"}
    return {"opaque": full_name(value if hasattr(value, "__qualname__") else type(value))}


def with_contents(function: Any) -> Any:
    """`described`, and of a function or partial what it holds: two closures of one name may differ in that alone."""
    if isinstance(function, partial):
        held = dict(enumerate(function.args)) | function.keywords
        function = function.func
    elif isinstance(function, FunctionType):
        names, cells = function.__code__.co_freevars, function.__closure__ or ()
        held = dict(enumerate(function.__defaults__ or ())) | (function.__kwdefaults__ or {})
        held |= {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}
    else:
        return described(function)
    fields = {str(name): with_contents(value) for name, value in held.items()}
    return {"opaque": full_name(function)} | ({"fields": fields} if fields else {})


def restored(description: Any) -> Any:
    """The value that `described` described.

    Raises:
      InputError: it holds something opaque, a class that jrnn does not have, or fields that do not fit.
    """
    if not isinstance(description, dict):
        return description
    if "opaque" in description:
        raise InputError(
            "cell",
            f"a description with `{description['opaque']}`, a function or class outside jrnn",
            "cell=, the cell itself",
        )
    if "float" in description:
        return float(description["float"])
    if "dtype" in description:
        return jnp.dtype(description["dtype"])
    if "tuple" in description:
        return tuple(restored(item) for item in description["tuple"])
    if "list" in description:
        return [restored(item) for item in description["list"]]
    if "dict" in description:
        return {key: restored(item) for key, item in description["dict"].items()}
    name = description.get("class")
    if name not in classes():
        raise InputError("cell", f"a description of the class {name!r}", f"one of {sorted(classes())}")
    fields = {key: restored(item) for key, item in description.get("fields", {}).items()}
    try:
        return classes()[name](**fields)
    except TypeError as error:
        raise InputError(
            "cell", f"{name} with the fields {sorted(fields)}", "the fields it has in this version of jrnn"
        ) from error


def complete(description: Any) -> bool:
    """Whether `restored` can make a value of it."""
    if isinstance(description, dict):
        return "opaque" not in description and all(map(complete, description.values()))
    return all(map(complete, description)) if isinstance(description, list) else True


def spelled(description: Any) -> str:
    """A description as one would write it: Elman(hidden=3, activation='tanh')."""
    if not isinstance(description, dict):
        return repr(description)
    if "class" in description or ("opaque" in description and "fields" in description):
        fields = ", ".join(f"{name}={spelled(value)}" for name, value in description["fields"].items())
        return f"{description.get('class') or description['opaque']}({fields})"
    if "tuple" in description or "list" in description:
        left, right = "()" if "tuple" in description else "[]"
        return left + ", ".join(map(spelled, description.get("tuple") or description.get("list") or [])) + right
    if "dict" in description:
        return "{" + ", ".join(f"{name!r}: {spelled(value)}" for name, value in description["dict"].items()) + "}"
    if len(description) == 1:
        return str(next(iter(description.values())))
    return repr(description)


def differing(ours: Any, theirs: Any, at: str = "") -> list[tuple[str, str]]:
    """Where two descriptions differ, each place spelled for both: [("hidden=5", "hidden=4")]; all of both where the
    types differ."""
    if ours == theirs:
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        mine, other = ours.get("fields", {}), theirs.get("fields", {})
        types = [(d.get("class"), d.get("opaque"), sorted(d.get("fields", {}))) for d in (ours, theirs)]
        if mine and types[0] == types[1]:
            dot = f"{at}." if at else ""
            return [pair for name in mine for pair in differing(mine[name], other[name], f"{dot}{name}")]
        for kind in ("tuple", "list"):
            if len(ours.get(kind, ())) == len(theirs.get(kind, ())) > 0:
                pairs = enumerate(zip(ours[kind], theirs[kind], strict=True))
                return [pair for i, (a, b) in pairs for pair in differing(a, b, f"{at}[{i}]")]
    sign = f"{at}=" if at else ""
    return [(f"{sign}{spelled(ours)}", f"{sign}{spelled(theirs)}")]


def difference(ours: Any, theirs: Any) -> tuple[str, str]:
    """What differs between two descriptions, as text for each."""
    mine, other = zip(*differing(ours, theirs), strict=True)
    return ", ".join(mine), ", ".join(other)


@cache
def classes() -> dict[str, type]:
    """What may come back from a file: the dataclasses defined in jrnn.cells, and `Objective`."""
    return {"Objective": Objective, **{cls.__name__: cls for cls in cell_types() if dataclasses.is_dataclass(cls)}}


@cache
def named_tuples() -> dict[str, Any]:
    """The NamedTuples defined in jrnn.cells: states, which a learnable initial state keeps among the parameters."""
    return {cls.__name__: cls for cls in cell_types() if issubclass(cls, tuple) and hasattr(cls, "_fields")}


def cell_types() -> list[type]:
    """Every class defined in a module of jrnn.cells."""
    names = [f"{jrnn.cells.__name__}.{module.name}" for module in pkgutil.iter_modules(jrnn.cells.__path__)]
    modules = map(importlib.import_module, names)
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]


def full_name(value: Any) -> str:
    """module.qualname of a function or class."""
    return f"{getattr(value, '__module__', '?')}.{value.__qualname__}"
