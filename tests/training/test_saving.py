"""What is saved comes back, every bit; what is broken, or another model, is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_same_bits, cases

import jrnn
from jrnn import InputError
from jrnn.cells.initializers import chrono, forget_bias, orthogonal
from jrnn.training import Objective, fit, load, save
from jrnn.training.storage import checkpoints
from jrnn.training.storage.descriptions import complete, described, restored

CELLS = [
    jrnn.elman(3),
    jrnn.elman(3, "relu", w_rec="identity", dtype="float32"),
    jrnn.lstm(3, bias=chrono(20.0), dtype="bfloat16"),
    jrnn.gru(3, reset_after=False, w_rec=orthogonal(0.5), dtype="float16"),
    jrnn.linear(3, decay=(0.5, 0.75)),
    jrnn.stack(jrnn.lstm(3, bias=forget_bias(2.0)), jrnn.residual(jrnn.gru(3))),
    jrnn.dropout(jrnn.leaky(jrnn.layer_norm(jrnn.elman(3)), 9), outputs=0.1, recurrent=0.25),
    jrnn.stack(jrnn.Bidirectional(jrnn.elman(3)), jrnn.learnable_initial_state(jrnn.lstm(2))),
    jrnn.residual(jrnn.elman(3, "modrelu", w_rec=jrnn.orthogonal_map("householder"))),
    jrnn.gru(3, refine=True, t_max=20),
]


def zeros_init(key, input_size):
    return {"w": jnp.zeros(3)}


def zeros_state(params, batch_shape):
    return jnp.zeros((*batch_shape, 3))


def add(params, state, x):
    return state + params["w"]


def subtract(params, state, x):
    return state - params["w"]


class Pair(NamedTuple):
    """Parameters as a user may have them."""

    h: jax.Array
    c: jax.Array


def counting(step=add):
    """A cell of functions."""
    return jrnn.from_functions(init=zeros_init, initial_state=zeros_state, step=step, output=None)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_a_description_is_json_and_gives_an_equal_cell(cell):
    description = json.loads(json.dumps(described(cell), allow_nan=False))
    assert complete(description) and restored(description) == cell
    assert hash(restored(description)) == hash(cell)


@pytest.mark.parametrize("cell", [CELLS[2], CELLS[5], CELLS[7]], ids=lambda cell: type(cell).__name__)
def test_what_was_saved_comes_back(cell, tmp_path, key):
    params = cell.init(key, 2)
    objective, head = (
        Objective("regress", 2),
        {"w": jnp.ones((3, 2)), "none": None, "empty": jnp.zeros((0, 2), "float16")},
    )
    metadata = {"dataset": "digits", "accuracy": 0.5, "lags": [1, 2]}
    save(tmp_path, cell, params, loss_params=head, objective=objective, metadata=metadata)
    found = load(tmp_path)
    assert (found.cell, found.objective, found.metadata) == (cell, objective, metadata)
    assert_same_bits((found.params, found.loss_params), (params, head))
    assert load(tmp_path, cell=cell).cell is cell
    save(tmp_path, cell, jax.tree.map(jnp.zeros_like, params))
    assert_same_bits(load(tmp_path).params, jax.tree.map(jnp.zeros_like, params))
    assert len(list((tmp_path / "model").iterdir())) == 1 and load(tmp_path).metadata == {}
    with pytest.raises(InputError, match=r"cell: got Elman\(hidden=9.* need .*, as in .*model"):
        load(tmp_path, cell=jrnn.elman(9))


def test_nan_and_minus_zero_keep_their_bits(tmp_path):
    params = {
        "w": np.array([np.nan, -0.0, np.inf, 5e-324]),
        "i": jnp.arange(3),
        "b": jnp.array(True),
        "t": (jnp.ones(()), [None]),
    }
    save(tmp_path, jrnn.elman(3), params)
    assert_same_bits(load(tmp_path).params, params)


def test_a_cell_with_functions_needs_the_cell_again(tmp_path):
    cell = counting()
    save(tmp_path, cell, {"w": jnp.ones(3)}, objective=lambda p, u, b: u.last.sum())
    with pytest.raises(InputError, match="cell: got none; need cell=.*add"):
        load(tmp_path)
    assert load(tmp_path, cell=cell).cell is cell and load(tmp_path, cell=cell).objective is None
    with pytest.raises(InputError, match="subtract"):
        load(tmp_path, cell=counting(subtract))
    with pytest.raises(InputError, match="Elman"):
        load(tmp_path, cell=jrnn.elman(3))


def test_other_containers_come_back_with_a_template(tmp_path):
    params = Pair(jnp.ones(2), jnp.zeros(3))
    save(tmp_path, jrnn.elman(3), params)
    with pytest.raises(InputError, match="like: got none; need .*Pair"):
        load(tmp_path)
    assert_same_bits(load(tmp_path, like=jax.tree.map(jnp.zeros_like, params)).params, params)
    with pytest.raises(InputError, match=r"like: got \.h float64\[4\]; need \.h float64\[2\]"):
        load(tmp_path, like=params._replace(h=jnp.ones(4)))


def test_only_jrnn_s_own_classes_come_back():
    for name in ("os.system", "Popen", "Undescribed", "jrnn.cells.Elman"):
        with pytest.raises(InputError, match="cell: got a description of the class"):
            restored({"class": name, "fields": {}})
    with pytest.raises(InputError, match="fields"):
        restored({"class": "Elman", "fields": {"command": "ls"}})


@pytest.fixture
def model(tmp_path, key):
    """A folder with a saved model, and its parameters."""
    params = CELLS[0].init(key, 2)
    save(tmp_path, CELLS[0], params)
    return tmp_path, params


def spoil(path, how):
    """Breaks a checkpoint."""
    for data in [p for p in path.rglob("*") if p.is_file() and p.parent.name == "d"]:
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        if how == "cut":
            data.write_bytes(data.read_bytes()[:-20])
        elif how == "flipped":
            data.write_bytes(bytes(content))
        elif how == "missing":
            data.unlink()
    if how == "no description":
        shutil.rmtree(path / "description")
    elif how == "empty":
        shutil.rmtree(path)
        path.mkdir()


@pytest.mark.parametrize("how", ["cut", "flipped", "missing", "no description", "empty"])
def test_a_damaged_model_is_refused_or_passed_over(model, how):
    folder, params = model
    shutil.copytree(folder / "model" / "0", folder / "model" / "1")
    spoil(folder / "model" / "1", how)
    with pytest.warns(UserWarning, match="passed over damaged checkpoints"):
        assert_same_bits(load(folder).params, params)
    spoil(folder / "model" / "0", how)
    with pytest.raises(InputError, match="directory: got .* need at least one whole checkpoint"):
        load(folder)
    save(folder, CELLS[0], params)
    assert_same_bits(load(folder).params, params)


def test_missing_folders_and_bad_arguments(tmp_path):
    (tmp_path / "file").write_text("")
    for path, what in ((tmp_path / "none", "no folder"), (tmp_path, "without a model"), (tmp_path / "file", "a file")):
        with pytest.raises(InputError, match=f"directory: got .*{what}"):
            load(path)
    with pytest.raises(InputError, match="directory: got .*can be written"):
        save(tmp_path / "file" / "x", CELLS[0], {})
    with pytest.raises(InputError, match="metadata"):
        save(tmp_path, CELLS[0], {}, metadata={"x": object()})
    with pytest.raises(InputError, match=r"params: got a str at \['w'\]"):
        save(tmp_path, CELLS[0], {"w": "text"})
    save(tmp_path, CELLS[0], {})
    assert load(tmp_path).params == {}


@pytest.mark.thorough
def test_checkpoints_of_fit_are_models_too_and_damaged_ones_are_set_aside(tmp_path):
    cell, objective = jrnn.elman(3), Objective("classify", 3)
    options = {"out": tmp_path, "batch_size": 8, "checkpoint_every": 2}
    whole = fit(cell, objective, cases(), steps=6, optimizer=optax.sgd(0.1), **options)
    found = load(tmp_path)
    assert (found.cell, found.objective, found.metadata["step"]) == (cell, objective, 6)
    assert_same_bits((found.params, found.loss_params), (whole.params, whole.loss_params))
    assert load(tmp_path / "checkpoints" / "4").metadata["step"] == 4
    unfinished = tmp_path / "checkpoints" / "8.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "checkpoints" / "6", unfinished)
    spoil(tmp_path / "checkpoints" / "6", "cut")
    with pytest.warns(UserWarning, match="passed over damaged"):
        again = fit(cell, objective, cases(), steps=6, optimizer=optax.sgd(0.1), resume=True, **options)
    assert_same_bits((again.params, again.opt_state), (whole.params, whole.opt_state))
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"2", "4", "6", "6.damaged"}


def test_resume_needs_a_run_and_starts_anew_in_an_empty_folder(model, capsys):
    folder, _ = model
    options = {"steps": 1, "out": folder, "resume": True}
    assert fit(CELLS[0], Objective("classify", 3), cases(), **options).step == 1
    assert capsys.readouterr().err == f"nothing to resume in {folder}: starting anew\n"
    shutil.copytree(folder / "model" / "0", folder / "checkpoints" / "7")
    with pytest.raises(InputError, match="out: got .*no checkpoint of `fit`"):
        fit(CELLS[0], Objective("classify", 3), cases(), **options)


@pytest.mark.parametrize("step, then, newest", [(3, 6, 6), (7, 6, 7), (6, 6, 6), (None, 6, 6), ("3", 6, 6)])
def test_the_later_of_a_model_and_a_checkpoint_is_loaded(step, then, newest, tmp_path):
    """By step, whichever was written last; a model without a step by time."""
    marked = {"w": np.arange(3.0)}
    metadata = {} if step is None else {"step": step}

    def saved():
        save(tmp_path, CELLS[0], marked, metadata=metadata)

    def fitted(steps):
        fit(CELLS[0], Objective("classify", 3), cases(), steps=steps, out=tmp_path, resume=steps > 2)

    fitted(2)
    saved()
    assert load(tmp_path).params.keys() == marked.keys()
    fitted(then)
    assert (load(tmp_path).params.keys() == marked.keys()) == (step in (6, 7))
    assert load(tmp_path).metadata["step"] == newest
    saved()
    assert (load(tmp_path).params.keys() == marked.keys()) == (step != 3)
    spoil(next((tmp_path / "model").iterdir()), "cut")
    with pytest.warns(UserWarning, match="passed over"):
        assert load(tmp_path).metadata["step"] == 6


SAVER = """
import sys, numpy as np, jrnn
from jrnn.training import save
cell = jrnn.elman(3)
print("ready", flush=True)
for i in range(10_000):
    save(sys.argv[1], cell, {"w": np.full(4, i, np.float32), "v": np.full((3, 3), i, np.float32)})
    print(i, flush=True)
