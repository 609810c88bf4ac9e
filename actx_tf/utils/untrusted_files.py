"""Opens files that others made: none of them runs code, leads to other files
of the machine, or fills the memory by what it claims of itself.
"""

import math
import os
import pathlib
import zipfile

import h5py
import numpy as np

# Deflate makes zeros 1000 times smaller, and nothing that is worth keeping a
# tenth of that. What is small may be zeros.
_MOST_COMPRESSION = 100
_SMALL = 2**26


def check_size(claimed: int, held: int, what: str) -> None:
    """Raises an error if so few bytes cannot honestly hold so many.

    Args:
        claimed: Number of bytes in memory.
        held: Number of bytes in the file.
        what: What to call it in the error.

    Raises:
        ValueError: If `claimed` is more than 64 MiB and 100 times `held`.
    """
    if claimed > max(_SMALL, _MOST_COMPRESSION * held):
        raise ValueError(
            f"{what} claims {claimed} bytes, of which the file holds {held}"
        )


def check_plain_file(path: pathlib.Path) -> None:
    """Raises `ValueError` if a path is no file, or leads to another one."""
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path}: is a link, or no file.")


def plain_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Returns a data set of an HDF5 file: numbers that lie in the file itself.

    Raises:
        ValueError: If it is something else: a link, a group, values that lie
            in other files (external storage, virtual data sets), objects, or
            more than the file can hold.
    """
    check_link(file, name)
    dataset = file[name]
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.external
        or dataset.is_virtual
        or dataset.shape is None
        or dataset.dtype.kind not in "biuf"
    ):
        raise ValueError(f"{name!r} is not an array of numbers in the file")
    # A chunk is read whole, whatever is read of it.
    values = max(map(math.prod, (dataset.shape, dataset.chunks or ())))
    held = min(dataset.id.get_storage_size(), file.id.get_filesize())
    check_size(values * dataset.dtype.itemsize, held, repr(name))
    return dataset


def check_link(file: h5py.File, name: str) -> None:
    """Raises `ValueError` if a name of an HDF5 file leads elsewhere."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r} is a link, not a data set")


def check_archive(path: str | os.PathLike) -> None:
    """Looks over a zip archive before anything is read of it.

    Raises:
        ValueError: If it is none, an entry's name leaves the archive, or an
            entry is more than the file can hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    # What `zipfile` raises on broken files is not documented.
    except Exception as error:
        raise ValueError(f"not a zip archive: {error}") from error
    for entry in entries:
        parts = pathlib.PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or ":" in entry.filename:
            raise ValueError(f"{entry.filename!r} leaves the archive")
    # Entries can share the same bytes of the file.
    check_size(
        sum(entry.file_size for entry in entries),
        os.path.getsize(path),
        "the archive",
    )


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads all arrays of an `.npz` file; none of objects, which run code.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    _check_array(file, entry)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    # Nor is what NumPy raises.
    except Exception as error:
        raise ValueError(f"not an .npz file of arrays: {error}") from error


def _check_array(file, entry):
    """Checks what the header of an `.npy` claims, before NumPy takes it."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"{entry.filename!r} is not an array of numbers")
    shape, _, dtype = read(file)
    if math.prod(shape) * dtype.itemsize > entry.file_size:
        raise ValueError(f"{entry.filename!r} claims the shape {shape}")
