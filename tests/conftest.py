"""Gives back the memory of a module's networks before the next one runs."""

import ctypes
import gc
import sys

import keras
import pytest


@pytest.fixture(scope="module", autouse=True)
def memory():
    yield
    keras.utils.clear_session()
    gc.collect()
    if sys.platform == "linux":  # it keeps what it has freed
        ctypes.CDLL("libc.so.6").malloc_trim(0)
