"""Reads pickles of NumPy arrays, numbers, text and plain containers."""

import io
import pickle
from typing import Any

import numpy as np


def load_plain_pickle(content: bytes) -> Any:
    """Returns what a pickle holds; nothing in it runs code.

    Those of Python 2 are read too. Arrays are of a subclass of `np.ndarray`,
    which `np.asarray` makes plain ones of.

    Args:
        content: The bytes of the pickle.

    Raises:
        ValueError: If it holds anything but arrays, numbers, text and plain
            containers, or is no pickle.
    """
    try:
        # Python 2 pickled the bytes of arrays as text.
        return _OnlyPlain(io.BytesIO(content), encoding="latin1").load()
    # What broken pickles raise is not documented.
    except Exception as error:
        raise ValueError(f"not a pickle of arrays: {error}") from error


class _OnlyPlain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("._core.", ".core.")  # NumPy 2 moved it
        if stand_in := _STAND_INS.get((module, name)):
            return stand_in
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


class _Kind:
    """Stands in for a dtype, of which a pickle could set more than this."""

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"an array of {code!r}, not numbers")

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    def __setstate__(self, state: tuple) -> None:  # type: ignore[override]
        version, shape, kind, is_fortran, values = state
        super().__setstate__((version, shape, kind.dtype, is_fortran, values))


def _empty_array(kind, shape, code):
    """The real shape comes with the values, against which NumPy checks it."""
    return np.empty(0, np.uint8).view(_Array)


def _scalar(kind, value):
    return np.frombuffer(_to_bytes(value), kind.dtype)[0]


def _to_bytes(value, encoding="latin1"):
    """The older protocols pickle bytes as text."""
    return value.encode("latin1") if isinstance(value, str) else value


def _no_bytes():
    return b""


_STAND_INS = {
    ("__builtin__", "bytes"): _no_bytes,
    ("_codecs", "encode"): _to_bytes,
    ("numpy", "dtype"): _Kind,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
}
