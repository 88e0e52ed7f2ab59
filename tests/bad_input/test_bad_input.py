"""Every row of the tables: refused by name, before anything is computed, and nothing half-written."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from jrnn.cli import main
from jrnn.types import InputError

from .. import bad_input
from .rows import Call, Command

TABLES = [
    importlib.import_module(f"{bad_input.__name__}.{module.name}")
    for module in pkgutil.iter_modules(bad_input.__path__)
    if module.name not in ("rows", "test_bad_input")
]
ROWS = [
    pytest.param(row, id=f"{table.__name__.rpartition('.')[2]}: {row.name}") for table in TABLES for row in table.ROWS
]
CALLS = [row for row in ROWS if isinstance(row.values[0], Call)]
COMMANDS = [row for row in ROWS if isinstance(row.values[0], Command)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(row: Call | Command, folder: Path) -> dict[Path, bytes | None]:
    """The folder as the row's `files` leave it."""
    if row.files is not None:
        row.files(folder)
    return contents(folder)


def contents(folder: Path) -> dict[Path, bytes | None]:
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)  # Python's own, of a user's module
    return {path: path.read_bytes() if path.is_file() else None for path in found}


@pytest.mark.parametrize("row", CALLS)
def test_a_call_is_refused(row, folder):
    before = written(row, folder)
    with pytest.raises(InputError) as error:
        row.call()
    message = str(error.value)
    assert error.value.argument == row.argument, message
    assert re.fullmatch(rf"(?s){re.escape(row.argument)}: got .+; need .+", message), message
    for word in row.words:
        assert word in message, message
    assert contents(folder) == before


@pytest.mark.parametrize("row", COMMANDS)
def test_a_command_is_refused(row, folder, capsys):
    before = written(row, folder)
    try:
        code = main(list(row.args))
    except SystemExit as stop:  # argparse's own
        code = stop.code
    said = capsys.readouterr()
    assert code == 2, said.err
    assert len(said.err.splitlines()) == 1, said.err
    for word in row.words:
        assert word in said.err, said.err
    assert contents(folder) == before


def test_every_row_has_a_name_of_its_own():
    """No two rows share a name."""
    names = [row.id for row in ROWS]
    assert len(set(names)) == len(names)
