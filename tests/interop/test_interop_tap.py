"""dL/dh_t of the RNN inside a whole Flax model, against perturbations added by hand and finite differences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jrnn
import jrnn.interop.linen
import jrnn.interop.nnx
from jrnn.interop import tap_linen, tap_nnx
from tests.interop.economy import drawn, jit, module_of, variables_of

D = jnp.float64
B, T, F, H = 2, 5, 3, 4
XS = drawn((B, T, F))
LENGTHS = jnp.array([5, 3])


class Perturbed(nn.GRUCell):
    """A GRU whose state is perturbed at every step."""

    @nn.compact
    def __call__(self, carry, x):
        h, _ = super().__call__(carry, x)
        h = self.perturb("h", h)
        return h, h


class Whole(nn.Module):
    """A model with layers below and above its RNN."""

    cell: type = nn.GRUCell

    @nn.compact
    def __call__(self, xs):
        xs = nn.tanh(nn.Dense(F, param_dtype=D)(xs))
        rnn = nn.RNN(self.cell(H, param_dtype=D, name="core"), name="rnn", variable_axes={"perturbations": 1})
        return nn.Dense(1, param_dtype=D)(rnn(xs))


def test_linen_state_gradients_are_those_of_perturb():
    variables = variables_of(Whole(Perturbed), XS)
    params, zeros = variables["params"], jax.tree.map(jnp.zeros_like, variables["perturbations"])

    def perturbed(zeros):
        return jnp.sum(jnp.sin(Whole(Perturbed).apply({"params": params, "perturbations": zeros}, XS)))

    wanted = jax.tree.leaves(jit(jax.grad(perturbed))(zeros))[0]  # [B, T, H]
    plain = {"params": params}

    @jit
    def look(variables):
        tapped = tap_linen(lambda v: jnp.sum(jnp.sin(Whole().apply(v, XS))), variables)
        return jrnn.gradient_flow(tapped.cell, tapped.params, tapped.xs, tapped.loss, **tapped.options)

    flow = look(plain)
    np.testing.assert_allclose(flow.state_gradients[1:], jnp.swapaxes(wanted, 0, 1), rtol=1e-10, atol=1e-13)
    assert flow.sum_error < 1e-12


class Inner(nnx.Module):
    """A model with jrnn's RNNs, two of them, one in a list."""

    def __init__(self, rngs):
        self.below = nnx.Linear(F, F, param_dtype=D, rngs=rngs)
        self.rnns = nnx.List([jrnn.interop.nnx.RNN(jrnn.lstm(H), F, rngs=rngs)])
        self.top = jrnn.interop.nnx.RNN(jrnn.gru(3), H, rngs=rngs)

    def __call__(self, xs):
        carry, ys = self.rnns[0](self.below(xs), seq_lengths=LENGTHS, return_carry=True, reverse=True)
        return self.top(ys, seq_lengths=LENGTHS), carry


def inner_loss(model):
    ys, (c, h) = model(XS)
    return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(c) * h)


def test_nnx_state_gradients_are_finite_differences():
    """With lengths, in reverse, through the outputs and the carry."""
    model = module_of(Inner)
    tapped = tap_nnx(inner_loss, model, name="rnns.0")
    assert (
        tapped.cell == jrnn.lstm(H) and tapped.xs.shape == (T, B, F) and set(tapped.options) == {"lengths", "reverse"}
    )

    @jit
    @jax.value_and_grad
    def loss(tap):
        return tapped.loss(jrnn.unroll(tapped.cell, tapped.params, tapped.xs, state_tap=tap, **tapped.options))

    zeros = jrnn.LSTMState(np.zeros((T + 1, B, H)), np.zeros((T + 1, B, H)))
    value, grads = loss(zeros)
    np.testing.assert_allclose(value, nnx.jit(inner_loss)(model), rtol=1e-12)
    for t, b in ((1, 0), (4, 0), (2, 1)):
        nudge = np.zeros((T + 1, B, H))
        nudge[t, b, 2] = 1e-6
        difference = (loss(zeros._replace(c=nudge))[0] - loss(zeros._replace(c=-nudge))[0]) / 2e-6
        np.testing.assert_allclose(difference, grads.c[t, b, 2], rtol=1e-6, atol=1e-9)


