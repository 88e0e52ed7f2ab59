"""The rooms and who may import whom, read from the import statements; nothing here needs jrnn's own word for it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jrnn

ROOT = Path(jrnn.__file__).parent
ORDER = (
    "types",
    "numerics",
    "extras",
    "wording",
    "displays",
    "kernels",
    "cells",
    "unrolling",
    "flow",
    "cures",
    "training",
    "prescribing",
    "report",
    "commands",
    "cli",
    "__main__",
)
LEAVES = {"data": {"types", "extras"}, "interop": set(ORDER[: ORDER.index("report")])}
TOP = {"commands": {"data"}, "cli": {"data", "interop"}}  # who may use the leaves
NAMED = {  # imported inside a method
    ("jrnn.flow.verdicts.verdict", "jrnn.cures.advice"): "Verdict.advice",
    ("jrnn.displays", "jrnn.report"): "a result's plot() and its card in a notebook",
}
OVER_TIME = ("jrnn.unrolling.scans", "jrnn.kernels")  # what steps through time
OVER_SOMETHING_ELSE = {
    "jrnn.cells._orthogonal": "the squarings of a matrix",
    "jrnn.data.tasks.attractor": "the time of a differential equation, which makes the sequences",
    "jrnn.flow.dynamics.levenberg": "the steps of a least-squares search",
    "jrnn.flow.credit.diagonal": "lags within a block, and blocks",
    "jrnn.flow.credit.lag_recursion": "lags: all times at once, one step further back each",
    "jrnn.flow.singular_values.scaled_svd": "the rounds and sweeps of Jacobi's method",
    "jrnn.flow.singular_values.windows": "the iterations of a subspace",
    "jrnn.flow.jacobian.conditioning": "the squarings of a matrix",
    "jrnn.cures.gain": "the trials of a bisection",
    "jrnn.cures.flossing": "updates",
    "jrnn.training.telemetry.probing.scans": "a scan of the user's, taken apart and put together again",
    "jrnn.training.telemetry.probing.watching_scans": "the same, with a tap",
}
LOOPS = {"scan", "while_loop", "fori_loop", "associative_scan"}
EXTRAS = (
    *("flax", "orbax", "rich", "matplotlib", "sklearn", "tensorboardX", "torch", "mlxtend", "statsmodels", "pandas"),
    *("equinox", "haiku", "safetensors", "onnx", "jinja2"),
)

FILES = {
    ".".join(("jrnn", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): p
    for p in sorted(ROOT.rglob("*.py"))
}


def room_of(module):
    """jrnn.flow.credit.splitting -> flow; jrnn itself -> None."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imported(source, module, package):
    """Every module that a file's import statements name, wherever they stand; relative ones resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")[: len(module.split(".")) - node.level + package]
                base = ".".join([*parts, base] if base else parts)
            # `from jrnn import flow` names a module, `from jrnn.flow import jacobians` a function
            named = [f"{base}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES or base == "jrnn" else base for name in named)


def violations(module, source, package=False):
    """What a file imports from jrnn against the order."""
    own, found = room_of(module), []
    for name in imported(source, module, package):
        other = room_of(name) if name.split(".")[0] == "jrnn" else own
        if own is None or other == own:
            continue
        if own in LEAVES:
            allowed = LEAVES[own]
        else:
            allowed = set(ORDER[: ORDER.index(own)]) | TOP.get(own, set())
        # the front door imports every room, so no room may come in through it
        inside = any(module == one and name.startswith(other) for one, other in NAMED)
        if other not in allowed and not (own in TOP and name == "jrnn") and not inside:
            found.append(f"{module} imports {name}")
    return found


@pytest.mark.parametrize("module", FILES)
def test_imports_point_one_way(module):
    path = FILES[module]
    assert room_of(module) in (None, *ORDER, *LEAVES), f"{module} is in no room that the design knows"
    assert violations(module, path.read_text(), path.name == "__init__.py") == []


def test_the_reader_sees_violations():
    """The test of the test: each kind of import that would be wrong is found."""
    for module, source in (
        ("jrnn.cells._gru", "from jrnn.unrolling import unroll"),
        ("jrnn.cells._gru", "import jrnn"),
        ("jrnn.cells._gru", "from jrnn import unrolling"),
        ("jrnn.cells._gru", "from jrnn import unroll"),
        ("jrnn.cells._gru", "from ..unrolling import unroll"),
        ("jrnn.cells._gru", "from .. import flow"),
        ("jrnn.flow.credit.splitting", "def f():\n    import jrnn.training.fitting"),
        ("jrnn.data.tables", "from jrnn.cells import gru"),
        ("jrnn.unrolling.scans", "from jrnn.interop import flax"),
        ("jrnn.commands", "from jrnn.interop import flax"),
        ("jrnn.report.page", "from jrnn.commands import diagnose"),
        ("jrnn.training.fitting", "from jrnn.data import load"),
        ("jrnn.types", "from jrnn.data import load"),
    ):
        assert violations(module, source), (module, source)
    for module, source in (
        ("jrnn.cells._gru", "from jrnn.types import Array\nfrom jrnn.cells._base import matmul\nfrom . import _base"),
        ("jrnn.flow.credit.splitting", "import jax\nfrom jrnn.unrolling import value_and_grads"),
        ("jrnn.data.tables", "from jrnn.data.checks import check\nfrom jrnn.types import InputError"),
        ("jrnn.commands", "from jrnn import cells, data"),
        ("jrnn.cli", "from jrnn.interop import onnx\nfrom jrnn.report import write_report\nimport jrnn"),
    ):
        assert violations(module, source) == [], (module, source)


def loops_of(source):
    """Where a file takes one of JAX's loops: lax.scan(...), or from jax.lax import scan."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in LOOPS and ast.unparse(node.value) in ("lax", "jax.lax"):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jax"):
            yield from (f"line {node.lineno}: {a.name}" for a in node.names if a.name in LOOPS)


