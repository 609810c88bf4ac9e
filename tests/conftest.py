"""What modules share, and memory that they give back to one another."""

import ctypes
import gc
import sys

import keras
import pytest


def pytest_collection_finish():
    # What is imported stays, and need not be looked through at each collection.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """For modules that change nothing of it."""
    from tests.served import make_served  # which needs TensorFlow

    return make_served(tmp_path_factory.mktemp("models") / "wave")


@pytest.fixture(scope="module", autouse=True)
def memory():
    """Gives back that of a module's networks before the next one runs."""
    yield
    keras.utils.clear_session()  # which collects garbage
    if sys.platform == "linux":  # it keeps what it has freed
        ctypes.CDLL("libc.so.6").malloc_trim(0)
