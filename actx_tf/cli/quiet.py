"""Imports TensorFlow without the lines that it prints of itself."""

import os


def import_tensorflow() -> None:
    """Imports TensorFlow; what it logs below fatal errors is left out.

    A `TF_CPP_MIN_LOG_LEVEL` that is set already, 0 say, keeps all of it.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Some lines come before the level is read.
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
