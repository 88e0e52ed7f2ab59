"""Recurrent dropout acts where recurrent weights read h and nowhere else: NumPy loops of each kind of cell.

The masks are read off an Elman cell with h_t = mask * h_{t-1}: a key means the same masks for all cells of its shape.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cells.cases import Case, normal_like

KEY = jax.random.key(5)
T, B, F, H, RATE = 5, 3, 2, 4, 0.3
KEEP = jrnn.elman(H, "identity", w_in="zeros", w_rec="identity")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def elman(p, s, x, m):
    return {"h": np.tanh(x @ p["w_in"] + (m * s["h"]) @ p["w_rec"] + p["bias"])}


def lstm(p, s, x, m):
    i, f, g, o = np.split(x @ p["w_in"] + (m * s["h"]) @ p["w_rec"] + p["bias"], 4, axis=-1)
    c = sigmoid(f) * s["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


def gru(p, s, x, m):
    """Both, as Keras has them: z h is the whole h, the reset multiplies what the mask left."""
    read, from_x = m * s["h"], x @ p["w_in"] + p["bias"]
    u_r, u_z, u_n = np.split(p["w_rec"], 3, axis=-1)
    r, z = sigmoid(from_x[..., :H] + read @ u_r), sigmoid(from_x[..., H : 2 * H] + read @ u_z)
    inner = r * (read @ u_n + p["bias_rec"]) if "bias_rec" in p else (r * read) @ u_n
    return {"h": (1 - z) * np.tanh(from_x[..., 2 * H :] + inner) + z * s["h"]}


def gru_refined(p, s, x, m):
    read, from_x = m * s["h"], x @ p["w_in"] + p["bias"]
    u_r, u_z, u_q, u_n = np.split(p["w_rec"], 4, axis=-1)
    r, z, q = (sigmoid(v + read @ u) for v, u in zip(np.split(from_x, 4, axis=-1), (u_r, u_z, u_q), strict=False))
    keep = 2 * q * z + (1 - 2 * q) * z * z
    return {"h": (1 - keep) * np.tanh(from_x[..., 3 * H :] + (r * read) @ u_n) + keep * s["h"]}


def leaky(p, s, x, m):
    a = sigmoid(p["theta"])
    return {"h": (1 - a) * s["h"] + a * elman(p["cell"], s, x, m)["h"]}


def leaky_norm_gru(p, s, x, m):
    h = gru(p["cell"]["cell"], s, x, m)["h"]
    centred = h - h.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["cell"]["scale"] + p["cell"]["bias"]
    a = sigmoid(p["theta"])
    return {"h": (1 - a) * s["h"] + a * normal}


def cornn(p, s, x, m):
    force = np.tanh(x @ p["w_in"] + (m * s["h"]) @ p["w_rec"] + s["z"] @ p["w_vel"] + p["bias"])
    z = s["z"] + 0.3 * (force - 2.7 * s["h"] - 4.7 * s["z"])
    return {"h": s["h"] + 0.3 * z, "z": z}


def unicornn(p, s, x, m):
    pace = 0.7 * sigmoid(p["rate"])
    z = s["z"] - pace * (np.tanh(p["w_rec"] * m * s["h"] + x @ p["w_in"] + p["bias"]) + 0.5 * s["h"])
    return {"h": s["h"] + pace * z, "z": z}


def lem(p, s, x, m):
    from_x, u = np.split(x @ p["w_in"] + p["bias"], 4, axis=-1), np.split(p["w_rec"], 4, axis=-1)
    a, c, to_z = (from_x[i] + (m * s["h"]) @ u[i] for i in range(3))
    a, c = 0.8 * sigmoid(a), 0.8 * sigmoid(c)
    z = (1 - a) * s["z"] + a * np.tanh(to_z)
    return {"h": (1 - c) * s["h"] + c * np.tanh(from_x[3] + z @ u[3]), "z": z}


def antisymmetric(p, s, x, m):
    w = p["w_rec"] - p["w_rec"].T - 0.6 * np.eye(H)
    return {"h": s["h"] + 0.3 * np.tanh(x @ p["w_in"] + (m * s["h"]) @ w + p["bias"])}


def own_start(params, batch_shape):
    return jnp.zeros((*batch_shape, H))


@jax.jit
def own_step(p, h, x):
    """A user's Elman network, h beside x in one product."""
    return jnp.tanh(jnp.concatenate([x, h], axis=-1) @ jnp.concatenate([p["w_in"], p["w_rec"]]) + p["bias"][None])


def own_init(key, input_size):
    return jrnn.elman(H).init(key, input_size)