"""


@pytest.mark.thorough
def test_a_save_that_is_killed_leaves_the_one_before(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(jrnn.__file__))}
    command = [sys.executable, "-c", SAVER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        if line.strip() == "12":
            os.kill(process.pid, signal.SIGKILL)
            break
    rest = process.communicate()[0].split()
    found = load(tmp_path)
    last = int(found.params["w"][0])
    assert last >= int(rest[-1] if rest else 12) and (found.params["v"] == last).all()
    save(tmp_path, jrnn.elman(3), {"w": jnp.zeros(1)})
    assert len(list((tmp_path / "model").iterdir())) == 1


def test_float64_arrays_are_not_narrowed(model):
    with jax.enable_x64(False), pytest.raises(InputError, match="float64 arrays; need .*jax_enable_x64"):
        load(model[0])


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    save(tmp_path, CELLS[0], {})
    monkeypatch.undo()
    with pytest.raises(InputError, match="format 2"):
        load(tmp_path)


@pytest.mark.parametrize(
    "package, call", [("orbax", lambda out: save(out, CELLS[0], {})), ("rich", None), ("tensorboardX", None)]
)
def test_without_the_extra_the_error_says_what_to_install(package, call, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf'package {package}.*: got not installed; need pip install "jrnn\[train\]"'):
        if call is not None:
            call(tmp_path)
        else:
            options = {"progress": package == "rich", "tensorboard": package == "tensorboardX"}
            fit(CELLS[0], Objective("classify", 3), cases(), steps=0, out=tmp_path, **options)


def test_importing_does_not_import_the_extra():
    code = "import sys, jrnn.training; print([m for m in ('orbax', 'rich', 'tensorboardX') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(jrnn.__file__))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
