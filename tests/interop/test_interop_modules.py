"""jrnn's Flax modules against `nnx.RNN` and `nn.RNN` with the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jrnn
import jrnn.interop.linen
import jrnn.interop.nnx
from tests.interop.economy import drawn, jit, module_of, variables_of

D = jnp.float64
B, T, F, H = 3, 5, 2, 4
LENGTHS = np.array([5, 1, 3])
CALLS = (
    {},
    {"reverse": True},
    {"seq_lengths": LENGTHS, "return_carry": True, "reverse": True, "time_major": True},
    {"seq_lengths": LENGTHS, "return_carry": True, "reverse": True, "keep_order": True},
)


def gates_of(weight, gates):
    return np.split(np.asarray(weight), gates, axis=-1)


def linen_params(kind, params):
    """jrnn's arrays, gate by gate, under the names of linen's cells."""
    if kind == "lstm":
        into = zip("ifgo", gates_of(params["w_in"], 4), strict=True)
        rec = zip("ifgo", gates_of(params["w_rec"], 4), gates_of(params["bias"], 4), strict=True)
        return {f"i{g}": {"kernel": w} for g, w in into} | {f"h{g}": {"kernel": w, "bias": b} for g, w, b in rec}
    into = zip("rzn", gates_of(params["w_in"], 3), gates_of(params["bias"], 3), strict=True)
    rec = {f"h{g}": {"kernel": w} for g, w in zip("rzn", gates_of(params["w_rec"], 3), strict=True)}
    rec["hn"]["bias"] = params["bias_rec"]
    return {f"i{g}": {"kernel": w, "bias": b} for g, w, b in into} | rec


def carry_like(kind):
    h = 0.5 * drawn((B, H), 1)
    return (2 * h, h) if kind == "lstm" else h


def compare(kind, ours, theirs):
    """Every call of CALLS, and their gradient by inputs and carry, in one program."""
    xs = drawn((B, T, F))

    def all_calls(xs, carry, rnn):
        found = []
        for options in CALLS:
            x = jnp.swapaxes(xs, 0, 1) if options.get("time_major") else xs
            made = rnn(x, initial_carry=carry if options.get("return_carry") else None, **options)
            carry_after, ys = made if options.get("return_carry") else (None, made)
            ys = jnp.swapaxes(ys, 0, 1) if options.get("time_major") else ys
            valid = jnp.arange(T)[None] < options.get("seq_lengths", jnp.full(B, T))[:, None]
            found.append((carry_after, jnp.where(valid[..., None], ys, jnp.zeros_like(ys))))
        return found

    def loss(xs, carry, rnn):
        found = all_calls(xs, carry, rnn)
        return sum(jnp.sum(jnp.sin(3 * a)) for a in jax.tree.leaves(found)), found

    @jit
    def both(xs, carry):
        return [jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(xs, carry, rnn) for rnn in (ours, theirs)]

    for a, b in zip(*map(jax.tree.leaves, both(xs, carry_like(kind))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_linen_is_a_drop_in(kind):
    ours = jrnn.interop.linen.RNN(getattr(jrnn, kind)(H))
    theirs = nn.RNN((nn.OptimizedLSTMCell if kind == "lstm" else nn.GRUCell)(H, param_dtype=D))
    params = variables_of(ours, np.ones((B, T, F)))["params"]["cell"]
    converted = {"params": {"cell": linen_params(kind, params)}}
    compare(
        kind,
        lambda xs, **options: ours.apply({"params": {"cell": params}}, xs, **options),
        lambda xs, **options: theirs.apply(converted, xs, **options),
    )


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_nnx_is_a_drop_in(kind):
    ours = module_of(lambda rngs: jrnn.interop.nnx.RNN(getattr(jrnn, kind)(H), F, rngs=rngs))
    params = ours.cell_params
    flax_cell = nnx.OptimizedLSTMCell if kind == "lstm" else nnx.GRUCell
    cell = module_of(lambda rngs: flax_cell(F, H, param_dtype=D, rngs=rngs))
    cell.dense_i.kernel[...], cell.dense_h.kernel[...] = params["w_in"], params["w_rec"]
    (cell.dense_h if kind == "lstm" else cell.dense_i).bias[...] = params["bias"]
    if kind == "gru":
        ours.params["bias_rec"][...] = jnp.zeros(H, D)  # nnx.GRUCell has none
    graphs = [nnx.split(ours), nnx.split(nnx.RNN(cell, rngs=nnx.Rngs(0)))]

    def made(graph):
        """nnx.RNN runs in jit only with variables and generators made there: it draws even a carry of zeros."""
        return lambda xs, **options: nnx.merge(graph[0], jax.tree.map(jnp.array, graph[1]))(
            xs, rngs=nnx.Rngs(0), **options
        )

    compare(kind, *map(made, graphs))


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_both_directions_and_layers(library):
    """Bidirectional below an LSTM below a GRU, against Flax's modules in a row, with lengths."""
    cells = jrnn.lstm(H), jrnn.gru(H), jrnn.lstm(3)
    xs = drawn((B, T, F))
    if library == "linen":
        room = jrnn.interop.linen
        one, other, top = map(room.RNN, cells)
        ours = room.Stack([room.Bidirectional(one, other), top])
        params = variables_of(ours, xs)["params"]
        call = lambda *args, **options: ours.apply({"params": params}, *args, **options)  # noqa: E731
        below, above = params["layers_0"], params["layers_1"]["cell"]
        own = below["forward_rnn"]["cell"], below["backward_rnn"]["cell"], above
    else:
        room = jrnn.interop.nnx
        one, other, top = (
            module_of(lambda rngs, cell=cell, size=size: room.RNN(cell, size, rngs=rngs), seed=size)
            for cell, size in zip(cells, (F, F, 2 * H), strict=True)
        )
        call = room.Stack([room.Bidirectional(one, other), top])
        own = tuple(rnn.cell_params for rnn in (one, other, top))
    kinds = "lstm", "gru", "lstm"
    flax_cells = [nn.OptimizedLSTMCell(H, param_dtype=D), nn.GRUCell(H, param_dtype=D), nn.LSTMCell(3, param_dtype=D)]
    variables = [{"params": {"cell": linen_params(k, p)}} for k, p in zip(kinds, own, strict=True)]

    def theirs(xs):
        options = dict(seq_lengths=LENGTHS, return_carry=True)
        back = {"reverse": True, "keep_order": True}
        (c0, y0), (c1, y1) = (
            nn.RNN(cell).apply(v, xs, **options, **more)
            for cell, v, more in zip(flax_cells[:2], variables[:2], ({}, back), strict=True)
        )
        c2, y2 = nn.RNN(flax_cells[2]).apply(variables[2], jnp.concatenate([y0, y1], -1), **options)
        return ((c0, c1), c2), y2

    mine, wanted = jit(lambda xs: (call(xs, seq_lengths=LENGTHS, return_carry=True), theirs(xs)))(xs)
    for a, b in zip(jax.tree.leaves(mine[0]), jax.tree.leaves(wanted[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    valid = np.arange(T)[None] < np.asarray(LENGTHS)[:, None]
    np.testing.assert_allclose(mine[1][valid], wanted[1][valid], rtol=1e-12, atol=1e-12)
    assert np.all(mine[1][~valid] == 0)


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_batch_shapes_length_zero_and_float32(library):
    xs = drawn((2, 3, T, F), dtype=np.float32)
    cell = jrnn.lstm(H, dtype=jnp.float32)
    if library == "linen":
        rnn = jrnn.interop.linen.RNN(cell)
        variables = variables_of(rnn, xs)
        call = lambda *a, **k: rnn.apply(variables, *a, **k)  # noqa: E731
    else:
        call = module_of(lambda rngs: jrnn.interop.nnx.RNN(cell, F, rngs=rngs))
    h0 = (np.full((2, 3, H), 0.2, np.float32), np.full((2, 3, H), 0.4, np.float32))
    lengths = np.array([[0, 2, 5], [1, 0, 3]])

    @jit
    def calls(xs):
        return (
            call(xs, initial_carry=h0, seq_lengths=lengths, return_carry=True),
            call(xs[1, 2, :3], initial_carry=tuple(h[1, 2] for h in h0), return_carry=True),
            call(xs[:, :, :0]),
            call(xs, seq_lengths=lengths, reverse=True),
            call(xs, seq_lengths=lengths, reverse=True, keep_order=True),
        )

    (carry, ys), alone, none, reverse, kept = jax.device_get(calls(xs))
    assert ys.shape == (2, 3, T, H) and ys.dtype == jnp.float32
    np.testing.assert_array_equal(carry[0][0, 0], h0[0][0, 0])
    np.testing.assert_array_equal(carry[1][1, 1], h0[1][1, 1])
    assert np.all(ys[lengths == 0] == 0)
    # one sequence alone is a matrix-vector product, summed in another order: an ulp of what is summed, not of the sum
    np.testing.assert_allclose(alone[1], ys[1, 2, :3], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(alone[0][0], carry[0][1, 2], rtol=1e-6, atol=1e-7)
    assert none.shape == (2, 3, 0, H)
    np.testing.assert_array_equal(reverse[1, 2, :3], kept[1, 2, :3][::-1])


def test_bad_input_is_named():
    rnn = module_of(lambda rngs: jrnn.interop.nnx.RNN(jrnn.lstm(H), F, rngs=rngs))
    gru = module_of(lambda rngs: jrnn.interop.nnx.RNN(jrnn.gru(H), F, rngs=rngs))
    xs, zeros = np.ones((B, T, F)), np.zeros((B, H))
    room = jrnn.interop.nnx
    for call, match in (
        (lambda: rnn(xs, seq_lengths=LENGTHS, time_major=True), r"seq_lengths: got shape \(3,\); .*time_major=True"),
        (
            lambda: rnn(xs, initial_carry=zeros),
            r"initial_carry: got float64\[3, 4\]; need \(c float64\[3, 4\], h fl",
        ),
        (lambda: rnn(xs, initial_carry=(zeros[:2], zeros)), "initial_carry: got .*; need "),
        (lambda: gru(xs, initial_carry=zeros[:2]), r"initial_carry: got float64.2, 4.; need h float64\[3, 4\]$"),
        (lambda: room.Bidirectional(rnn, gru)(xs, initial_carry=3), "initial_carry: got a int; need one for each dir"),
        (lambda: rnn(xs[0, 0]), r"inputs: got shape \(2,\); need \[\*batch, time, features\]"),
        (lambda: rnn(xs[..., :1]), "2 features"),
        (
            lambda: room.RNN(module_of(lambda rngs: nnx.GRUCell(F, H, rngs=rngs)), F, rngs=nnx.Rngs(0)),
            "cell: got GRUCell; need a cell",
        ),
        (lambda: room.RNN(jrnn.lstm(H), F, rngs=jax.random.key(0)), "rngs: got .*; need an nnx.Rngs"),
        (lambda: room.Bidirectional(rnn, rnn), "backward_rnn: got the same module"),
        (lambda: room.Stack([]), "layers: got none"),
        (lambda: room.Stack([rnn])(xs, initial_carry=()), "initial_carry: got 0 carries; need one for each of the 1"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()
