"""A store of feature maps: a folder of HDF5 files, read as one."""

import collections.abc
import contextlib
import math
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.feature_file import FeatureFile
from actx_tf.utils.untrusted_files import check_plain_file

_BLOCK_BYTES = 2**24


class FeatureStore(collections.abc.Mapping):
    """A mapping from the names of clips to their feature maps, read-only.

    `store[clip]` reads the clip's feature map from the disk, a NumPy array
    `(time, height, width, channels)`, float16 or float32. Several threads
    can read at the same time.

    A store is a folder: all files `*.h5` in it and in its folders, sorted by
    their names. So a store is copied, moved or joined with another one as
    folders are. They must agree in what made them; a clip that is in two files
    is read from the first, and both must say the same of it. What a writer has
    not finished yet is not read.

    Args:
        path: Path of the folder that `FeatureStoreWriter` wrote; or of one
            file of it, which is a store of its own.

    Attributes:
        path: The path.
        made_by: The `BackboneDescription` of what made the features; a string
            if they are maps of another kind.
        description: The `BackboneDescription`; `None` for maps of another
            kind.
        channels: Number of channels of every feature map.
        dtype: NumPy dtype of every feature map.
        compute_dtype: Arithmetic of the backbone that made them: `"float32"`
            or `"bfloat16"`.

    Example:

    ```python
    with actx_tf.data.FeatureStore("features") as store:
        for clip, features in store.items():
            print(clip, store.attributes(clip)["label"], features.shape)
    ```

    The files need not be trusted: what lies in other files, or claims far more
    than its file can hold, is not read.

    Raises:
        FileNotFoundError: If there is no such folder, or no store in it.
        ValueError: If a file is not one of a feature store, or the files do
            not belong together. The message names the file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        self._clips = {}  # name -> file
        with contextlib.ExitStack() as undo:
            files = []
            for file in _files(self.path):
                files.append(FeatureFile(file))
                undo.callback(files[-1].close)
                self._join(files[0], files[-1])
            if not files:
                raise FileNotFoundError(f"no feature store at {self.path}")
            self._close = undo.pop_all().close
        self._clips = dict(sorted(self._clips.items()))
        header = files[0].header
        self.made_by = header.made_by
        self.description = (
            self.made_by
            if isinstance(self.made_by, BackboneDescription)
            else None
        )
        self.channels = header.channels
        self.dtype = np.dtype(header.dtype)
        self.compute_dtype = header.compute_dtype

    def _join(self, first, file):
        if differences := first.header.differences(file.header):
            raise ValueError(
                f"{file.path}: is of another store than {first.path}: "
                f"{', '.join(differences)}."
            )
        for clip in file.clips:
            other = self._clips.setdefault(clip, file)
            if other is not file and (
                other.shape(clip) != file.shape(clip)
                or other.attributes(clip) != file.attributes(clip)
            ):
                raise ValueError(
                    f"{file.path}: clip {clip!r} is in {other.path} too, and "
                    f"is another one there: {other.attributes(clip)} (here "
                    f"{file.attributes(clip)})."
                )

    def __getitem__(self, clip: str) -> np.ndarray:
        return self.read(clip)

    def __contains__(self, clip: object) -> bool:
        return clip in self._clips

    def __iter__(self) -> Iterator[str]:
        return iter(self._clips)

    def __len__(self) -> int:
        return len(self._clips)

    def read(
        self, clip: str, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Reads the steps from `start` up to `stop` of a clip's features."""
        return self._file(clip).read(clip, start, stop)

    def view(
        self, clip: str, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Returns what `read` returns, read-only and without a copy.

        The steps are pages of the file, read from the disk when they are used.
        """
        return self._file(clip).view(clip, start, stop)

    def shape(self, clip: str) -> tuple[int, int, int, int]:
        """Returns (time, height, width, channels) without reading features."""
        return self._file(clip).shape(clip)

    def attributes(self, clip: str) -> dict[str, str | float | int]:
        """Returns what is known of a clip.

        The keys are `label`, `split`, `scene` (empty if there is none),
        `frame_rate` (of the frames that the backbone saw, per second) and
        `frames` (number of frames that the backbone saw). How many of them a
        step covers is `description.frames_per_step`.
        """
        return self._file(clip).attributes(clip)

    def made_from(self, clip: str) -> str:
        """Returns words that tell the video that a clip's features are of.

        `extract_features` notes the size of its file and the part that the clip
        is, to see later whether they changed. Empty if it is not known.
        """
        return self._file(clip).made_from(clip)

    def check(self, clips: Iterable[str] | None = None) -> None:
        """Reads features to find those that no network can be trained on.

        What `FeatureStoreWriter` wrote is finite; stores that others made need
        not be, and a single NaN makes all weights NaN. This takes the time of
        reading the features once.

        Args:
            clips: Names of the clips. Defaults to all of the store.

        Raises:
            KeyError: If there is no such clip.
            ValueError: If features are not finite, or cannot be read. The
                message names their clips.
        """
        problems = {}
        for clip in self if clips is None else clips:
            try:
                if not self._is_finite(clip):
                    problems[clip] = "NaN or infinite values"
            except ValueError as error:
                problems[clip] = str(error)
        if problems:
            told = [f"{name!r}: {problems[name]}" for name in problems]
            raise ValueError(
                f"{self.path}: the features of {len(told)} clips cannot be "
                "used:\n  " + "\n  ".join(told) + "."
            )

    def _is_finite(self, clip):
        time, *rest = self.shape(clip)
        step = math.prod(rest) * self.dtype.itemsize
        block = max(1, _BLOCK_BYTES // max(step, 1))
        return all(
            np.isfinite(self.read(clip, start, start + block)).all()
            for start in range(0, time, block)
        )

    def close(self) -> None:
        """Closes the files; the features can no longer be read."""
        self._close()

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _file(self, clip):
        if clip not in self._clips:
            raise KeyError(f"no clip {clip!r} in {self.path}")
        return self._clips[clip]


def _files(path):
    """Returns the files of a store, sorted."""
    if path.is_file():
        return [path]
    files = [file for file in sorted(path.rglob("*.h5")) if not file.is_dir()]
    for file in files:
        check_plain_file(file)  # a link could lead to any other one
    return files
