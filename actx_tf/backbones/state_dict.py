"""Reads the weights of PyTorch networks: names -> NumPy arrays."""

import os
import zlib

import h5py
import numpy as np

from actx_tf.utils.untrusted_files import plain_dataset
from actx_tf.utils.untrusted_files import read_npz

SUFFIXES = (".pt", ".pth", ".npz", ".h5", ".hdf5")


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a state dictionary; what is no array is an error.

    Args:
        path: Path of a file of PyTorch (`.pt`, `.pth`; it takes torch to read
            and runs no code; the dictionary may lie under the key
            `"state_dict"`), of NumPy (`.npz`) or HDF5 (`.h5`, data sets in the
            root). A prefix `module.` of all names, of parallel training, is
            removed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"`weights`: there is no file. Received: weights={path!r}"
        )
    suffix = os.path.splitext(path)[1]
    try:
        if suffix in (".pt", ".pth"):
            arrays = _read_pytorch(path)
        elif suffix == ".npz":
            arrays = read_npz(path)
        else:
            arrays = _read_hdf5(path)
    except ImportError:
        raise
    # What the readers raise on broken files is not documented.
    except Exception as error:
        raise ValueError(f"{path}: not a state dictionary: {error}") from error
    if all(name.startswith("module.") for name in arrays):
        arrays = {
            name.removeprefix("module."): array
            for name, array in arrays.items()
        }
    return arrays


def _read_hdf5(path):
    with h5py.File(path, "r") as file:
        return {name: np.asarray(plain_dataset(file, name)) for name in file}


def _read_pytorch(path):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"Reading {path} takes PyTorch: pip install torch"
        ) from error
    # Without `weights_only` a file could run code.
    state = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) for name in state
    ):
        raise ValueError("a dictionary of tensors by name is expected")
    return {name: tensor.numpy() for name, tensor in state.items()}


def checksum(arrays: dict[str, np.ndarray]) -> str:
    """A checksum of all arrays, whatever their order."""
    value = 0
    for name in sorted(arrays):
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).data, value)
    return f"{value:08x}"
