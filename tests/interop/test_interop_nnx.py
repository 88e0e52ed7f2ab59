"""jrnn's nnx modules under nnx's transformations, an optimiser, dropout and Orbax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx

import jrnn
from jrnn.interop.nnx import RNN, Bidirectional, Stack
from tests.interop.economy import drawn, jit, module_of

D = jnp.float64
XS = drawn((2, 5, 3))


class Model(nnx.Module):
    """A user's model with an RNN inside."""

    def __init__(self, rngs, between=0.0):
        cell = jrnn.stack(jrnn.lstm(4), jrnn.gru(3))
        self.rnn = RNN(jrnn.dropout(cell, between=between) if between else cell, 3, rngs=rngs)
        self.head = nnx.Linear(3, 1, param_dtype=D, rngs=rngs)

    def __call__(self, xs, **options):
        return self.head(self.rnn(xs, **options))


def loss_fn(model, xs):
    return jnp.mean((model(xs) - jnp.sin(xs[..., :1])) ** 2)


def test_jit_grad_and_split_are_those_of_unroll():
    model = module_of(Model)
    loss, grads = nnx.jit(nnx.value_and_grad(loss_fn))(model, XS)

    def pure(params, head):
        ys = jrnn.unroll(model.rnn.cell, params, XS, time_axis=1).outputs @ head["kernel"] + head["bias"][None, None]
        return jnp.mean((ys - jnp.sin(XS[..., :1])) ** 2)

    head = nnx.to_pure_dict(nnx.state(model.head))
    wanted, by = jit(jax.value_and_grad(pure, argnums=(0, 1)))(model.rnn.cell_params, head)
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    for a, b in zip(jax.tree.leaves((grads.rnn, grads.head)), jax.tree.leaves((by[0], by[1])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    graphdef, state = nnx.split(model)
    assert nnx.split(nnx.eval_shape(lambda: Model(nnx.Rngs(1))))[0] == graphdef, "another seed is the same program"
    assert not jax.tree.leaves(nnx.state(model, nnx.RngState)), "no random state is kept"
    np.testing.assert_array_equal(jit(lambda s, x: nnx.merge(graphdef, s)(x))(state, XS), nnx.jit(model)(XS))


def test_an_optimizer_trains_it():
    model = module_of(Model)
    chain = optax.chain(jrnn.clip_by_global_norm(1.0), optax.sgd(0.3, momentum=0.9))
    optimizer = nnx.Optimizer(model, chain, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(loss_fn)(model, XS)
        optimizer.update(model, grads)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_vmap_over_an_ensemble():
    @nnx.split_rngs(splits=2)
    @nnx.vmap
    def make(rngs):
        return Model(rngs)

    @jit
    def run():
        models = make(nnx.Rngs(0))
        graphdef, state = nnx.split(models)
        members = [nnx.merge(graphdef, jax.tree.map(lambda w, i=i: w[i], state)) for i in range(2)]
        together = nnx.vmap(lambda model, xs: model(xs), in_axes=(0, None))(models, XS)
        return together, [model(XS) for model in members]

    together, alone = run()
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-13)
    assert not np.allclose(together[0], together[1])


def test_dropout_is_on_off_and_drawn_as_in_flaxs_own_modules():
    """On by default, from its own stream, which counts on; `eval`, `train`, `deterministic` act as on nnx.Dropout."""
    model = Model(nnx.Rngs(params=0, dropout=5), between=0.5)
    own = nnx.Rngs(dropout=5)["dropout"].fork()
    rnn, head = model.rnn, model.head
    run = jit(lambda key: head(jrnn.unroll(rnn.cell, rnn.cell_params, XS, time_axis=1, key=key).outputs))
    quiet = jit(lambda: head(jrnn.unroll(rnn.cell, rnn.cell_params, XS, time_axis=1).outputs))()

    @nnx.jit
    def call(model, **options):
        return model(XS, **options)

    for _ in range(2):
        np.testing.assert_allclose(call(model), run(own()), rtol=1e-12)
    model.eval()
    np.testing.assert_allclose(call(model), quiet, rtol=1e-12)
    key = jax.random.key(3)
    given = nnx.jit(lambda model: model(XS, deterministic=False, rngs=key))(model)
    np.testing.assert_allclose(given, run(key), rtol=1e-12)
    model.train()
    assert not np.allclose(call(model), quiet)
    graphdef, state = nnx.split(model)
    assert set(map(type, jax.tree.leaves(state, is_leaf=lambda v: isinstance(v, nnx.RngState)))) > {nnx.RngKey}


def test_dropout_without_an_answer_is_refused():
    cell = jrnn.dropout(jrnn.gru(3), outputs=0.5)
    undecided = module_of(lambda rngs: RNN(cell, 3, deterministic=None, rngs=rngs))
    with pytest.raises(jrnn.InputError, match="deterministic: got None"):
        undecided(XS)
    undecided.train()
    undecided.rngs = None
    with pytest.raises(jrnn.InputError, match="rngs: got None"):
        undecided(XS)


def test_cells_without_dropout_draw_nothing_from_it():
    model, rngs = module_of(lambda rngs: RNN(jrnn.residual(jrnn.gru(3)), 3, rngs=rngs)), nnx.Rngs(dropout=1)
    np.testing.assert_array_equal(model(XS, rngs=rngs), model(XS))
    assert int(rngs.dropout.count[...]) == 0


def test_orbax_restores_it(tmp_path):
    def make(rngs):
        return Stack([Bidirectional(RNN(jrnn.lstm(2), 3, rngs=rngs), RNN(jrnn.gru(2), 3, rngs=rngs))])

    model = module_of(make)
    graphdef, state = nnx.split(model)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "model", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "model", jax.tree.map(jnp.zeros_like, state))
    run = jit(lambda state: nnx.merge(graphdef, state)(XS))
    np.testing.assert_array_equal(run(restored), run(state))


def test_the_cell_stays_static_and_wrong_streams_are_refused():
    model = module_of(Model)
    assert hash(nnx.split(model)[0]) == hash(nnx.split(module_of(Model))[0])
    with pytest.raises(jrnn.InputError, match="input_size"):
        RNN(jrnn.lstm(2), -1, rngs=nnx.Rngs(0))
