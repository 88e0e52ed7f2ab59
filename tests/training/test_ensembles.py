"""`fit(seed=[...])`: each member is the run of its seed alone; folders, resume, and members that stand still."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_same_bits, cases

import jrnn
from jrnn.cures import activation_penalty
from jrnn.training import NonFiniteError, Objective, fit, load, save
from jrnn.training.random_streams import RandomStream, stream_key

SEEDS = [3, 7]
CELL = jrnn.dropout(jrnn.elman(4), outputs=0.3)
OBJECTIVE = Objective("classify", 3)
DATA = cases(11, 5)
PENALTIES = [activation_penalty(0.1)]
HOW = {"steps": 6, "batch_size": 4, "flow_every": 1, "log_every": 2, "checkpoint_every": 3, "learning_rate": 0.01}


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), ours, theirs)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Noise, batches that span epochs, lengths, a penalty, telemetry: all by seed."""
    rows = []
    out = tmp_path_factory.mktemp("ensemble")
    return fit(CELL, OBJECTIVE, DATA, seed=SEEDS, out=out, log=rows.append, penalties=PENALTIES, **HOW), rows


def test_each_member_is_the_run_of_its_seed(ensemble, tmp_path):
    together, rows = ensemble
    assert together.seeds == (3, 7) and together.params["w_rec"].shape == (2, 4, 4)
    assert together.history["loss"].shape == (2, 6) and together.history["step"].tolist() == [*range(6)]
    assert repr(together).startswith("<Fitted: Dropout; 2 seeds; 6 updates; last loss ")
    alone = fit(CELL, OBJECTIVE, DATA, seed=7, penalties=PENALTIES, **HOW)
    member = together.member(1)
    close((member.params, member.loss_params, member.opt_state), (alone.params, alone.loss_params, alone.opt_state))
    assert member.history.keys() == alone.history.keys() and "tangent_growth" in alone.history
    for name, values in alone.history.items():
        np.testing.assert_allclose(member.history[name], values, rtol=1e-8, atol=1e-12, err_msg=name)
    assert np.ptp(together.history["loss"][:, 0]) > 0
    assert [row["loss"] for row in rows if row["seed"] == 7] == together.history["loss"][1].tolist()
    with pytest.raises(jrnn.InputError, match=r"^params: got the parameters of an ensemble; .*fitted.member\(i\)"):
        save(tmp_path, CELL, together.params)
    save(tmp_path, CELL, member.params)
    with pytest.raises(jrnn.InputError, match="^member: got 2 of 2 members"):
        together.member(2)
    with pytest.raises(jrnn.InputError, match="^member: got a single run"):
        alone.member(0)


def test_instruments_run_over_an_ensemble(ensemble):
    """The exponents of all members in one program are those of each."""
    together, _ = ensemble
    xs = jnp.asarray(DATA["x"][:2].swapaxes(0, 1))
    every = jax.jit(jax.vmap(lambda params: jrnn.lyapunov_spectrum(CELL, params, xs).exponents))(together.params)
    close(every[1], jrnn.lyapunov_spectrum(CELL, together.member(1).params, xs).exponents)


@pytest.mark.thorough
def test_members_have_folders_and_are_resumed_to_the_bit(ensemble, tmp_path):
    whole, _ = ensemble
    out = tmp_path / "run"
    how = HOW | {"penalties": PENALTIES, "out": out}
    fit(CELL, OBJECTIVE, DATA, seed=SEEDS, **how | {"steps": 3})
    shutil.rmtree(out / "seed-3" / "checkpoints" / "3")  # killed between the checkpoints of two members
    resumed = fit(CELL, OBJECTIVE, DATA, seed=SEEDS, resume=True, **how)
    assert_same_bits(*(run._replace(objective=None, out=None, cell=None) for run in (resumed, whole)))
    assert {path.name for path in (out / "seed-7" / "checkpoints").iterdir()} == {"3.ahead", "3", "6"}
    saved = load(out / "seed-7")
    assert_same_bits(saved.params, jax.tree.map(lambda a: a[1], resumed.params))
    assert resumed.member(1).out == out / "seed-7" and saved.metadata["config"]["seed"] == 7
    with pytest.raises(jrnn.InputError, match=r"^seed: got \[8\], new beside a run in .* that has done 6 steps"):
        fit(CELL, OBJECTIVE, DATA, seed=[*SEEDS, 8], resume=True, **how)
    further = fit(CELL, OBJECTIVE, DATA, seed=7, resume=True, **how | {"steps": 7, "out": out / "seed-7"})
    np.testing.assert_array_equal(further.history["loss"][:6], resumed.history["loss"][1])
    with pytest.raises(jrnn.InputError, match=r"^steps: got 6; need at least 7, what the run in .*seed-7 has done"):
        fit(CELL, OBJECTIVE, DATA, seed=SEEDS, resume=True, **how)


