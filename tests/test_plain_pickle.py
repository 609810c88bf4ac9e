"""Pickles of arrays, and of what is none."""

import collections
import functools
import pickle

import numpy as np
import pytest

from actx_tf.utils.plain_pickle import load_plain_pickle

# As Python 2 and its NumPy wrote {"boxes": np.array([1, 200], ">i2"),
# "numf": np.uint32(200)}, in protocol 0.
OF_PYTHON_2 = rb"""(dp0
S'boxes'
p1
cnumpy.core.multiarray
_reconstruct
p2
(cnumpy
ndarray
p3
(I0
tp4
S'b'
p5
tp6
Rp7
(I1
(I2
tp8
cnumpy
dtype
p9
(S'i2'
p10
I0
I1
tp11
Rp12
(I3
S'>'
p13
NNNI-1
I-1
I0
tp14
bI00
S'\x00\x01\x00\xc8'
p15
tp16
bsS'numf'
p17
cnumpy.core.multiarray
scalar
p18
(g9
(S'u4'
p19
I0
I1
tp20
Rp21
(I3
S'<'
p22
NNNI-1
I-1
I0
tp23
bS'\xc8\x00\x00\x00'
p24
tp25
Rp26
s."""


def content():
    rng = np.random.default_rng(0)
    return {
        "floats": rng.normal(size=(3, 2)).astype("float32"),
        "fortran": np.asfortranarray(rng.integers(0, 99, (3, 4))),
        "big": np.arange(5, dtype=">u4"),
        "booleans": np.array([True, False]),
        "none": np.zeros((0, 4), np.int16),
        "nested": [("text", 1, 2.5, None, True), {"a": np.int16(-7)}],
        "scalar": np.float32(0.5),
        "bytes": b"\xff\x00",
    }


@pytest.mark.parametrize("protocol", range(5))
def test_what_was_pickled_is_read(protocol):
    found = load_plain_pickle(pickle.dumps(content(), protocol))
    for key, value in content().items():
        if isinstance(value, np.ndarray):
            array = np.asarray(found[key])
            assert type(array) is np.ndarray
            assert array.dtype == pickle.loads(pickle.dumps(value)).dtype
            np.testing.assert_array_equal(array, value)
        else:
            assert found[key] == value
            assert type(found[key]) is type(value)


def test_a_pickle_of_python_2():
    found = load_plain_pickle(OF_PYTHON_2)
    assert found["boxes"].tolist() == [1, 200]
    assert found["numf"] == 200


class Hostile:
    def __reduce__(self):
        return print, ("run",)


def claimed_shape():
    """An array that claims a million times the values that it holds."""
    held = pickle.dumps(np.zeros(3, np.uint8), 2)
    return held.replace(b"K\x03\x85", b"J\x00\x00\x00\x03\x85")


@pytest.mark.parametrize(
    "pickled",
    [
        pickle.dumps({"a": Hostile()}),
        pickle.dumps([np.array([Hostile()], object)]),
        pickle.dumps(np.array(["text"], object)),
        pickle.dumps(np.zeros(2, [("a", "i4"), ("b", "f4")])),
        pickle.dumps(np.zeros(2, "datetime64[s]")),
        pickle.dumps(functools.partial(print)),
        pickle.dumps(collections.OrderedDict()),
        pickle.dumps(content())[:-40],
        claimed_shape(),
        b"",
        b"no pickle",
    ],
)
def test_anything_else_is_refused(pickled, capsys):
    with pytest.raises(ValueError, match="not a pickle of arrays"):
        load_plain_pickle(pickled)
    assert not capsys.readouterr().out
