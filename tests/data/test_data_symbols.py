"""What a file holds besides numbers: a text, tokens, labels by name, labels that are there or not, missing ones."""

import numpy as np
import pytest

from jrnn.data import load
from jrnn.types import InputError

CASES, T = 20, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(CASES, T, 2))


def saved(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_a_book_is_a_character_model(tmp_path):
    """Every window is a piece of the text, and each answer the next character."""
    text = "".join(RNG.choice(list("abcdé \n"), 4000))
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    data = load(tmp_path / "book.txt")
    assert data.task == "classify_each" and data.outputs == 8 and data.name == "book.txt"
    assert data.source.startswith("book.txt: 4,000 characters, read one by one; 7 symbols and one for all others")
    signs = sorted(set(text))
    for case in (0, -1):
        read = "".join(signs[i - 1] for i in data.x[case].argmax(-1))
        asked = "".join(signs[i - 1] for i in data.y[case])
        assert read[1:] == asked[:-1] and read in text and (case or text.startswith(read))


def test_another_text_is_read_in_the_characters_of_a_model(tmp_path):
    """As many symbols, and not the same ones: each stands for its own character, what the model does not know for 0."""
    text = "".join(RNG.choice(list("abcdé \n"), 4000))
    for name, each in (("old.txt", text), ("new.txt", text.translate(str.maketrans("abc", "xyz")))):
        (tmp_path / name).write_text(each, encoding="utf-8")
    old = load(tmp_path / "old.txt")
    assert old.alphabet == "\n abcdé"
    new = load(tmp_path / "new.txt", alphabet=old.alphabet)
    assert new.outputs == old.outputs and new.alphabet == old.alphabet and "others (as in training)" in new.source
    kept = np.array([0, 1, 2, 0, 0, 0, 6, 7])  # a, b and c are now x, y and z
    np.testing.assert_array_equal(new.y, kept[old.y])
    assert load("text", alphabet="ae").outputs == 3


@pytest.mark.parametrize("shape", [(CASES, T), (CASES, T, 1)])
def test_tokens_are_one_hot(tmp_path, shape):
    symbols, lengths = RNG.integers(0, 4, (CASES, T)), np.full(CASES, T - 1)
    symbols[0, 0], symbols[:, -1] = 3, 99  # padding may hold anything
    path = saved(tmp_path, x=symbols.reshape(shape), y=symbols[:, 0], lengths=lengths)
    data = load(path, tokens=True)
    assert data.x.shape == (CASES, T, 4) and "x as symbols 0 to 3" in data.source
    np.testing.assert_array_equal(data.x[:, :-1], np.eye(4)[symbols[:, :-1]])
    assert load(path, tokens=7).x.shape == (CASES, T, 7)


@pytest.mark.parametrize(
    ("y", "task", "classes", "said"),
    [
        (np.tile(["cat", "ant", "dog", "cat"], 5), "classify", ("ant", "cat", "dog"),
         "the labels 'ant', 'cat', 'dog' as classes 0 to 2"),
        (np.tile([b"b", b"a"], 10), "classify", ("a", "b"), "the labels 'a', 'b' as classes 0 to 1"),
        (np.tile([1, 2, 3, 4], 5), "classify", ("1", "2", "3", "4"), "the labels 1, 2, 3, 4 as classes 0 to 3"),
        (np.tile([0, 7], 10), "classify", ("0", "7"), "the labels 0, 7 as classes 0 to 1"),
        (np.tile(["x", "y", "y", "x", "x", "y"], (CASES, 1)), "classify_each", ("x", "y"), "the labels 'x', 'y' as"),
    ],
)  # fmt: skip
def test_labels_are_mapped_and_said(tmp_path, y, task, classes, said):
    data = load(saved(tmp_path, x=X, y=y))
    assert data.task == task and data.classes == classes and said in data.source
    assert np.array(classes)[data.y].tolist() == y.astype(str).tolist()


@pytest.mark.parametrize("each", [False, True])
def test_labels_that_are_there_or_not(tmp_path, each):
    y = RNG.integers(0, 2, (CASES, T, 3) if each else (CASES, 3))
    data = load(saved(tmp_path, x=X, y=y.astype(bool) if each else y))
    assert data.task == ("label_each" if each else "label") and data.outputs == 3
    np.testing.assert_array_equal(data.y, y)
    assert f"3 labels{' of each step' * each}, each of them there or not" in data.source


def test_missing_targets(tmp_path):
    labels = np.tile([0, 1, -100, 2], 5)
    data = load(saved(tmp_path, x=X, y=labels), missing="mask")
    assert data.missing and data.outputs == 3 and "5 missing labels" in data.source
    np.testing.assert_array_equal(data.y, labels)
    numbers = RNG.normal(size=(CASES, T, 2)).astype(np.float32)
    numbers[3, 2, 1] = np.nan
    data = load(saved(tmp_path, x=X, y=numbers), missing="mask")
    assert data.missing and "missing targets are not scored" in data.source
    np.testing.assert_array_equal(data.y, numbers)
    assert not load(saved(tmp_path, x=X, y=np.nan_to_num(numbers)), missing="mask").missing


@pytest.mark.parametrize("kind", ["text", "numbers", "flags"])
@pytest.mark.parametrize("each", [False, True])
def test_labels_are_numbered_as_in_training(tmp_path, kind, each):
    """Of new labels in which the model's first class does not occur, and of one that it never saw."""
    names = {"text": ["ant", "bee", "cat"], "numbers": [3, 5, 9], "flags": [False, True]}[kind]
    labels = np.array(names)[1:][np.arange(12) % (len(names) - 1)]
    labels = np.tile(labels[:, None], 4) if each else labels
    np.savez(tmp_path / "new.npz", x=np.arange(48.0).reshape(12, 4), y=labels)
    known = list(map(str, map(int, names) if kind == "flags" else names))
    data = load(tmp_path / "new.npz", classes=known)
    assert data.classes == tuple(known) and data.outputs == len(known) and "numbered as in training" in data.source
    wanted = [names.index(label) for label in labels.ravel()]
    np.testing.assert_array_equal(data.y, np.reshape(wanted, labels.shape))
    with pytest.raises(InputError, match=f"y: got the label '{known[-1]}', which the model has no class for; need its"):
        load(tmp_path / "new.npz", classes=known[:-1])
