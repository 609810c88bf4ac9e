"""Imports TensorFlow without the lines that it prints of itself.

Among them is a warning that Keras traces a function for each model.
"""

import os


def import_tensorflow() -> None:
    """Imports TensorFlow; what it logs below fatal errors is left out.

    `TF_CPP_MIN_LOG_LEVEL=0` keeps all of it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        return
    # Some lines come before the level is read.
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)
