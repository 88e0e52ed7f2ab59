"""Arrays as other programs write them: every dtype, byte order and label set, and archives that lie."""

import io
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from jrnn.data import Dataset, load
from jrnn.types import InputError

CASES, T = 20, 6
X = np.random.default_rng(0).integers(0, 50, (CASES, T, 2))
Y = np.arange(CASES) % 2


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(folder, members, packing=zipfile.ZIP_DEFLATED):
    path = folder / "mine.npz"
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def header(text):
    text = text.ljust(118) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_numbers_of_every_type_and_byte_order(tmp_path, dtype, order):
    labels = Y.astype(order + (dtype if dtype[0] in "iu" else "i4"))
    np.savez(tmp_path / "mine.npz", x=X.astype(order + dtype), y=labels, lengths=np.full(CASES, T, order + "i2"))
    data = load(tmp_path / "mine.npz")
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert (
        data.x.dtype == np.float32 and data.x.dtype.isnative and data.y.dtype.isnative and data.lengths.dtype.isnative
    )
    np.savez(tmp_path / "mine.npz", x=X, y=X[:, 0].astype(order + "f4"))
    np.testing.assert_array_equal(load(tmp_path / "mine.npz").y, X[:, 0])
    np.savez(tmp_path / "mine.npz", x=np.asfortranarray(X.astype(order + dtype)), y=labels)
    np.testing.assert_array_equal(load(tmp_path / "mine.npz").x, X)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_small_floats_in_python_and_from_files(tmp_path, dtype):
    small = (X % 8).astype(dtype)
    data = Dataset("made", small, Y, None, "classify", 2, [0, 1], [2, 3], 1, "", "")
    np.testing.assert_array_equal(data.x, X % 8)
    np.savez(tmp_path / "mine.npz", x=small, y=Y)
    with pytest.raises(InputError, match=r"^x: got a raw-bytes array .* \(bfloat16 is saved so\); need float32"):
        load(tmp_path / "mine.npz")


LABELS = {
    "one to four": ([1, 2, 3, 4], 4, "the labels 1, 2, 3, 4 as classes 0 to 3"),
    "a gap": ([0, 2, 5], 3, "the labels 0, 2, 5 as classes 0 to 2"),
    "two signs": ([-1, 1], 2, "the labels -1, 1 as classes 0 to 1"),
    "years": (list(range(2001, 2011)), 10, "the labels 2001, 2002, 2003, ..., 2010 as classes 0 to 9"),
    "from nought": ([0, 1, 2], 3, ""),
    "bool": ([False, True], 2, ""),
}


@pytest.mark.parametrize("dtype", ["i1", "i4", "u2", ">i8"])
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("name", LABELS)
def test_labels_become_classes_and_it_is_said(tmp_path, name, each, dtype):
    labels, outputs, said = LABELS[name]
    if max(labels) > np.iinfo(dtype).max or min(labels) < np.iinfo(dtype).min:
        pytest.skip(f"{dtype} does not hold them")
    drawn = np.arange(CASES * T if each else CASES) % len(labels)
    y = np.array(labels, None if name == "bool" else dtype)[drawn].reshape((CASES, T) if each else (CASES,))
    np.savez(tmp_path / "mine.npz", x=X, y=y)
    data = load(tmp_path / "mine.npz")
    assert data.outputs == outputs
    np.testing.assert_array_equal(data.y.ravel(), [sorted(labels).index(label) for label in y.ravel().tolist()])
    assert (f"({said})" in data.source) if said else "as classes" not in data.source


def test_labels_beyond_the_lengths_count_for_nothing(tmp_path):
    y = np.tile([1, 3, 3, -100, -100, 7], (CASES, 1))
    np.savez(tmp_path / "mine.npz", x=X, y=y, lengths=np.full(CASES, 3))
    data = load(tmp_path / "mine.npz")
    assert data.outputs == 2 and data.y.tolist() == [[0, 1, 1, 0, 0, 0]] * CASES
    assert "(the labels 1, 3 as classes 0 to 1)" in data.source


@pytest.mark.parametrize("shape", [(CASES, T), (CASES, T, 1)])
def test_whole_numbers_are_said_to_be_no_tokens(tmp_path, shape):
    said = "x as one number a step (--tokens reads it as symbols)"
    for x, tokens in ((X[:, :, 0], True), (X[:, :, 0] * 1.0, False)):
        np.savez(tmp_path / "mine.npz", x=x.reshape(shape), y=Y)
        assert (said in load(tmp_path / "mine.npz").source) == tokens


def bomb(folder, declared):
    """A small member whose directory entries claim `declared` bytes."""
    path = archive(folder, [("x.npy", npy(X)), ("y.npy", npy(Y))])
    raw = bytearray(path.read_bytes())
    entry = raw.index(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = struct.pack("<I", declared)
    path.write_bytes(raw)
    return path


def test_an_archive_that_declares_too_much_is_refused_unopened(tmp_path, monkeypatch):
    path = bomb(tmp_path, 3_000_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    size = path.stat().st_size
    with pytest.raises(InputError, match=rf"mine.npz of {size:,} bytes, whose x unpacks to 3,000,000,000 bytes; need"):
        load(path)


@pytest.mark.parametrize(
    ("shape", "bytes_claimed"),
    [("(1000000, 1000000)", "8,000,000,000,000"), ("(10000000000000,)", "80,000,000,000,000")],
)
def test_a_header_that_claims_too_much_is_refused_by_its_size(tmp_path, shape, bytes_claimed):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    path = archive(tmp_path, [("x.npy", header(text) + bytes(80)), ("y.npy", npy(Y))])
    with pytest.raises(InputError) as caught:
        load(path)
    assert f"of {bytes_claimed} bytes and has 80" in str(caught.value) and "memory" not in str(caught.value)


HEADERS = {
    "brackets": "(" * 9000,
    "closed brackets": "{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 4000 + ")" * 4000 + ", }",
    "a call": "__import__('os').getcwd()",
    "no dictionary": "[1, 2]",
    "other keys": "{'a': 1}",
    "an unknown dtype": "{'descr': '<q9', 'fortran_order': False, 'shape': (1,), }",
    "text as a shape": "{'descr': '<f8', 'fortran_order': False, 'shape': 'abc', }",
    "a negative shape": "{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -5), }",
    "bool as a shape": "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 10), }",
    "nothing": "",
    "noughts": "\0" * 50,
    "an open string": "{'descr': '<f8",
    "a number without end": "{'descr': " + "9" * 6000 + "}",
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("member", ["x", "y", "lengths"])
def test_damaged_headers(tmp_path, name, member):
    members = {"x": npy(X), "y": npy(Y), "lengths": npy(np.full(CASES, T))}
    members[member] = header(HEADERS[name]) + bytes(80)
    path = archive(tmp_path, [(f"{each}.npy", content) for each, content in members.items()])
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert member in message and len(message) < 500 and "\n" not in message


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_packing_that_python_knows(tmp_path, packing):
    data = load(archive(tmp_path, [("x.npy", npy(X)), ("y.npy", npy(Y)), ("notes.txt", "hello")], packing))
    np.testing.assert_array_equal(data.x, X)


def test_arrays_that_are_not_wanted_are_not_read(tmp_path):
    data = load(archive(tmp_path, [("x.npy", npy(X)), ("y.npy", npy(Y)), ("z.npy", header("(" * 9000))]))
    np.testing.assert_array_equal(data.y, Y)


def test_cut_short_anywhere(tmp_path):
    path = archive(tmp_path, [("x.npy", npy(X)), ("y.npy", npy(Y))])
    whole = path.read_bytes()
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="cannot be read"):
            load(path)
