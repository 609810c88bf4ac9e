"""A store of feature maps: one HDF5 file, one data set a clip."""

import collections.abc
import contextlib
import hashlib
import math
import mmap
import os
import pathlib
import shutil
from collections.abc import Iterable

import h5py
import numpy as np

from actx_tf.utils.untrusted_files import check_link
from actx_tf.utils.untrusted_files import plain_dataset

_FORMAT = "actx_tf features"
_VERSION = 1
_DTYPES = ("float16", "float32")
_HEADER = ("format", "version", "backbone", "dtype", "channels")
_ATTRIBUTES = {
    "label": str,
    "split": str,
    "scene": str,
    "frame_rate": (int, float),
    "stride": int,
    "frames": int,
}
_BLOCK_BYTES = 2**24
_MOST_CHARACTERS = 10_000  # HDF5 holds 64 kB in an attribute


class FeatureStore(collections.abc.Mapping):
    """A mapping from the names of clips to their feature maps, read-only.

    `store[clip]` reads the clip's feature map from the disk, a NumPy array
    `(time, height, width, channels)`, float16 or float32. Several threads
    can read at the same time.

    Args:
        path: Path of a file that `FeatureStoreWriter` wrote.

    Attributes:
        path: Path of the file.
        backbone: Name of the network that made the features.
        channels: Number of channels of every feature map.
        dtype: NumPy dtype of every feature map.

    Example:

    ```python
    with actx_tf.data.FeatureStore("features.h5") as store:
        for clip, features in store.items():
            print(clip, store.attributes(clip)["label"], features.shape)
    ```

    The file need not be trusted: what lies in other files, or claims far more
    than its file can hold, is not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a feature store.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no feature store at {self.path}")
        with contextlib.ExitStack() as undo:
            with self._naming_the_file("not a whole HDF5 file"):
                self._file = h5py.File(self.path, "r")
                undo.callback(self._file.close)
                header = {
                    name: _plain(self._file.attrs[name])
                    for name in _HEADER
                    if name in self._file.attrs
                }
                clips = list(self._file)
            if str(header.get("format")) != _FORMAT:
                raise self._error("HDF5, but not a feature store")
            if str(header.get("version")) != str(_VERSION):
                raise self._error(
                    f"expected format version {_VERSION}. "
                    f"Received: version={header.get('version')}"
                )
            with self._naming_the_file("bad header"):
                self.backbone = _typed(header, "backbone", str)
                self.channels = _typed(header, "channels", int)
                dtype = _typed(header, "dtype", str)
                if dtype not in _DTYPES:
                    raise ValueError(f"`dtype` must be one of {_DTYPES}")
                self.dtype = np.dtype(dtype)
            # A link could lead to any other file of the machine.
            with self._naming_the_file():
                for clip in clips:
                    check_link(self._file, clip)
                with open(self.path, "rb") as file:
                    self._pages = mmap.mmap(
                        file.fileno(), 0, access=mmap.ACCESS_READ
                    )
            self._clips = dict.fromkeys(clips)
            undo.pop_all()

    def __getitem__(self, clip: str) -> np.ndarray:
        return self.read(clip)

    def __contains__(self, clip):
        return clip in self._clips

    def __iter__(self):
        return iter(self._clips)

    def __len__(self):
        return len(self._clips)

    def read(
        self, clip: str, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Reads the steps from `start` up to `stop` of a clip's features."""
        dataset = self._dataset(clip)
        with self._naming_the_file(f"clip {clip!r}"):
            return dataset[start:stop]

    def view(
        self, clip: str, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Returns what `read` returns, read-only and without a copy.

        The steps are pages of the file, read from the disk when they are used.
        """
        dataset = self._dataset(clip)
        offset = dataset.id.get_offset()  # None if it is in pieces
        if offset is None or self._file.userblock_size:
            return self.read(clip, start, stop)
        if offset + dataset.nbytes > len(self._pages):
            raise self._error(f"clip {clip!r} ends behind the file's end")
        features = np.ndarray(
            dataset.shape, self.dtype, buffer=self._pages, offset=offset
        )[start:stop]
        if hasattr(mmap, "MADV_WILLNEED"):  # the system starts to read
            step = dataset.nbytes // len(dataset)
            begin = offset + slice(start, stop).indices(len(dataset))[0] * step
            page = begin - begin % mmap.PAGESIZE
            end = begin + features.nbytes
            self._pages.madvise(mmap.MADV_WILLNEED, page, end - page)
        return features

    def shape(self, clip: str) -> tuple[int, int, int, int]:
        """Returns (time, height, width, channels) without reading features."""
        return self._dataset(clip).shape

    def attributes(self, clip: str) -> dict:
        """Returns what is known of a clip.

        The keys are `label`, `split`, `scene` (empty if there is none),
        `frame_rate` (of the frames that the backbone saw, per second),
        `stride` (frames that one step of time covers) and `frames` (number
        of frames that the backbone saw).
        """
        dataset = self._dataset(clip)
        with self._naming_the_file(f"clip {clip!r}"):
            return {
                name: _typed(dataset.attrs, name, kind)
                for name, kind in _ATTRIBUTES.items()
            }

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
            told = [f"{name!r}: {problems[name]}" for name in list(problems)]
            raise self._error(
                f"the features of {len(told)} clips cannot be used:\n  "
                + "\n  ".join(told)
            )

    def _is_finite(self, clip):
        time, *rest = self.shape(clip)
        step = math.prod(rest) * self.dtype.itemsize
        block = max(1, _BLOCK_BYTES // max(step, 1))
        return all(
            np.isfinite(self.read(clip, start, start + block)).all()
            for start in range(0, time, block)
        )

    def copy(self, clip: str, target: h5py.File) -> None:
        """Copies a clip into another HDF5 file, with what is known of it."""
        dataset = self._dataset(clip)
        with self._naming_the_file(f"clip {clip!r}"):
            self._file.copy(dataset, target, name=clip)

    def close(self) -> None:
        """Closes the file; the features can no longer be read."""
        self._file.close()
        self._pages = None  # unmapped with the last view

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _dataset(self, clip):
        if clip not in self._clips:
            raise KeyError(f"no clip {clip!r} in {self.path}")
        if not self._file:
            raise self._error("the feature store is closed")
        with self._naming_the_file(
            f"clip {clip!r} is not a feature map of {self.channels} channels, "
            f"{self.dtype}"
        ):
            dataset = plain_dataset(self._file, clip)
            shape, dtype = dataset.shape, dataset.dtype
            if (
                len(shape) != 4
                or not all(shape)
                or shape[-1] != self.channels
                or dtype != self.dtype
            ):
                raise ValueError(f"it is of the shape {shape}, {dtype}")
            return dataset

    @contextlib.contextmanager
    def _naming_the_file(self, problem=None):
        """Names the file in whatever goes wrong with it."""
        try:
            yield
        # What h5py raises on broken files is not documented.
        except Exception as error:
            problem = f"{problem}: {error}" if problem else str(error)
            raise self._error(problem) from error

    def _error(self, problem):
        return ValueError(f"{self.path}: {problem}.")


class FeatureStoreWriter:
    """Writes a feature store, or adds clips to it; a context manager.

    Each clip that is added is first a small store of its own, in the folder
    `<path>.parts`. On leaving the context they are merged with the clips
    that the store holds already, and `path` is replaced at once. When the
    context is left by an exception, or the process is killed, the parts stay
    and the next writer goes on with them: no finished clip is lost, and
    neither `path` nor a part is ever half-written.

    Merging writes the whole store anew: have room for it on the disk. Other
    stores that lie in the folder of parts, or in folders in it, are merged as
    well: so several processes write one store, each a part of it.

    Args:
        path: Path of the store. Its folder must exist.
        backbone: Name of the network that makes the features. It must be
            the one that made those that the store holds already.
        dtype: `"float16"` or `"float32"`: how the features are stored.
            Defaults to `"float16"`.

    Attributes:
        path: Path of the store.
        parts: Path of the folder of its parts.

    Example:

    ```python
    with FeatureStoreWriter("features.h5", backbone=model.name) as writer:
        for clip in clips:
            if clip.clip not in writer:
                writer.add(clip.clip, features_of(clip), clip.label, ...)
    ```

    Raises:
        ValueError: If the store, or the parts beside it, hold features of
            another backbone or dtype.
        RuntimeError: If another writer has the store open.
    """

    def __init__(
        self, path: str | os.PathLike, backbone: str, dtype: str = "float16"
    ):
        if (
            not isinstance(backbone, str)
            or not 0 < len(backbone) <= _MOST_CHARACTERS
            or "\0" in backbone
        ):
            raise ValueError(
                "`backbone` must be the name of the network. "
                f"Received: backbone={backbone!r}"
            )
        if dtype not in _DTYPES:
            raise ValueError(
                f"`dtype` must be one of {_DTYPES}. Received: dtype={dtype!r}"
            )
        self.path = pathlib.Path(path)
        self.backbone = backbone
        self.dtype = dtype
        self.parts = self.path.with_name(f"{self.path.name}.parts")
        self._channels = None
        self._clips = set()
        if self.path.exists():
            self._check(self.path)
        parts = self._part_files()
        if parts:
            self._check(parts[0])
        self.parts.mkdir(exist_ok=True)
        self._lock = self._acquire_lock()
        try:
            # Anew, as another writer may have been here before the lock.
            if self.path.exists():
                self._clips.update(self._check(self.path))
            for part in self._part_files():
                self._clips.update(self._check(part))
        except BaseException:
            self._release_lock()
            raise

    def __contains__(self, clip):
        return clip in self._clips

    def __len__(self):
        return len(self._clips)

    def __enter__(self):
        return self

    def __exit__(self, exception_type, *exception):
        try:
            if exception_type is None:
                self._merge()
        finally:
            self._release_lock()

    def add(
        self,
        clip: str,
        features: np.ndarray,
        label: str,
        split: str,
        frame_rate: float,
        stride: int,
        frames: int,
        scene: str = "",
    ) -> None:
        """Adds a clip; when this returns, the clip is safe on the disk.

        Args:
            clip: Name of the clip.
            features: Its feature map, `(time, height, width, channels)`.
            label: Name of its class.
            split: Name of its split.
            frame_rate: Frames per second that the backbone saw.
            stride: Number of frames that one step of time covers.
            frames: Number of frames that the backbone saw.
            scene: Name of its scene. Defaults to none, `""`.

        Raises:
            ValueError: If the features or the name cannot be stored, or the
                clip is there already.
        """
        if self._lock is None:
            raise ValueError(f"{self.path}: the writer is closed.")
        _check_name(clip)
        if clip in self._clips:
            raise ValueError(f"{self.path}: clip {clip!r} is there already.")
        features = self._check_features(clip, features)
        attributes = {
            "label": _text("label", label, clip),
            "split": _text("split", split, clip),
            "scene": _text("scene", scene, clip),
            "frame_rate": float(_positive("frame_rate", frame_rate, clip)),
            "stride": int(_positive("stride", stride, clip)),
            "frames": int(_positive("frames", frames, clip)),
        }
        channels = features.shape[-1]
        # A clip's name can be too long or too odd for a file.
        name = hashlib.sha256(clip.encode()).hexdigest()[:32]
        with self._replace(self.parts / f"{name}.h5", channels) as part:
            dataset = part.create_dataset(clip, data=features)
            _set_attributes(dataset, attributes)
        self._channels = channels
        self._clips.add(clip)

    def _check_features(self, clip, features):
        features = np.asarray(features)
        if features.ndim != 4 or not features.size:
            raise ValueError(
                "`features` must be (time, height, width, channels), none of "
                f"them 0. Received: features.shape={features.shape} of clip "
                f"{clip!r}"
            )
        if self._channels not in (None, features.shape[-1]):
            raise ValueError(
                f"`features` must have {self._channels} channels, as those "
                f"that {self.path} holds. "
                f"Received: features.shape={features.shape} of clip {clip!r}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            stored = features.astype(self.dtype)
        if not np.isfinite(stored).all():
            received = "infinite or NaN values"
            if np.isfinite(features).all():
                received = (
                    f"values up to {np.abs(features).max():.3g}, which take "
                    "dtype='float32'"
                )
            raise ValueError(
                f"`features` must be finite in {self.dtype}. "
                f"Received: features of clip {clip!r} with {received}"
            )
        return stored

    def _check(self, path):
        """Returns the clips of a store, if it is one of ours."""
        with FeatureStore(path) as store:
            for name, expected, received in (
                ("backbone", store.backbone, self.backbone),
                ("dtype", store.dtype.name, self.dtype),
                ("channels", store.channels, self._channels),
            ):
                if received not in (None, expected):
                    raise ValueError(
                        f"`{name}` must be {expected!r}, as {path} holds. "
                        f"Received: {name}={received!r}"
                    )
            self._channels = store.channels
            return list(store)

    def _part_files(self):
        return sorted(self.parts.rglob("*.h5"))

    def _merge(self):
        parts = self._part_files()
        for part in parts:
            self._check(part)  # also those that others have put there
        if parts:
            with self._replace(self.path, self._channels) as target:
                for path in (self.path, *parts):
                    if not path.exists():
                        continue
                    with FeatureStore(path) as source:
                        for clip in source:
                            # Killed after a merge, a part is there twice.
                            if clip not in target:
                                source.copy(clip, target)
        for part in parts:
            part.unlink()
        for left in self.parts.iterdir():  # a killed writer's
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name.endswith(".h5.tmp"):
                left.unlink()

    @contextlib.contextmanager
    def _replace(self, path, channels):
        """Writes a store so that `path` is the old one or the whole new."""
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            with h5py.File(temporary, "w") as file:
                header = {
                    "format": _FORMAT,
                    "version": _VERSION,
                    "backbone": self.backbone,
                    "dtype": self.dtype,
                    "channels": channels,
                }
                _set_attributes(file, header)
                yield file
            _sync(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)

    def _acquire_lock(self):
        # HDF5 locks the files that it writes; the lock ends with the process.
        try:
            return h5py.File(self.parts / "lock", "w", locking="best-effort")
        except OSError as error:
            raise RuntimeError(
                f"{self.path}: cannot be locked; has another writer the store "
                f"open? ({error})"
            ) from error

    def _release_lock(self):
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
            (self.parts / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # parts are left
                self.parts.rmdir()


def _set_attributes(target, attributes):
    # Strings of a fixed length: those of any length lie in a heap apart, and
    # HDF5 1.14 reads for ever where a bit of that is damaged.
    for name, value in attributes.items():
        if isinstance(value, str):
            data = value.encode()
            kind = h5py.string_dtype("utf-8", max(1, len(data)))
            target.attrs.create(name, data, dtype=kind)
        else:
            target.attrs[name] = value


def _plain(value):
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value


def _typed(attributes, name, kinds):
    """Returns an attribute, if it is of these types."""
    value = _plain(attributes[name])
    if not isinstance(value, kinds):
        raise ValueError(f"`{name}` is of another type: {type(value).__name__}")
    return value


def _check_name(clip):
    # HDF5 takes "/" for a path and "." for the group itself.
    try:
        good = clip not in ("", ".", "..") and not set(clip) & {"/", "\0"}
        clip.encode()
    except (AttributeError, TypeError, UnicodeEncodeError):
        good = False
    if not good:
        raise ValueError(
            "`clip` must be a name without '/' and NUL. "
            f"Received: clip={clip!r}"
        )


def _text(name, value, clip):
    if (
        not isinstance(value, str)
        or "\0" in value
        or len(value) > _MOST_CHARACTERS
    ):
        raise ValueError(
            f"`{name}` must be a string of at most {_MOST_CHARACTERS} "
            "characters, without NUL. "
            f"Received: {name}={value!r:.80} of clip {clip!r}"
        )
    return value


def _positive(name, value, clip):
    if not 0 < value < math.inf:
        raise ValueError(
            f"`{name}` must be positive. "
            f"Received: {name}={value!r} of clip {clip!r}"
        )
    return value


def _sync(path):
    # A folder is synced to make the names in it safe; not on Windows.
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