def ones(step):
    """The same batch for all."""
    return {"x": np.ones((2, 1, 1)), "y": np.ones((1, 1))}


class Breaks:
    """A loss that is NaN for the members whose own number is negative."""

    def init(self, key, input_size):
        return {"own": jax.random.normal(key, ())}

    def __call__(self, loss_params, unrolled, batch):
        return jnp.sum(unrolled.last**2) * jnp.where((loss_params["own"] < 0) & batch.get("breaks", True), jnp.nan, 1.0)


def test_members_that_diverge_stand_still():
    """Parameters of one's own are those of each. Two skipped updates in a row end a member, not the others."""
    cell, weights = jrnn.elman(2), jrnn.elman(2).init(jax.random.key(0), 1)
    how = {"steps": 4, "params": weights, "optimizer": optax.sgd(0.1), "max_norm": None, "flow_every": None}
    how |= {"max_skipped": 2, "log_every": 1}
    signs = [float(Breaks().init(stream_key(seed, RandomStream.HEAD), 2)["own"]) < 0 for seed in range(9)]
    good, bad = signs.index(False), signs.index(True)
    with pytest.warns(UserWarning, match=f"^seed {bad} stands still from step 1 on, after 2 skipped updates in a row"):
        fitted = fit(cell, Breaks(), ones, seed=[bad, good], **how)
    assert_same_bits(fitted.member(0).params, weights)
    assert np.ptp(np.asarray(fitted.params["w_rec"]), axis=0).max() > 0
    assert fitted.history["skipped"][0].tolist()[:2] == [1, 1] and np.isnan(fitted.history["skipped"][0][2:]).all()
    assert not fitted.history["skipped"][1].any() and (np.diff(fitted.history["loss"][1]) < 0).all()
    with pytest.raises(NonFiniteError, match="the first nan is in the loss"):
        fit(cell, Breaks(), ones, seed=[bad], **how)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.* have no row")
def test_a_member_that_stood_still_does_so_after_a_resume(tmp_path):
    """Though the loss is finite by then. Alone it says why; allowed to go on, its rows stand at their steps."""
    signs = [float(Breaks().init(stream_key(seed, RandomStream.HEAD), 2)["own"]) < 0 for seed in range(9)]
    good, bad = signs.index(False), signs.index(True)
    how = {"optimizer": optax.sgd(0.1), "flow_every": None, "max_skipped": 2, "resume": True}
    data = lambda step: ones(step) | {"breaks": np.asarray(1 <= step < 6)}  # noqa: E731
    run = lambda **options: fit(jrnn.elman(2), Breaks(), data, **how | options)  # noqa: E731
    stands = f"seed {bad} stands still from step 2 on"
    with pytest.warns(UserWarning, match=stands):
        first = run(seed=[good, bad], steps=6, out=tmp_path)
    with pytest.warns(UserWarning, match=stands):
        more = run(seed=[good, bad], steps=9, out=tmp_path)
    assert_same_bits(more.member(1).params, first.member(1).params)
    assert np.isnan(more.history["loss"][1][1:]).all() and np.isfinite(more.history["loss"][0]).all()
    assert more.history["skipped"][1][:3].tolist() == [0, 1, 1] and np.isnan(more.history["skipped"][1][3:]).all()
    with pytest.raises(jrnn.InputError, match="^max_skipped: got 2; need more than 2, the updates in a row that the"):
        run(seed=bad, steps=10, out=tmp_path / f"seed-{bad}")
    on = run(seed=[good, bad], steps=11, out=tmp_path, max_skipped=None)
    assert np.isfinite(on.history["loss"][1]).nonzero()[0].tolist() == [0, 9, 10]


@pytest.mark.parametrize("seed", [[], [1, 1], [0, -1], [True], "12", [1.0], np.zeros((2, 2), int)])
def test_what_is_no_seed(seed):
    with pytest.raises(jrnn.InputError, match="^seed: got "):
        fit(CELL, OBJECTIVE, DATA, seed=seed, **HOW)