CELLS = {
    "elman": (jrnn.elman(H), elman),
    "lstm": (jrnn.lstm(H), lstm),
    "gru_reset_after": (jrnn.gru(H), gru),
    "gru_reset_before": (jrnn.gru(H, reset_after=False), gru),
    "gru_refined": (jrnn.gru(H, reset_after=False, refine=True), gru_refined),
    "leaky_elman": (jrnn.leaky(jrnn.elman(H), 9), leaky),
    "leaky_norm_gru": (jrnn.leaky(jrnn.layer_norm(jrnn.gru(H), on="hidden"), 9), leaky_norm_gru),
    "cornn": (jrnn.cornn(H, dt=0.3), cornn),
    "unicornn": (jrnn.unicornn(H, dt=0.7, alpha=0.5), unicornn),
    "lem": (jrnn.lem(H, dt=0.8), lem),
    "antisymmetric": (jrnn.antisymmetric(H, epsilon=0.3, gamma=0.6), antisymmetric),
    "clip_state_gradient": (jrnn.clip_state_gradient(jrnn.gru(H), 1e6), gru),
    "scale_gradient": (jrnn.cures.scale_gradient(jrnn.gru(H), 1.0), gru),
    "mixed_precision": (jrnn.mixed_precision(jrnn.gru(H), dtype=np.float64, param_dtype=np.float64), gru),
    "from_functions": (jrnn.from_functions(init=own_init, initial_state=own_start, step=own_step), elman),
}


def mask_of(key, around=lambda cell: cell):
    """[B, H], 0 or 1 / (1 - rate)."""
    start = jrnn.ElmanState(jnp.ones((B, H)))
    cell = around(jrnn.dropout(KEEP, recurrent=RATE))
    return np.asarray(jrnn.unroll(cell, cell.init(KEY, 1), jnp.zeros((1, B, 1)), initial_state=start, key=key).last)


def loop(step, params, start, xs, mask):
    """[T + 1, B, H], h of each step."""
    named = start._asdict() if hasattr(start, "_asdict") else {"h": start}
    states = [{name: np.asarray(part) for name, part in named.items()}]
    for x in xs:
        states.append(step(params, states[-1], x, mask))
    return np.stack([state["h"] for state in states])


@pytest.mark.parametrize("name", CELLS)
def test_the_mask_is_on_what_the_weights_read(name):
    plain, step = CELLS[name]
    case = Case("", plain, F, 0, 0)
    params, xs, start = case.params(), case.inputs((T, B)), case.state((B,))
    mask = mask_of(KEY)
    assert 0 < np.mean(mask == 0) < 1
    cell = jrnn.dropout(plain, recurrent=RATE)
    run = jax.jit(partial(jrnn.unroll, cell))(params, xs, initial_state=start, key=KEY)
    expected = loop(step, params, start, xs, mask)
    np.testing.assert_allclose(run.outputs, expected[1:], rtol=1e-12, atol=1e-14)
    # the same loop without a mask is the cell itself, so that the mask is all that differs
    quiet = jrnn.unroll(plain, params, xs, initial_state=start, implementation="reference")
    np.testing.assert_allclose(quiet.outputs, loop(step, params, start, xs, 1.0)[1:], rtol=1e-12, atol=1e-14)


def test_masks_within_and_around():
    """Zoneout and 16 bits around dropout and within it, a mask on a mask, and teacher forcing: what each reads."""
    plain = jrnn.gru(H)
    case = Case("", plain, F, 0, 0)
    params, xs, start = case.params(), case.inputs((T, B)), case.state((B,))

    def outputs(cell, key, xs=xs):
        return jax.jit(partial(jrnn.unroll, cell))(params, xs, initial_state=start, key=key).outputs

    # without zoneout's own draws, rate 0 and 1 tell: all stay, or none
    dropped = loop(gru, params, start, xs, mask_of(KEY))[1:]
    np.testing.assert_allclose(
        outputs(jrnn.dropout(jrnn.zoneout(plain, 0.0), recurrent=RATE), KEY), dropped, rtol=1e-12
    )
    stayed = outputs(jrnn.dropout(jrnn.zoneout(plain, 1.0), recurrent=RATE), KEY)
    np.testing.assert_array_equal(stayed, np.broadcast_to(start.h, (T, B, H)))  # and not 1 / (1 - rate) times it
    within = outputs(jrnn.zoneout(jrnn.dropout(plain, recurrent=RATE), 0.0), KEY)
    mask = mask_of(KEY, around=lambda cell: jrnn.zoneout(cell, 0.0))
    np.testing.assert_allclose(within, loop(gru, params, start, xs, mask)[1:], rtol=1e-12)
    # both masks of two
    twice = jrnn.dropout(jrnn.dropout(plain, recurrent=0.5), recurrent=1.0)
    np.testing.assert_allclose(outputs(twice, KEY), loop(gru, params, start, xs, 0.0)[1:], rtol=1e-12)
    twice = jrnn.dropout(jrnn.dropout(plain, recurrent=1.0), recurrent=0.5)
    np.testing.assert_allclose(outputs(twice, KEY), loop(gru, params, start, xs, 0.0)[1:], rtol=1e-12)
    # forced units are carried on as they were forced
    forced = jrnn.cures.teacher_forced(plain, 2)
    seen = np.random.default_rng(1).normal(size=(T, B, 2))
    alpha = np.full((T, B, 1), 0.25)
    h = np.asarray(start.h)
    for t in range(T):
        h = np.concatenate([0.75 * h[:, :2] + 0.25 * seen[t], h[:, 2:]], axis=-1)
        h = gru(params, {"h": h}, xs[t], mask_of(KEY))["h"]
    given = np.concatenate([seen, alpha, xs], axis=-1)
    found = outputs(jrnn.dropout(forced, recurrent=RATE), KEY, given)
    np.testing.assert_allclose(found[-1], h[:, :2], rtol=1e-12)


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_stays_bounded(reset_after):
    """|h| <= 1 whatever the weights, as without dropout: on z h a factor of 2 a step would be 2^500."""
    cell = jrnn.dropout(jrnn.gru(H, reset_after, t_max=500), recurrent=0.5)
    params = cell.init(KEY, F)
    xs = jax.random.normal(KEY, (500, B, F))
    run = jax.jit(partial(jrnn.unroll, cell))(params, xs, key=KEY)
    assert np.abs(run.outputs).max() <= 1


