"""Loads models that others made, and all classes that they can be made of."""

import os
import pathlib

import keras

from actx_tf import backbones as _backbones  # noqa: F401  registers its classes
from actx_tf import layers as _layers  # noqa: F401
from actx_tf import metrics as _metrics  # noqa: F401
from actx_tf.utils.untrusted_files import check_archive


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file in Keras' safe mode.

    Args:
        path: Path of the file. Its classes must be Keras' or this package's.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or would run code.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no Keras model at {path}")
    try:
        check_archive(path)
        if path.suffix != ".keras":  # Keras' other formats have other rules
            raise ValueError("the name must end with .keras")
        return keras.saving.load_model(path, safe_mode=True)
    # What Keras raises on broken files is not documented.
    except Exception as error:
        raise ValueError(
            f"{path}: not a Keras model, or not a safe one: {error}"
        ) from error
