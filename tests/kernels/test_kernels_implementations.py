"""The registry of implementations: all fulfil the protocol, and one more is one object and one entry."""

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import jrnn
from jrnn.kernels import IMPLEMENTATIONS, RECURRENCES, implementations, primitives
from jrnn.kernels.implementations import CallFacts, Implementation
from jrnn.kernels.implementations.reference import Reference
from jrnn.kernels.implementations.xla import XLA

from .cases import close

(SYMBOL,) = jax.export.symbolic_shape("b")
REFUSED = {  # what each cannot run, and a word of its reason
    "native": [
        (CallFacts(RECURRENCES["lstm"], "float32", "gpu"), "on CPUs"),
        (CallFacts(RECURRENCES["lstm"], "float32", "tpu"), "tpu"),
        (CallFacts(RECURRENCES["linear"], "float32", "cpu"), "no linear"),
        (CallFacts(RECURRENCES["gru"], "float16", "cpu"), "no float16"),
        (CallFacts(RECURRENCES["gru"], "float32", "cpu", on_explicit_mesh=True), "types"),
    ],
    "cuda": [
        (CallFacts(RECURRENCES["lstm"], "float32", "cpu"), "NVIDIA GPUs, and JAX runs on cpu"),
        (CallFacts(RECURRENCES["leaky_tanh"], "float32", "gpu"), "no leaky_tanh"),
        (CallFacts(RECURRENCES["min_gru"], "float32", "gpu"), "no min_gru"),
        (CallFacts(RECURRENCES["gru"], "float64", "gpu"), "no float64"),
        (CallFacts(RECURRENCES["gru"], "float32", "gpu", on_explicit_mesh=True), "types"),
        (CallFacts(RECURRENCES["gru"], "float32", "gpu"), "this is cpu"),
    ],
    "tpu": [
        (CallFacts(RECURRENCES["lstm"], "float32", "cpu"), "on TPUs, and JAX runs on cpu"),
        (CallFacts(RECURRENCES["linear"], "float32", "tpu"), "linear"),
        (CallFacts(RECURRENCES["gru"], "float64", "tpu"), "no float64"),
        (CallFacts(RECURRENCES["gru"], "float32", "tpu", on_explicit_mesh=True), "types"),
        (CallFacts(RECURRENCES["gru"], "float32", "tpu", sequences=SYMBOL), "symbols"),
    ],
    "associative": [(CallFacts(RECURRENCES["lstm"], "float32", "gpu"), "lstm is none")],
    "xla": [(CallFacts(RECURRENCES["linear"], "float32", "cpu"), "linear")],
    "reference": [],
}


def test_the_last_one_takes_every_call():
    assert list(IMPLEMENTATIONS)[-1] == "reference" and IMPLEMENTATIONS.keys() == REFUSED.keys()
    for recurrence in RECURRENCES.values():
        facts = CallFacts(recurrence, "float16", "tpu", on_explicit_mesh=True)
        assert IMPLEMENTATIONS["reference"].refuses(facts) is None


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_each_fulfils_the_protocol(name):
    each = IMPLEMENTATIONS[name]
    assert isinstance(each, Implementation) and each.name == name
    assert isinstance(each.by_autodiff, bool) and isinstance(each.opaque_to_xla, bool)
    hash(each)  # it is part of the key of compiled programs
    with pytest.raises(AttributeError):
        each.name = "another"  # pyright: ignore[reportAttributeAccessIssue]
    assert all(inspect.getdoc(thing) for thing in (type(each), inspect.getmodule(type(each))))
    for member in ("refuses", "only_if_named", "forward", "backward"):
        method = getattr(type(each), member)
        assert method.__doc__, member
        assert list(inspect.signature(method).parameters) == list(
            inspect.signature(getattr(Implementation, member)).parameters
        ), member


def test_every_member_of_the_protocol_is_documented():
    members = {name: value for name, value in vars(Implementation).items() if not name.startswith("_")}
    assert members.keys() == {
        *("name", "by_autodiff", "opaque_to_xla", "refuses", "only_if_named", "forward", "backward")
    }
    assert all(value.__doc__ for value in members.values())


@pytest.mark.parametrize("name", REFUSED)
def test_each_refuses_with_a_reason(name):
    for facts, word in REFUSED[name]:
        why = IMPLEMENTATIONS[name].refuses(facts)
        assert isinstance(why, str) and word in why and len(why.split()) > 3, why


def test_a_prefix_scan_is_taken_by_itself_where_it_is_faster():
    linear = CallFacts(RECURRENCES["linear"], "float32", "cpu")
    associative = IMPLEMENTATIONS["associative"]
    assert associative.refuses(linear) is None and "faster" in associative.only_if_named(linear)
    assert associative.only_if_named(linear._replace(backend="gpu")) is None


def test_no_other_file_of_the_room_names_one():
    root = Path(implementations.__file__).parent
    for path in root.parent.rglob("*.py"):
        if root not in path.parents:
            constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            assert constants.isdisjoint(IMPLEMENTATIONS), path


CALLS = []


@dataclass(frozen=True)
class Toy(Reference):
    """A second object that runs the spec, and says when."""

    name: str = "toy"
    by_autodiff: bool = False
    opaque_to_xla: bool = False
    longest: int = 1000
    """H up to which it takes a call."""
    shy: bool = False
    """Whether it wants to be named."""

    def refuses(self, facts):
        return "it is for few units" if facts.units is not None and facts.units > self.longest else None

    def only_if_named(self, facts):
        return "it is shy" if self.shy else None

    def forward(self, scan, operands, events, all_states, save_gates):
        CALLS.append((self.name, "forward"))
        return super().forward(scan, operands, events, all_states, save_gates)

    def backward(self, *args):
        CALLS.append((self.name, "backward"))
        return super().backward(*args)


