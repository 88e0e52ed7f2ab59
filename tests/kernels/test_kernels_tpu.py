"""The TPU's kernel where there is no TPU: interpreted step by step with its memory watched, lowered, refused, split.

That it computes the right thing stands in `test_kernels_values.py`; that it compiles, in `tests/proofs/tpu.py`.
"""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding, PartitionSpec

import jrnn
from jrnn.kernels import IMPLEMENTATIONS, RECURRENCES, primitives
from jrnn.kernels.implementations import CallFacts, reference, tpu, tpu_passes
from jrnn.kernels.pallas_scan import kernel as pallas_kernel
from jrnn.kernels.pallas_scan import plan
from jrnn.kernels.recurrences import Sloped
from jrnn.kernels.recurrences.elman import Elman
from jrnn.unrolling import choice

from .cases import ALL, KINDS, Case, close, cotangents_like, kernel, make

SLOPED = [kind for kind in KINDS if kind != "linear"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 4 steps and 8 sequences: more than one of each, the last one not full."""
    monkeypatch.setattr(plan, "BLOCKS", (4,))
    monkeypatch.setattr(plan, "MOST_ROWS", 8)


def watched(case, cores=2):
    """(whether results and gradients are those of the spec, whether accesses raced), on a TPU of several cores.

    By the functions themselves: the interpreter's callbacks do not pass through a primitive.
    """
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call as interpreter

    watching = tpu.Tpu(interpret=pltpu.InterpretParams(detect_races=True, num_cores_or_threads=cores))
    operands, events = make(case, jnp.float32)
    spec = jax.eval_shape(partial(reference.run, case.scan), operands, events)
    cotangents = jax.tree.unflatten(jax.tree.structure(spec), cotangents_like(spec))
    needed = jax.tree.map(lambda _: True, operands)

    def all_of(implementation, operands, events, cotangents):
        result = implementation.forward(case.scan, operands, events, True, True)
        grads = implementation.backward(case.scan, needed, operands, events, result, cotangents)
        return result._replace(gates=None), grads

    given = operands, events, cotangents
    found = jax.block_until_ready(jax.jit(partial(all_of, watching))(*given))
    races = getattr(interpreter, "get_races", lambda: interpreter.races)().races_found  # by its name in each JAX
    try:
        close(found, jax.jit(partial(all_of, reference.REFERENCE))(*given), tol=2e-5)
    except AssertionError:
        return False, races
    return True, races


WATCHED = [Case(kind, 1, 6, 9, 2, 3, ALL if kind != "gru" else ALL + " reverse") for kind in SLOPED]


@pytest.mark.parametrize("case", WATCHED, ids=str)
def test_no_races_and_nothing_read_that_was_not_written(case, small_blocks):
    """Memory is full of NaN; two cores share the tiles of sequences."""
    assert watched(case) == (True, False)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name, fault",
    [("copy", lambda refs, values: None), ("ORDER", ("parallel", "parallel"))],
    ids=["a state that is not set", "blocks of time that cores share"],
)
def test_faults_are_seen(name, fault, monkeypatch, small_blocks):
    monkeypatch.setattr(pallas_kernel, name, fault)
    assert watched(Case("tanh", 1, 6, 9, 2, 3)) != (True, False)


def setting(cell, sequences=4):
    """(parameters, xs, lengths, resets)."""
    xs = jax.random.normal(jax.random.key(1), (6, sequences, 3), jnp.float32)
    resets = jnp.zeros((6, sequences), bool).at[2, 1:3].set(True)
    return cell.init(jax.random.key(0), 3), xs, jnp.arange(sequences) % 7, resets


@pytest.mark.parametrize(
    "cell",
    [
        jrnn.leaky(jrnn.elman(3, dtype="float32"), 9.0),
        jrnn.Bidirectional(jrnn.lstm(3, dtype="float32")),
        jrnn.min_gru(3, dtype="float32"),
    ],
    ids=["leaky", "two directions", "min_gru"],
)
def test_unroll_takes_it_by_name(cell, emulated):
    """Values, gradients of everything, those of each example and each member, a Hessian's product with a vector."""
    params, xs, lengths, resets = setting(cell)

    def of(name):
        def loss(params, xs):
            unrolled = jrnn.unroll(cell, params, xs, lengths=lengths, resets=resets, implementation=name)
            return jnp.sum(jnp.sin(unrolled.outputs)) + sum(map(jnp.sum, jax.tree.leaves(unrolled.final_state)))

        def alone(x):
            return jax.grad(lambda x: jnp.sum(jrnn.unroll(cell, params, x, implementation=name).outputs ** 2))(x)

        both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
        return jax.jit(
            lambda: (
                jax.value_and_grad(loss, (0, 1))(params, xs),
                jax.vmap(alone, in_axes=1)(xs),
                jax.vmap(jax.grad(loss), in_axes=(0, None))(both, xs),
                jax.jvp(jax.grad(loss), (params, xs), (params, xs))[1],
            )
        )()

    close(of("tpu"), of("reference"), tol=2e-5)
    explained = jrnn.kernels.explain(cell, params, "tpu", xs, lengths=lengths)
    assert explained.chosen == "tpu" and all(part.chosen == "tpu" for part in explained.parts.values())


def test_nobody_gets_it_unasked(emulated, monkeypatch):
    """Not before its checks have run on such a device; nor is a kernel traced to find whether it would fit."""
    cell = jrnn.lstm(3, dtype="float32")
    params, xs, *_ = setting(cell)
    monkeypatch.setattr(type(IMPLEMENTATIONS["native"]), "refuses", lambda self, facts: "it was asked first")
    kind, traced = jax.devices()[0].device_kind, tpu.unfit.cache_info().currsize
    for given in ((), (None, xs)):
        explained = jrnn.kernels.explain(cell, params, *given)
        assert explained.chosen == "xla"
        assert explained.refused["tpu"] == f"its checks have not yet run on a {kind}: name it to try it"
    assert tpu.unfit.cache_info().currsize == traced
    assert jrnn.kernels.explain(cell, params, "tpu", xs).chosen == "tpu"
    monkeypatch.setitem(tpu.CHECKED, kind, "on a day")
    assert jrnn.kernels.explain(cell, params).chosen == "tpu"


def test_on_a_cpu_it_says_where_it_runs():
    cell = jrnn.lstm(3, dtype="float32")
    params, xs, *_ = setting(cell)
    assert jrnn.kernels.explain(cell, params, ("tpu", "xla")).refused["tpu"] == "it runs on TPUs, and JAX runs on cpu"
    with pytest.raises(jrnn.InputError, match="tpu, but it runs on TPUs"):
        jrnn.unroll(cell, params, xs, implementation="tpu")


@pytest.mark.parametrize(
    "units, mib, why",
    [(256, 16, None), (1024, 16, None), (1024, 128, None), (2048, 16, "32.0 MiB"), (4096, 128, "128")],
)
def test_what_does_not_fit_is_refused_with_numbers(units, mib, why):
    """The weights of an LSTM: 8 H^2 bytes in bfloat16."""
    on = tpu.Tpu(vmem=mib * 2**20)
    facts = CallFacts(RECURRENCES["lstm"], jnp.dtype("bfloat16"), "tpu", 100, 32, 64, units)
    shapes = (64, 4 * units), (units, 4 * units), (4 * units,)
    weights = RECURRENCES["lstm"].weights(*(jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes))
    found = on.refuses(facts._replace(weights=weights))
    assert found is None if why is None else f"the weights take {why}" in found and f"of the {mib} MiB" in found


def facts_of(recurrence, units, dtype="float32", **weights):
    """A call on a TPU, its weights by their shapes; `None`: as `make` has them."""
    own = make(Case("lstm", 1, 1, 1, 3, units))[0].weights
    own = own._replace(**{name: jnp.zeros((1, *shape)) for name, shape in weights.items()})
    shapes = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape[1:], dtype), own)
    return CallFacts(recurrence, jnp.dtype(dtype), "tpu", 6, 4, 3, units, shapes)


