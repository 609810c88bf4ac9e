"""Looks at the files and folders that flags name, before anything is loaded.

Each function raises `FileNotFoundError`, or `ValueError` for what is there and
is something else. The message is a sentence that names the subcommand that
makes what is missing. What two flags say of one file is a `UsageError`.
"""

import argparse
import os
from pathlib import Path

from actx_tf.cli.errors import UsageError

# Flags that name what is written. All of it is written over.
_WRITTEN = ("output", "page", "chosen", "report", "save_backbone", "maps")
# What is read, as a sentence calls it.
_READ = {
    **{
        name: f"--{name}"
        for name in (
            *("root", "index", "features", "similarities", "model", "init"),
            *("scores", "segments", "truth", "masks", "boxes"),
            *("backbone", "weights"),
        )
    },
    "video": "the video",
    "videos": "the videos",
}
# These can be a name, too, that an output may have.
_NAMES = ("backbone", "weights")


def check_apart(flags: argparse.Namespace) -> None:
    """Raises `UsageError` if what is written is another path that is given."""
    others: dict[str, str] = {}
    for name in (*_READ, *_WRITTEN):
        path = getattr(flags, name, None)
        if not isinstance(path, str) or not path:
            continue
        if name in _NAMES and not os.path.isfile(path):
            continue
        for other, what in others.items() if name in _WRITTEN else ():
            if _are_same(path, other):
                raise UsageError(f"--{name} must be another path than {what}")
        others[path] = _READ.get(name, f"--{name}")


def check_index(path: str) -> None:
    """Looks for a clip index."""
    hint = "make it with `actx index`"
    _check_file(path, "--index", "clip index", hint)
    if Path(path).suffix in (".keras", ".h5", ".npz"):
        raise ValueError(f"{path} (--index) is no clip index (CSV); {hint}")


def check_features(
    path: str,
    flag: str = "--features",
    what: str = "feature store",
    hint: str = "make it with `actx extract`",
) -> None:
    """Looks for a store."""
    if not Path(path).exists():
        raise FileNotFoundError(
            f"there is no {what} at {path} ({flag}); {hint}"
        )
    if Path(path).is_dir() and not any(Path(path).rglob("*.h5")):
        raise ValueError(
            f"{path} ({flag}) is no {what}, for it holds no .h5 file; {hint}"
        )
    if Path(path).is_file() and Path(path).suffix != ".h5":
        raise ValueError(f"{path} ({flag}) is a file and no {what}; {hint}")


def check_model(path: str) -> None:
    """Looks for a `.keras` file, a SavedModel, or the folder of versions."""
    hint = "make it with `actx fit` or `actx train`"
    given = Path(path)
    if not given.exists():
        raise FileNotFoundError(
            f"there is no model at {path} (--model); {hint}"
        )
    if given.is_file() and given.suffix != ".keras":
        raise ValueError(
            f"{path} (--model) is neither a .keras file nor a folder of "
            f"SavedModels; {hint}"
        )
    if given.is_dir():
        versions = [p for p in given.iterdir() if p.name.isdecimal()]
        if not any(
            (folder / "saved_model.pb").is_file()
            for folder in (given, *versions)
        ):
            inside = [
                str(given / name)
                for name in ("actx.keras", "saved_model")
                if (given / name).exists()
            ]
            if inside:  # the folder of a training
                hint = f"give {' or '.join(inside)}"
            raise ValueError(
                f"{path} (--model) holds neither a SavedModel nor versions of "
                f"one; {hint}"
            )


def check_keras_model(path: str) -> None:
    """Looks for a trained model that Keras can load."""
    check_model(path)
    if Path(path).is_dir():
        raise ValueError(
            f"{path} (--model) is exported already; give the .keras file that "
            "`actx train` writes beside it"
        )


def check_backbone(path: str) -> None:
    """Looks for the `.keras` file of a backbone."""
    hint = "write it with `actx extract --save_backbone`"
    _check_file(path, "--backbone", "backbone", hint)
    if Path(path).suffix != ".keras":
        raise ValueError(f"{path} (--backbone) is no .keras file; {hint}")


def check_videos(path: str, flag: str) -> None:
    """Looks for a folder of videos."""
    hint = "give that of the videos, with a folder for each class"
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"there is no folder at {path} ({flag}); {hint}"
        )
    if not os.path.isdir(path):
        raise ValueError(f"{path} ({flag}) is a file, not a folder; {hint}")


def check_given(path: str, flag: str) -> None:
    """Looks for any other file."""
    _check_file(path, flag, "file", "give the path of one")


def check_output_file(path: str, flag: str = "--output") -> None:
    """Looks whether a file can be written there."""
    if Path(path).is_dir():
        raise ValueError(f"{path} ({flag}) is a folder; give a file to write")
    parent = Path(path).parent
    if not parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {parent} for {path} ({flag}); make it first"
        )
    _check_writable(parent, flag)


def check_new_file(path: str, force: bool, hint: str) -> None:
    """Looks whether `--output`, which people edit, would be written over."""
    if os.path.exists(path) and not force:
        raise FileExistsError(
            f"{path} (--output) is there already; --force writes over it, "
            f"{hint}"
        )


def check_output_folder(path: str, flag: str = "--output") -> None:
    """Looks whether a folder can be written, or made, there."""
    if Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"{path} ({flag}) is a file; give a folder to write")
    nearest = Path(path).absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise ValueError(f"{nearest}, where {path} ({flag}) lies, is a file")
    _check_writable(nearest, flag)


def _are_same(path, other):
    if os.path.exists(path) and os.path.exists(other):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _check_file(path, flag, what, hint):
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"there is no {what} at {path} ({flag}); {hint}"
        )
    if os.path.isdir(path):
        raise ValueError(f"{path} ({flag}) is a folder, not a file; {hint}")


def _check_writable(folder, flag):
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} ({flag}) cannot be written to")
