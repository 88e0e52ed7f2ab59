"""Texts that a network goes on with, against a plain loop in NumPy and the probabilities that it draws from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.training import Objective, Saved
from jrnn.types import InputError

ALPHABET = "\n abcdé"
KINDS = len(ALPHABET) + 1


@pytest.fixture(scope="module")
def saved():
    cell, objective = jrnn.elman(5), Objective("classify_each", KINDS)
    params = jax.tree.map(lambda a: 3 * a, cell.init(jax.random.key(0), KINDS))
    head = jax.tree.map(lambda a: 3 * a, objective.init(jax.random.key(1), 5))
    return Saved(cell, params, head, objective, {"alphabet": ALPHABET})


def by_hand(saved, prompt, steps):
    """The likeliest character at each step, read again."""
    params, head = jax.tree.map(np.asarray, (saved.params, saved.loss_params))
    h, text = np.zeros(5), prompt
    for t in range(len(prompt) + steps - 1):
        x = np.zeros(KINDS)
        x[ALPHABET.find(text[t]) + 1] = 1
        h = np.tanh(x @ params["w_in"] + h @ params["w_rec"] + params["bias"])
        z = h @ head["w"] + head["bias"]
        text += ALPHABET[z[1:].argmax()] if t >= len(prompt) - 1 else ""
    return text[len(prompt) :]


@pytest.mark.parametrize("prompt", ["a", "abc dé\n", "a strange word"])
def test_the_likeliest_text(saved, prompt):
    found = saved.generate(prompt, steps=20, temperature=0)
    assert found == by_hand(saved, prompt, 20) and len(set(found)) > 1
    assert saved.generate(prompt, steps=7, temperature=0.0, seed=9) == found[:7]
    assert saved.generate(prompt, steps=0) == ""


@pytest.mark.parametrize("temperature", [0.5, 1, 2.0])
def test_the_shares_of_what_is_drawn(saved, temperature):
    """Without a way in, the network draws from one distribution; what stands for all rare characters never comes."""
    z = np.array([9.0, 0.0, 1.0, -1.0, 0.5, 0.2, -0.3])
    z = np.append(z, np.linspace(0, 1, KINDS - len(z)))
    head = {"w": jnp.zeros((5, KINDS)), "bias": jnp.asarray(z, jnp.float32)}
    constant = saved._replace(loss_params=head)
    text = constant.generate("a", steps=2000, temperature=temperature, seed=3)
    p = np.exp(z[1:] / temperature)
    p /= p.sum()
    share = np.array([text.count(character) for character in ALPHABET]) / 2000
    np.testing.assert_allclose(share, p, atol=4 * np.sqrt(0.25 / 2000))
    assert text[:50] == constant.generate("a", steps=50, temperature=temperature, seed=3)
    assert text[:50] != constant.generate("a", steps=50, temperature=temperature, seed=4)


def test_what_cannot_be_generated(saved):
    for options, words in (
        ({"prompt": ""}, "^prompt: got ''"),
        ({"prompt": 3}, "^prompt: got 3"),
        ({"steps": -1}, "^steps: got -1"),
        ({"temperature": -0.5}, "^temperature: got -0.5"),
        ({"temperature": float("nan")}, "^temperature: got nan"),
        ({"seed": 1.5}, "^seed: got 1.5"),
    ):
        with pytest.raises(InputError, match=words):
            saved.generate(**{"prompt": "a"} | options)
    with pytest.raises(InputError, match="^model: got one that was not trained on a text"):
        saved._replace(metadata={}).generate("a")