@dataclass(frozen=True)
class Centred(Elman):
    """Its gates mix units otherwise than by a product with weights; what its base class says is not of them."""

    activation: str = "tanh"

    def gates(self, weights, sums, state):
        return (jnp.tanh(sums[0] - jnp.mean(sums[0], axis=-1, keepdims=True)),)


def test_what_mixes_units_is_refused():
    """The kernel would run it on H filled up with zeros. Who says nothing is refused."""
    members = {name: getattr(RECURRENCES["lstm"], name) for name in dir(Sloped) if not name.startswith("_")}
    silent = SimpleNamespace(**members)
    assert "elementwise" not in members
    for recurrence in (Centred(), silent):
        assert "mix units" in tpu.TPU.refuses(facts_of(recurrence, 3))
    for kind in SLOPED:
        assert vars(type(RECURRENCES[kind]))["elementwise"] is True
    assert tpu.Tpu(vmem=2**24).refuses(facts_of(RECURRENCES["lstm"], 3)) is None


class Factors(NamedTuple):
    """Of W_rec = u v."""

    w_in: jax.Array
    u: jax.Array
    v: jax.Array
    bias: jax.Array


@dataclass(frozen=True)
class LowRank(Elman):
    activation: str = "tanh"
    weights = Factors
    elementwise = True

    def sums_from(self, weights, from_x, state):
        return (from_x + state[0] @ weights.u @ weights.v,)

    def transposed(self, weights):
        return (weights.u @ weights.v).T

    def gradients(self, needs_gradient, weights, *rest):
        return weights