def test_a_jacobian_is_that_of_the_masked_step():
    """dh'/dh of a GRU without recurrent weights at rate 1/2 is diag(z), with no mask in it; with weights autodiff's."""
    cell = jrnn.dropout(jrnn.gru(H), recurrent=0.5)
    case = Case("", cell, F, 0, 0)
    params, xs = case.params(), case.inputs((T,))
    without = params | {"w_rec": np.zeros_like(params["w_rec"])}
    z = sigmoid((xs @ params["w_in"] + params["bias"])[:, H : 2 * H])
    J = jrnn.jacobians(cell, without, xs, key=KEY)
    np.testing.assert_allclose(J, z[:, :, None] * np.eye(H), rtol=1e-12, atol=1e-15)

    def loss(run):
        return jnp.sum(jnp.sin(run.outputs))

    flow = jrnn.gradient_flow(cell, params, xs, loss, key=KEY)
    assert flow.sum_error < 1e-12


@pytest.mark.parametrize(
    "cell",
    [jrnn.linear(H), jrnn.min_gru(H), jrnn.min_lstm(H), jrnn.rg_lru(H), jrnn.lru(H), jrnn.leaky(jrnn.min_gru(H), 9)],
    ids=lambda cell: type(cell).__name__,
)
def test_no_recurrent_weights_no_recurrent_mask(cell):
    for around in (cell, jrnn.stack(jrnn.gru(F), cell), jrnn.Bidirectional(cell)):
        with pytest.raises(jrnn.InputError, match=r"^recurrent: got a rate around .*; need .*jrnn.zoneout"):
            jrnn.dropout(around, recurrent=0.5)
    assert jrnn.dropout(cell, outputs=0.5).outputs == 0.5


def own_gru(p, h, x):
    z = jax.nn.sigmoid(x + h @ p["w"])
    return z * h + (1 - z) * jnp.tanh(x)


def own_delay(p, h, x):
    """Half of h is moved on as it is."""
    return jnp.concatenate([jnp.tanh(h[..., :2] @ p["w"][:2, :2] + x[..., :2]), h[..., :2]], axis=-1)


def own_diagonal(p, h, x):
    return jnp.tanh(jnp.einsum("...i,i->...i", h, p["w"][0]) + x)


def own_loop(p, h, x):
    return jax.lax.fori_loop(0, 2, lambda _, v: jnp.tanh(v @ p["w"] + x), h)


@pytest.mark.parametrize("step", [own_gru, own_delay, own_diagonal, own_loop])
def test_a_step_of_ones_own_that_carries_h_is_refused(step):
    cell = jrnn.dropout(jrnn.from_functions(initial_state=own_start, step=step), recurrent=0.5)
    params = {"w": normal_like(jax.ShapeDtypeStruct((H, H), float), 0)}
    xs = np.ones((T, B, H))
    jrnn.unroll(cell, params, xs)  # without a key it is as it was
    with pytest.raises(
        jrnn.InputError, match="^recurrent: got a rate around FunctionCell, whose step takes h elsewhere"
    ):
        jrnn.unroll(cell, params, xs, key=KEY)


def test_a_diagonal_of_weights_is_refused_in_a_run():
    cell = jrnn.dropout(jrnn.indrnn(H), recurrent=0.5)
    with pytest.raises(jrnn.InputError, match="^recurrent: got a rate around IndRNN"):
        jrnn.unroll(cell, cell.init(KEY, F), np.ones((T, F)), key=KEY)