@pytest.fixture
def register():
    """A function that puts an implementation in front of the others."""
    before = dict(IMPLEMENTATIONS)
    CALLS.clear()

    def register(each):
        IMPLEMENTATIONS.clear()
        IMPLEMENTATIONS.update({each.name: each} | before)

    yield register
    IMPLEMENTATIONS.clear()
    IMPLEMENTATIONS.update(before)


def setting(cell, sequences=4):
    xs = jax.random.normal(jax.random.key(1), (6, sequences, 3), jnp.float64)
    return cell.init(jax.random.key(0), 3), xs


CELLS = {
    "lstm": jrnn.lstm(3, dtype="float64"),
    "linear": jrnn.linear(3, dtype="float64"),
    "stack": jrnn.stack(jrnn.gru(3, dtype="float64"), jrnn.elman(2, dtype="float64")),
}


@pytest.mark.parametrize("by_autodiff", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_another_one_is_an_object_and_an_entry(register, cell, by_autodiff):
    toy = Toy(f"toy, autodiff {by_autodiff}", by_autodiff)
    register(toy)
    cell = CELLS[cell]
    params, xs = setting(cell)
    lengths, resets = jnp.asarray([6, 0, 3, 5]), jnp.zeros((6, 4), bool).at[2, 1:3].set(True)

    def of(name):
        def loss(params, xs):
            unrolled = jrnn.unroll(cell, params, xs, lengths=lengths, resets=resets, implementation=name)
            return jnp.sum(jnp.sin(unrolled.outputs)) + sum(map(jnp.sum, jax.tree.leaves(unrolled.final_state)))

        both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), (params, xs))
        return jax.jit(lambda: (jax.value_and_grad(loss, (0, 1))(params, xs), jax.vmap(jax.grad(loss, 1))(*both)))()

    close(of(toy.name), of("reference"), tol=1e-12)
    assert {way for name, way in CALLS if name == toy.name} == ({"forward"} if by_autodiff else {"forward", "backward"})
    assert jrnn.kernels.explain(cell, params).chosen == toy.name  # it stands first


def test_another_one_gives_the_gradients_of_all_states(register):
    register(Toy("toy of states"))
    params, xs = setting(CELLS["lstm"])
    one, other = (
        jrnn.value_and_grads(CELLS["lstm"], params, xs, lambda u: jnp.sum(u.outputs**2), implementation=name)
        for name in ("toy of states", "reference")
    )
    close(one, other, tol=1e-12)
    assert ("toy of states", "backward") in CALLS


def test_another_one_may_refuse_a_call_by_its_sizes(register):
    register(Toy("small toy", longest=2))
    cell = CELLS["lstm"]
    weights, state = cell.kernel(setting(cell)[0]), jnp.ones((2, 3))
    problem = jrnn.kernels.problem_of(weights, jnp.ones((5, 2, 3)), (state, state), 5, (2,))
    with pytest.raises(jrnn.InputError, match="small toy, but it is for few units"):
        jrnn.kernels.recur(problem, "small toy")


def test_another_one_may_wait_to_be_named(register):
    register(Toy("shy toy", shy=True))
    cell = CELLS["lstm"]
    params = setting(cell)[0]
    explained = jrnn.kernels.explain(cell, params)
    assert explained.chosen != "shy toy" and explained.refused["shy toy"] == "it is shy"
    assert jrnn.kernels.explain(cell, params, "shy toy").chosen == "shy toy"


@pytest.mark.parametrize("opaque", [False, True])
def test_what_xla_cannot_look_into_is_split_by_jrnn(register, monkeypatch, opaque):
    toy = Toy(f"toy on devices, opaque {opaque}", opaque_to_xla=opaque)
    register(toy)
    split, over_devices = [], primitives.over_devices
    monkeypatch.setattr(primitives, "over_devices", lambda *args: split.append(args) or over_devices(*args))
    cell = CELLS["lstm"]
    params, xs = setting(cell)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    where = NamedSharding(mesh, PartitionSpec(None, "batch"))

    def grads(name):
        def loss(params, xs):
            return jnp.sum(jrnn.unroll(cell, params, xs, implementation=name).outputs ** 2)

        return jax.jit(jax.grad(loss, (0, 1)))

    close(grads(toy.name)(params, jax.device_put(xs, where)), grads("reference")(params, xs), tol=1e-12)
    assert bool(split) == opaque


def test_two_meanings_of_reference_agree():
    """Of a cell the scan of its own step, of arrays that of the recurrence's."""
    cell = CELLS["lstm"]
    params, xs = setting(cell)
    start = cell.initial_state(params, (4,))
    problem = jrnn.kernels.problem_of(cell.kernel(params), xs, tuple(start), 6, (4,))
    np.testing.assert_allclose(
        jrnn.kernels.recur(problem, "reference")[0][0],
        jrnn.unroll(cell, params, xs, implementation="reference").outputs,
        rtol=1e-12,
    )


def test_xla_counts_launches_where_they_cost(monkeypatch):
    assert not XLA.counts_launches()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert XLA.counts_launches()