def test_axes_that_are_no_blocks_of_units_are_refused():
    """Nothing says how to fill them up to whole tiles."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((3, 6), (6, 4), (4, 6), (6,))]
    facts = CallFacts(LowRank(), jnp.dtype("float32"), "tpu", 6, 4, 3, 6, Factors(*shapes))
    why = tpu.Tpu(vmem=2**24).refuses(facts)
    assert "[6, 4]" in why and "multiples of H = 6" in why
    shapes[1:3] = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((6, 12), (12, 6))]
    assert tpu.Tpu(vmem=2**24).refuses(facts._replace(weights=Factors(*shapes))) is None


@pytest.mark.parametrize("kind, dtype", [("tanh", "float32"), ("lstm", "float32"), ("gru_reset_before", "bfloat16")])
def test_what_is_taken_fits_in_whatever_way_it_is_called(kind, dtype):
    """With a tap, and where the backward pass computes the gates again; at H where W is most of what is held."""
    case = Case(kind, 1, 6, 4, 3, 256, ALL)
    operands, events = jax.eval_shape(lambda: make(case, jnp.dtype(dtype)))
    shapes = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape[1:], w.dtype), operands.weights)
    facts = CallFacts(case.scan.recurrence, jnp.dtype(dtype), "tpu", 6, 4, 3, 256, shapes)
    sizes = (kib * 2**10 for kib in range(128, 2**14, 32))
    on = next(on for on in (tpu.Tpu(vmem=size) for size in sizes) if on.refuses(facts) is None)
    needed = jax.tree.map(lambda _: True, operands)

    def both(operands, events):
        result = on.forward(case.scan, operands, events, True, False)
        return on.backward(case.scan, needed, operands, events, result, result)

    jax.eval_shape(both, operands, events)


def test_what_is_always_refused_is_so_before_a_call():
    """`explain` without xs knows H."""
    cell = jrnn.lstm(8192, dtype="float32")
    shapes = jax.eval_shape(partial(cell.init, input_size=3), jax.random.key(0))
    facts = choice.known_facts(cell, shapes, None)
    assert "the weights take 1024.0 MiB" in tpu.Tpu(vmem=2**27).refuses(facts._replace(backend="tpu"))


def test_plans_fit_and_cover_everything():
    for held, of_row, of_step in ((0, 1, 512), (2**21, 10_000, 12_000), (2**23, 50_000, 50_000)):
        for rows in (0, 1, 7, 8, 9, 128, 129, 1000):
            for steps in (1, 5, 64, 1000):
                found = plan.plan_for(held, of_row, of_step, rows, steps, 2**24)
                assert held + found.tile * (of_row + 2 * found.block * of_step) <= 0.75 * 2**24
                assert found.rows >= rows and found.rows % found.tile == 0 == found.tile % 8
                tiles = found.rows // found.tile
                assert found.rows - rows <= 9 * tiles and found.block <= steps


@pytest.mark.parametrize("kind", SLOPED)
def test_it_lowers_for_a_tpu_that_is_not_here(kind, monkeypatch):
    """Both kernels of a gradient, also where JAX has 64 bits, and as an exported program."""
    monkeypatch.setitem(IMPLEMENTATIONS, "tpu", tpu.TPU)
    case = Case(kind, 2, 70, 3, 2, 5, ALL)
    operands, events = make(case, jnp.bfloat16)
    leaves, tree = jax.tree.flatten((operands, events))
    run = kernel(case.scan, name="tpu")

    @jax.jit
    def grads(*leaves):
        operands, events = tree.unflatten(leaves)
        loss = lambda o: sum(jnp.sum(a) for a in jax.tree.leaves(run(o, events)))  # noqa: E731
        return jax.tree.leaves(jax.grad(loss)(operands))

    exported = jax.export.export(grads, platforms=["tpu"])(*leaves)
    text = exported.mlir_module()
    assert text.count("tpu_custom_call") == 4  # of each direction
    if kind == "lstm":
        assert jax.export.deserialize(exported.serialize()).platforms == ("tpu",)


def test_symbols_are_refused(emulated):
    cell = jrnn.lstm(3, dtype="float32")
    params, xs, *_ = setting(cell)
    (rows,) = jax.export.symbolic_shape("rows")
    run = jax.jit(lambda xs: jrnn.unroll(cell, params, xs, implementation="tpu").outputs)
    with pytest.raises(jrnn.InputError, match="symbols"):
        jax.export.export(run)(jax.ShapeDtypeStruct((6, rows, 3), jnp.float32))


@pytest.mark.parametrize(
    "asked, dtype, exact",
    [
        (None, "float32", False),
        ("bfloat16", "float32", False),
        ("high", "float32", True),
        ("highest", "float32", True),
        ("highest", "bfloat16", False),  # Mosaic knows no other product
    ],
)
def test_products_are_as_precise_as_those_of_xla(asked, dtype, exact, emulated):
    """Those within the kernels of a gradient, whose setting stands inside a jitted loss."""
    cell = jrnn.lstm(3, dtype=dtype)
    params, xs, *_ = setting(cell)

    @jax.jit
    @jax.grad
    def grads(params, xs):
        with jax.default_matmul_precision(asked):
            return jnp.sum(jrnn.unroll(cell, params, xs.astype(dtype), implementation="tpu").outputs.astype("float32"))

    wide = [line for line in grads.lower(params, xs).as_text().splitlines() if "dot_general" in line and "x512" in line]
    assert len(wide) == 2  # h W_rec and dz W_rec^T: 4 H, filled up to tiles
    assert ["[HIGHEST, HIGHEST]" in line for line in wide] == [exact, exact]


@pytest.mark.parametrize("asked", ["BF16_BF16_BF16", "BF16_BF16_F32", "F16_F16_F32", "ANY_F8_ANY_F8_F32", "default"])
def test_settings_that_no_cpu_has_are_coarse(asked):
    with jax.default_matmul_precision(asked):
        assert tpu_passes.precision_for(jnp.float32) == "default"
    with jax.default_matmul_precision("BF16_BF16_F32_X3"):
        assert tpu_passes.precision_for(jnp.float32) == "highest"


@pytest.mark.thorough
@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("sequences", [6, 5])
def test_plain_jit_on_two_devices(asks, sequences, emulated, monkeypatch):
    """Whether XLA's partitioner asks how the kernel is split, or, as on TPUs, does not (then under `set_mesh`, too)."""
    if not asks:
        monkeypatch.setattr(primitives, "ASKED", frozenset())
    cell = jrnn.stack(jrnn.lstm(4, dtype="float32"), jrnn.gru(3, dtype="float32"))
    params, xs, lengths, _ = setting(cell, sequences)
    mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, xs, lengths):
        xs = xs[:, :sequences]
        return jnp.sum(jrnn.unroll(cell, params, xs, lengths=lengths, implementation="tpu").outputs ** 2)

    wide = jnp.concatenate([xs, xs[:, :1]], axis=1) if sequences % 2 else xs
    placed = [
        jax.device_put(a, NamedSharding(mesh, PartitionSpec(*where)))
        for a, where in ((params, ()), (wide, (None, "b")), (lengths, ()))
    ]
    wanted = run(params, wide, lengths)
    if sequences % 2 == 0:
        assert "all-gather" not in run.lower(*placed).compile().as_text()
    close(run(*placed), wanted, tol=2e-5)
    if not asks:
        with jax.set_mesh(mesh):
            close(run(*placed), wanted, tol=2e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("cell", [jrnn.gru(3, dtype="float32"), jrnn.Bidirectional(jrnn.gru(3, dtype="float32"))])
def test_members_on_two_devices(cell, emulated, monkeypatch):
    """An ensemble of four whose five sequences devices cannot share: two members each, and nothing is gathered."""
    monkeypatch.setattr(primitives, "ASKED", frozenset())
    xs, lengths = setting(cell, 5)[1:3]
    params = jax.vmap(lambda key: cell.init(key, 3))(jax.random.split(jax.random.key(0), 4))
    mesh = jax.make_mesh((2,), ("m",), axis_types=(jax.sharding.AxisType.Auto,))

    def loss(params, xs):
        return jnp.sum(jrnn.unroll(cell, params, xs, lengths=lengths, implementation="tpu").outputs ** 2)

    run = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(0, None)))
    placed = jax.device_put(
        (params, xs), (NamedSharding(mesh, PartitionSpec("m")), NamedSharding(mesh, PartitionSpec()))
    )
    assert "all-gather" not in run.lower(*placed).compile().as_text()
    close(run(*placed), run(params, xs), tol=2e-5)