@pytest.mark.parametrize("module", [name for name in FILES if not name.startswith(OVER_TIME)])
def test_only_unrolling_and_kernels_loop_over_time(module):
    """What goes over time is a call of `unroll`; a loop over something else is listed, with what it goes over."""
    assert bool(list(loops_of(FILES[module].read_text()))) == (module in OVER_SOMETHING_ELSE)


def test_every_loop_listed_is_in_a_module():
    assert set(OVER_SOMETHING_ELSE) <= set(FILES)


def test_the_loop_reader_sees_loops():
    assert any(loops_of(FILES["jrnn.unrolling.scans"].read_text()))
    for source in ("jax.lax.scan(f, 0, xs)", "lax.while_loop(a, b, c)", "from jax.lax import fori_loop as loop"):
        assert len(list(loops_of(source))) == 1
    assert list(loops_of("def scan(xs):\n    return self.scan(xs)")) == []


def public_names(init, package):
    """Names that a package's __init__ binds to something other than its modules."""
    for node in ast.walk(ast.parse(init.read_text())):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if f"{node.module}.{alias.name}" not in FILES:
                    yield alias.asname or alias.name
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("package", [name for name, path in FILES.items() if path.name == "__init__.py"])
def test_no_module_bears_the_name_of_a_public_function(package):
    """`jrnn.unroll` the function would hide `jrnn/unroll.py` the module, or the other way round."""
    modules = {name.rsplit(".", 1)[1] for name in FILES if name.rpartition(".")[0] == package}
    names = set(public_names(FILES[package], package))
    assert modules & names == set()
    assert package != "jrnn" or {"unroll", "step", "lstm"} <= names


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module):
    assert len(FILES[module].read_text().splitlines()) <= 300


def test_every_file_says_what_it_is():
    for module, path in FILES.items():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{module} has no docstring"


def test_the_core_needs_no_extra():
    """`import jrnn` where none of the extras is installed, and a first gradient; SciPy takes a third of the time that
    the import may take, and comes when a verdict needs it."""
    program = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ImportError("not installed: " + name)

sys.meta_path.insert(0, Refuse())
import jax, jax.numpy, optax
before = set(sys.modules)
import jrnn
print([name for name in sys.modules if name.startswith("scipy") and name not in before])

cell = jrnn.lstm(2)
params = cell.init(jax.random.key(0), 3)
grads = jrnn.state_gradients(cell, params, jax.numpy.ones((4, 3)), lambda unrolled: unrolled.outputs.sum())
print(jrnn.ravel_state(grads).shape, [name for name in {EXTRAS!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "(5, 4) []"]
