"""The options of jrnn's Flax modules: resets, mask, reset_state, truncate, remat, dtypes, partitioning, carries."""

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

B, T, F, H = 2, 6, 3, 4
XS = drawn((B, T, F))
RESETS = np.array([[0, 0, 1, 0, 0, 1], [1, 0, 0, 1, 0, 0]], bool)
MASK = np.array([[1, 1, 1, 1, 0, 1], [1, 0, 1, 1, 1, 1]], bool)
FRESH = drawn((B, H), 7)


def called(library, cell, **settings):
    """(a function that calls the module, its cell's parameters)."""
    if library == "nnx":
        module = module_of(lambda rngs: jrnn.interop.nnx.RNN(cell, F, rngs=rngs, **settings))
        return module, module.cell_params
    module = jrnn.interop.linen.RNN(cell, **settings)
    variables = variables_of(module, XS)
    return lambda *args, **options: module.apply(variables, *args, **options), variables["params"]["cell"]


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_options_are_those_of_unroll(library):
    """Values and gradients by the inputs, batch-major and time-major; and a loop that starts anew at every flag."""
    cell = jrnn.gru(H)
    call, params = called(library, cell, return_carry=True, truncate=2)
    options = dict(resets=RESETS, mask=MASK, reset_state=FRESH, remat="sqrt")

    def ours(xs):
        return call(xs, **options)

    def turned(xs):
        time_first = {name: each.T for name, each in (("resets", RESETS), ("mask", MASK))}
        carry, ys = call(jnp.swapaxes(xs, 0, 1), time_major=True, **(options | time_first))
        return carry, jnp.swapaxes(ys, 0, 1)

    def wanted(xs):
        reset = jrnn.cells.GRUState(FRESH)
        run = jrnn.unroll(cell, params, xs, time_axis=1, truncate=2, **(options | {"reset_state": reset}))
        return run.final_state.h, run.outputs

    def loss(xs, run):
        found = run(xs)
        return sum(jnp.sum(jnp.sin(3 * a)) for a in found), found

    @jit
    def both(xs):
        return [jax.value_and_grad(loss, has_aux=True)(xs, run) for run in (ours, turned, wanted)]

    first, second, last = both(XS)
    for a, b, c in zip(*map(jax.tree.leaves, (first, second, last)), strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(b, c, rtol=1e-12, atol=1e-13)
    h, outputs = np.zeros((B, H)), np.asarray(first[0][1][1])
    for t in range(T):
        h = np.where(RESETS[:, t, None], FRESH, h)
        after = np.asarray(cell.step(params, jrnn.cells.GRUState(jnp.asarray(h)), jnp.asarray(XS[:, t])).h)
        h = np.where(MASK[:, t, None], after, h)
        np.testing.assert_allclose(outputs[:, t], np.where(MASK[:, t, None], h, 0), rtol=1e-12, atol=1e-13)
    for flags, match in (
        (RESETS.astype(float), "resets: got dtype float64"),
        (RESETS.T, r"resets: got shape \(6, 2\)"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call(XS, resets=flags)
    with pytest.raises(jrnn.InputError, match=r"reset_state: got .*need h float64\[2, 4\]"):
        call(XS, reset_state=FRESH[:, :2])


def test_options_reach_layers_and_directions():
    room = jrnn.interop.nnx
    one, other = (module_of(lambda r: room.RNN(jrnn.gru(H), F, rngs=r), seed=i) for i in (1, 9))
    top = module_of(lambda rngs: room.RNN(jrnn.lstm(2), 2 * H, rngs=rngs))
    model = room.Stack([room.Bidirectional(one, other), top])
    fresh = ((FRESH, 2 * FRESH), (FRESH[:, :2], FRESH[:, 2:]))
    cell = jrnn.stack(jrnn.Bidirectional(jrnn.gru(H), jrnn.gru(H)), jrnn.lstm(2))
    params = ({"forward": one.cell_params, "backward": other.cell_params}, top.cell_params)
    gru, lstm = jrnn.cells.GRUState, jrnn.cells.LSTMState
    as_state = (jrnn.BidirectionalState(gru(FRESH), gru(2 * FRESH)), lstm(h=FRESH[:, 2:], c=FRESH[:, :2]))

    @jit
    def both(xs):
        run = jrnn.unroll(cell, params, xs, time_axis=1, resets=RESETS, mask=MASK, reset_state=as_state)
        return model(xs, resets=RESETS, mask=MASK, reset_state=fresh), run.outputs, model.initialize_carry((B,))

    ours, wanted, carry = both(XS)
    np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-13)
    assert jax.tree.map(jnp.shape, carry) == jax.tree.map(jnp.shape, fresh)
    with pytest.raises(jrnn.InputError, match="reset_state: got 1 carries; need one for each of the 2 layers"):
        model(XS, reset_state=(FRESH,))


def test_a_carry_needs_no_parameters_outside():
    linen, cell = jrnn.interop.linen, jrnn.stack(jrnn.lstm(H), jrnn.gru(2))
    shapes = (((5, H), (5, H)), (5, 2))
    learnt = jrnn.learnable_initial_state(jrnn.gru(2))
    for carry in (linen.RNN(cell).initialize_carry((5,)), called("nnx", cell)[0].initialize_carry((5,))):
        assert jax.tree.map(jnp.shape, carry) == shapes and not any(map(np.any, jax.tree.leaves(carry)))
    assert linen.RNN(jrnn.gru(2), dtype="bfloat16").initialize_carry().dtype == jnp.bfloat16
    module = linen.RNN(learnt)
    variables = variables_of(module, XS)
    h = module.apply(variables, (2,), method="initialize_carry")
    np.testing.assert_array_equal(h[1], variables["params"]["cell"]["initial_state"].h)
    for call, match in (
        (lambda: module.initialize_carry((2,)), "initialize_carry: got a module without parameters"),
        (lambda: linen.RNN(cell).initialize_carry(5), "batch_shape: got 5; need a tuple"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            call()


@pytest.mark.parametrize("library", ["linen", "nnx"])
def test_master_weights_in_float32(library):
    """As Flax's layers: parameters and gradients in param_dtype, outputs in dtype."""
    call, params = called(library, jrnn.gru(H, dtype="bfloat16"), param_dtype="float32")
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    narrow = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)

    @jit
    def both(xs):
        return call(xs), jrnn.unroll(jrnn.gru(H, dtype="bfloat16"), narrow, xs, time_axis=1).outputs

    ours, wanted = both(XS.astype(np.float32))
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_array_equal(ours, wanted)
    wide, params = called(library, jrnn.gru(H, dtype="float32"), dtype="bfloat16")
    assert params["w_in"].dtype == jnp.float32 and jax.eval_shape(wide, XS).dtype == jnp.bfloat16


def test_annotations_of_partitioning_pass_through():
    mesh = jax.make_mesh((1, 1), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    names = {"w_in": (None, "model"), "1/w_rec": ("data", "model")}
    zeros, P = dict(w_in="zeros", w_rec="zeros"), jax.sharding.PartitionSpec  # quick to draw
    cell = jrnn.stack(jrnn.gru(H, **zeros), jrnn.lstm(2, **zeros))
    with jax.set_mesh(mesh):
        model = jrnn.interop.nnx.RNN(cell, F, sharding=names, rngs=nnx.Rngs(0))
        specs = nnx.get_partition_spec(nnx.state(model))["params"]
    found = [(layer["w_in"].get_value(), layer["w_rec"].get_value()) for layer in (specs[0], specs[1])]
    assert found == [(P(None, "model"), P()), (P(None, "model"), P("data", "model"))]
    module = jrnn.interop.linen.RNN(cell, sharding=names)
    variables = jax.eval_shape(module.init, jax.random.key(0), XS)
    specs = nn.get_partition_spec(variables)["params"]["cell"]
    assert [(s["w_in"], s["w_rec"]) for s in specs] == found
    plain = variables_of(jrnn.interop.linen.RNN(cell), XS)
    boxed = jax.tree.map(lambda box, w: box.replace_boxed(w) if isinstance(box, nn.Partitioned) else w,
                         variables, plain, is_leaf=lambda node: isinstance(node, nn.Partitioned))  # fmt: skip
    one, other = (jax.make_jaxpr(module.apply)(v, XS) for v in (plain, boxed))
    assert str(one) == str(other)
    boxes = (
        lambda init, axes: nnx.with_partitioning(init, axes),
        lambda init, axes: nn.with_partitioning(init, axes),
    )
    made = []
    for with_names in boxes:
        w_in = with_names(nn.initializers.lecun_normal(), (None, "model"))
        bias = with_names(nn.initializers.zeros_init(), ("model",))
        made.append(jrnn.residual(jrnn.gru(F, w_in=w_in, w_rec="zeros", bias=bias)))
    with jax.set_mesh(mesh):
        model = jrnn.interop.nnx.RNN(made[0], F, rngs=nnx.Rngs(0))
        specs = [nnx.get_partition_spec(nnx.state(model))["params"]]
    shapes = jax.eval_shape(jrnn.interop.linen.RNN(made[1]).init, jax.random.key(0), XS)
    specs = [jax.tree.map(lambda spec: spec.get_value(), specs[0], is_leaf=lambda v: isinstance(v, nnx.Variable))]
    specs.append(nn.get_partition_spec(shapes)["params"]["cell"])
    for spec in specs:
        assert (spec["w_in"], spec["bias"], spec["w_rec"]) == (P(None, "model"), P("model"), P())
    for wrong, match in (
        ({"w": ("model",)}, "sharding: got 'w'; need names of the parameters: 0/bias, 0/bias_rec, 0/w_in"),
        ({"bias": (None, "model")}, r"sharding: got \(None, 'model'\) for 'bias' of shape \(12,\)"),
    ):
        with pytest.raises(jrnn.InputError, match=match):
            jrnn.interop.nnx.RNN(cell, F, sharding=wrong, rngs=nnx.Rngs(0))


def test_a_cell_of_jrnn_in_flaxs_own_rnn_is_pointed_to_jrnns():
    with pytest.raises(jrnn.InputError, match=r"cell: got GRU in Flax's own RNN; need .*jrnn.interop.nnx.RNN\(cell"):
        nnx.RNN(jrnn.gru(H))(XS)
    with pytest.raises(jrnn.InputError, match=r"cell: got Stack in Flax's own RNN; need .*jrnn.interop.linen.RNN"):
        nn.RNN(jrnn.stack(jrnn.gru(H))).init(jax.random.key(0), XS)