@pytest.mark.thorough
def test_inside_shard_map(emulated):
    cell = jrnn.Bidirectional(jrnn.lstm(3, dtype="float32"))
    params, xs, lengths, _ = setting(cell)

    def loss(params, xs, lengths):
        return jnp.sum(jrnn.unroll(cell, params, xs, lengths=lengths, implementation="tpu").outputs ** 2)

    mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
    where = PartitionSpec(), PartitionSpec(None, "b"), PartitionSpec("b")
    mapped = jax.shard_map(
        lambda *given: jax.lax.psum(loss(*given), "b"), mesh=mesh, in_specs=where, out_specs=PartitionSpec()
    )
    close(*(jax.jit(jax.grad(f, (0, 1)))(params, xs, lengths) for f in (mapped, loss)), tol=2e-5)


def test_shard_map_over_some_axes_of_a_mesh_is_refused(emulated):
    """XLA would have to split the kernel over the others, which it cannot; over all axes it runs."""
    cell = jrnn.gru(3, dtype="float32")
    params, xs, *_ = setting(cell)
    mesh = jax.make_mesh((2, 1), ("b", "m"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    where = {"in_specs": (PartitionSpec(), PartitionSpec(None, "b")), "out_specs": PartitionSpec(None, "b")}

    def run(names, axes):
        body = lambda p, x: jrnn.unroll(cell, p, x, implementation=names).outputs  # noqa: E731
        return jax.jit(jax.shard_map(body, mesh=mesh, axis_names=axes, **where))(params, xs)

    with pytest.raises(jrnn.InputError, match="jax.shard_map.*all axes"):
        run("tpu", {"b"})
    close(run(("tpu", "xla"), {"b"}), run("tpu", {"b", "m"}), tol=2e-5)


def test_gradients_that_nobody_reads_cost_nothing(emulated):
    """Of the parameters alone, in the program's own operations: the product that gives those of xs is gone."""
    cell = jrnn.lstm(3, dtype="float32")
    params, xs, *_ = setting(cell)

    def loss(params, xs):
        return jnp.sum(jrnn.unroll(cell, params, xs, implementation="tpu").outputs ** 2)

    with_both = jax.jit(jax.grad(loss, (0, 1))).lower(params, xs).as_text().count("dot_general")
    alone = jax.jit(lambda p, x: jax.grad(loss, (0, 1))(p, x)[0]).lower(params, xs).as_text().count("dot_general")
    assert alone == with_both - 1


def test_no_sequences_and_one_step(emulated):
    case = Case("gru", 1, 1, 0, 2, 3, "lengths resets")
    operands, events = make(case, jnp.float32)
    run = kernel(case.scan, name="tpu")
    grads = jax.grad(lambda o: sum(jnp.sum(a) for a in jax.tree.leaves(run(o, events))))(operands)
    assert run(operands, events).states[0].shape == (1, 1, 0, 3)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))