def test_flaxs_own_nnx_rnn():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(F, H, param_dtype=D, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(H, 1, param_dtype=D, rngs=rngs)

        def __call__(self, xs):
            return self.head(self.rnn(xs, rngs=nnx.Rngs(0)))

    model = module_of(Model)
    loss_fn = lambda m: jnp.sum(jnp.sin(m(XS)))  # noqa: E731

    @nnx.jit
    def look(model):
        tapped = tap_nnx(loss_fn, model)
        loss = tapped.loss(jrnn.unroll(tapped.cell, tapped.params, tapped.xs))
        deltas = jrnn.state_gradients(tapped.cell, tapped.params, tapped.xs, tapped.loss)
        assert repr(tapped) == f"<Tapped: NnxCell; xs float64[{T}, {B}, {F}] [T, *B, F]>"
        return loss, loss_fn(model), deltas

    loss, wanted, deltas = look(model)
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    assert [delta.shape for delta in deltas] == 2 * [(T + 1, B, H)] and np.any(deltas[0][0])


def test_jrnns_linen_modules_are_found_by_name():
    room = jrnn.interop.linen
    model = room.Stack([room.Bidirectional(room.RNN(jrnn.gru(2)), room.RNN(jrnn.gru(2))), room.RNN(jrnn.elman(3))])
    variables = variables_of(model, XS)

    def loss_fn(variables):
        return jnp.sum(jnp.sin(model.apply(variables, XS, seq_lengths=LENGTHS)))

    tapped = tap_linen(loss_fn, variables, name="layers_0/backward_rnn")
    run = jit(lambda p, x: tapped.loss(jrnn.unroll(tapped.cell, p, x, **tapped.options)))
    np.testing.assert_allclose(run(tapped.params, tapped.xs), loss_fn(variables), rtol=1e-12)
    assert tapped.options["reverse"] is True
    for call, match in (
        (lambda: tap_linen(loss_fn, variables), r"name: got None; need one of .*layers_0/backward_rnn.*layers_1"),
        (lambda: tap_linen(loss_fn, variables, name="rnn"), "name: got 'rnn'"),
        (lambda: tap_linen(lambda v: jnp.zeros(()), variables), "a model with an RNN module in it"),
        (lambda: tap_nnx(inner_loss, module_of(Inner)), r"name: got None; need one of .*'rnns.0', 'top'"),
        (lambda: tap_nnx(lambda m: jnp.zeros(()), module_of(Inner), name="top"), "loss_fn: got one that does not"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()


@pytest.mark.thorough
def test_linen_an_rnn_inside_transformations():
    """As without them: jax.jit that was traced before, jax.checkpoint, nn.remat; elsewhere the way round is named."""
    model = Whole()
    variables = variables_of(model, XS)
    alone, remembered = (rnn(nn.GRUCell(H, param_dtype=D)) for rnn in (nn.RNN, nn.remat(nn.RNN)))
    core = {"params": {"cell": variables["params"]["core"]}}
    plain = lambda v: jnp.sum(jnp.sin(model.apply(v, XS)))  # noqa: E731
    jitted = jax.jit(plain)
    jitted(variables)

    def tapped(loss_fn, variables):
        tap = tap_linen(loss_fn, variables)
        run = jrnn.unroll(tap.cell, tap.params, tap.xs, **tap.options)
        return tap.loss(run), jrnn.state_gradients(tap.cell, tap.params, tap.xs, tap.loss, **tap.options)

    @jit
    def all_of_them(v, core):
        pairs = [(each, v) for each in (plain, jitted, jax.checkpoint(jitted))]
        pairs += [(lambda v, m=m: jnp.sum(jnp.sin(m.apply(v, XS))), core) for m in (alone, remembered)]
        return [tapped(*pair) for pair in pairs]

    one, *same, of_alone, of_remembered = all_of_them(variables, core)
    for a, b in [(one, each) for each in same] + [(of_alone, of_remembered)]:
        for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(one[0], jitted(variables), rtol=1e-12)

    def chunks(v):
        return jax.lax.scan(lambda s, x: (s + jnp.sum(model.apply(v, x)), None), jnp.zeros(()), XS[None])[0]

    def by_hand(v):
        cell = nn.GRUCell(H, param_dtype=D)
        params = {"params": v["params"]["core"]}
        return jnp.sum(jax.lax.scan(lambda h, x: cell.apply(params, h, x), jnp.zeros((B, H)), XS.swapaxes(0, 1))[1])

    for loss_fn, match in (
        (lambda v: jnp.sum(jax.vmap(lambda x: model.apply(v, x))(XS)), r"an RNN inside vmap .*nnx.probe and linen"),
        (chunks, r"an RNN inside a scan \(nn.scan"),
        (lambda v: jax.lax.cond(XS[0, 0, 0] > jnp.sum(XS), plain, plain, v), r"an RNN inside a conditional \(nn.cond"),
        (by_hand, r"a cell is scanned by hand .*need jrnn.interop.linen.RNN .*resets= takes done flags; or .*probe"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            tap_linen(loss_fn, variables)


class Around(nnx.Module):
    """jrnn's RNN and Flax's, plain and inside nnx.jit of nnx.remat."""

    def __init__(self, rngs, own):
        cell = jrnn.dropout(jrnn.gru(H), outputs=0.4) if own else nnx.GRUCell(F, H, param_dtype=D, rngs=rngs)
        self.rnn = jrnn.interop.nnx.RNN(cell, F, truncate=4, rngs=rngs) if own else nnx.RNN(cell, rngs=rngs)
        self.options = nnx.static("resets" if own else None)

    def __call__(self, xs, inside):
        options = {"resets": jnp.arange(T)[None] == jnp.array([[2], [3]])} if self.options else {}
        call = lambda rnn, xs: rnn(xs, **options)  # noqa: E731
        return (nnx.jit(nnx.remat(call)) if inside else call)(self.rnn, xs)


@pytest.mark.parametrize("own", [True, False])
def test_nnx_an_rnn_inside_transformations(own):
    graphdef, state = nnx.split(module_of(lambda rngs: Around(rngs, own)))

    @jit
    def both(state):
        found = []
        fresh = lambda: nnx.merge(graphdef, jax.tree.map(lambda a: a, state))  # noqa: E731
        for inside in (False, True):
            loss_fn = lambda model, inside=inside: jnp.sum(jnp.sin(model(XS, inside)))  # noqa: E731
            tap = tap_nnx(loss_fn, fresh())
            run = jrnn.unroll(tap.cell, tap.params, tap.xs, **tap.options)
            deltas = jrnn.state_gradients(tap.cell, tap.params, tap.xs, tap.loss, **tap.options)
            found.append((tap.loss(run), deltas, loss_fn(fresh())))
        return found

    plain, inside = both(state)
    for a, b in zip(*map(jax.tree.leaves, (plain, inside)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(plain[0], plain[2], rtol=1e-12)


def test_a_cell_of_jrnn_in_flaxs_rnn_is_refused():
    class Wrong(nnx.Module):
        def __init__(self, rngs):
            self.rnn = nnx.RNN(jrnn.gru(H), rngs=rngs)

        def __call__(self, xs):
            return self.rnn(xs)

    with pytest.raises(jrnn.InputError, match=r"cell: got GRU in Flax.*jrnn.interop.nnx.RNN\(cell, input_size"):
        tap_nnx(lambda model: jnp.sum(model(XS)), Wrong(nnx.Rngs(0)))
