"""Writes a store of feature maps; no finished clip is lost."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import zlib

import h5py
import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.feature_file import Header
from actx_tf.data.feature_file import check_name
from actx_tf.data.feature_file import clip_attributes
from actx_tf.data.feature_file import set_attributes
from actx_tf.data.feature_store import FeatureStore
from actx_tf.utils.untrusted_files import check_plain_file

# After so many bytes a file is finished and the next one begun: it is what is
# written again, at most, of a run that was killed.
_MOST_BYTES = 2**34
_MOST_LINE_BYTES = 2**18


class FeatureStoreWriter:
    """Writes a feature store, or adds clips to one; a context manager.

    What a store holds is never written again: each run writes files of its
    own into the folder `path`. When `add` returns, the clip is safe on the
    disk; a file gets its name when it is whole. If the context is left by an
    exception, the finished clips are there to be read. If the process is
    killed, the next writer saves the clips that were finished, and goes on.

    Several processes write one store if each is given a folder of its own
    within it.

    Args:
        path: Path of the folder. The one it lies in must exist.
        made_by: The description of the backbone that makes the features; for
            maps of another kind, words that tell all that they depend on. It
            must be what made those that the store holds already.
        dtype: `"float16"` or `"float32"`: how the features are stored.
            Defaults to `"float16"`.
        compute_dtype: Arithmetic of the backbone, as in `extract_features`.
            Defaults to `"float32"`.

    Attributes:
        path: Path of the folder.

    Example:

    ```python
    with FeatureStoreWriter("features", backbone.description) as writer:
        for clip in clips:
            if clip.clip not in writer:
                writer.add(clip.clip, features_of(clip), clip.label, ...)
    ```

    Raises:
        ValueError: If an argument is wrong, or the store holds features of
            another backbone, sampling, dtype or arithmetic. The message tells
            what differs.
        RuntimeError: If another writer has the store open.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        made_by: BackboneDescription | str,
        dtype: str = "float16",
        compute_dtype: str = "float32",
    ) -> None:
        self.path = pathlib.Path(path)
        self._header = Header(made_by, dtype, compute_dtype=compute_dtype)
        self._draft: _Draft | None = None
        if self.path.is_file():
            FeatureStore(self.path).close()  # tells what is wrong with it
            raise ValueError(
                "`path` must be a folder, or new. "
                f"Received: path={self.path}, a store of one file"
            )
        self.path.mkdir(exist_ok=True)
        self._lock = _acquire_lock(self.path)
        try:
            self._clips = self._read()
            self._recover()
        except BaseException:
            self._close()
            raise

    def __contains__(self, clip: object) -> bool:
        return clip in self._clips

    def __len__(self) -> int:
        return len(self._clips)

    def __enter__(self) -> "FeatureStoreWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._finish()
            self._recover()  # what could not be finished
        finally:
            self._close()

    def add(
        self,
        clip: str,
        features: np.ndarray,
        label: str,
        split: str,
        frame_rate: float,
        frames: int,
        scene: str = "",
        made_from: str = "",
    ) -> None:
        """Adds a clip; when this returns, the clip is safe on the disk.

        Args:
            clip: Name of the clip.
            features: Its feature map, `(time, height, width, channels)`.
            label: Name of its class.
            split: Name of its split.
            frame_rate: Frames per second that the backbone saw.
            frames: Number of frames that the backbone saw.
            scene: Name of its scene. Defaults to none, `""`.
            made_from: See `FeatureStore.made_from`. Defaults to `""`.

        Raises:
            ValueError: If the features or the name cannot be stored, or the
                clip is there already.
            OSError: If the disk is full, or fails otherwise.
        """
        if self._lock is None:
            raise ValueError(f"{self.path}: the writer is closed.")
        check_name(clip)
        if clip in self._clips:
            raise ValueError(f"{self.path}: clip {clip!r} is there already.")
        features = self._check_features(clip, features)
        attributes = clip_attributes(
            clip,
            label=label,
            split=split,
            scene=scene,
            frame_rate=frame_rate,
            frames=frames,
            made_from=made_from,
        )
        if self._draft is None:
            self._header = dataclasses.replace(
                self._header, channels=features.shape[-1]
            )
            self._draft = _Draft(self.path, self._header)
        with self._abandoning():
            self._draft.add(clip, features, attributes)
        self._clips.add(clip)
        if self._draft.num_bytes >= _MOST_BYTES:
            self._finish()

    def _check_features(self, clip, features):
        features = np.asarray(features)
        if features.ndim != 4 or not features.size:
            raise ValueError(
                "`features` must be (time, height, width, channels), none of "
                f"them 0. Received: features.shape={features.shape} of clip "
                f"{clip!r}"
            )
        channels = self._header.channels
        if channels not in (None, features.shape[-1]):
            raise ValueError(
                f"`features` must have {channels} channels, as all of "
                f"{self.path}. "
                f"Received: features.shape={features.shape} of clip {clip!r}"
            )
        dtype = self._header.dtype
        with np.errstate(over="ignore", invalid="ignore"):
            stored = np.ascontiguousarray(features, dtype)
        if not np.isfinite(stored).all():
            received = "infinite or NaN values"
            if np.isfinite(features).all():
                received = (
                    f"values up to {np.abs(features).max():.3g}, which take "
                    "dtype='float32'"
                )
            raise ValueError(
                f"`features` must be finite in {dtype}. "
                f"Received: features of clip {clip!r} with {received}"
            )
        return stored

    def _read(self):
        """Returns the clips of finished files, if all is of one kind."""
        for journal in sorted(self.path.rglob("*.journal")):
            if (header := next(_read_journal(journal), None)) is not None:
                self._check(header, journal)
        journals = self.path.rglob("*/*.journal")
        for folder in sorted({journal.parent for journal in journals}):
            # Of a killed worker: a writer of that folder saves its clips.
            ours = self._header
            with FeatureStoreWriter(
                folder, ours.made_by, ours.dtype, ours.compute_dtype
            ):
                pass
        try:
            store = FeatureStore(self.path)
        except FileNotFoundError:
            return set()
        with store:
            header = Header(
                store.made_by,
                store.dtype.name,
                store.channels,
                store.compute_dtype,
            )
            self._check(header, self.path)
            return set(store)

    def _check(self, header, path):
        if differences := header.differences(self._header):
            raise ValueError(
                f"{path} holds features that were made in another way: go on "
                "with the same settings, or write to another store. "
                f"Received: {', '.join(differences)}"
            )
        self._header = header  # its channels are known

    @contextlib.contextmanager
    def _abandoning(self):
        """Gives up the file being written if anything is wrong with it."""
        try:
            yield
        except BaseException as error:
            draft, self._draft = self._draft, None
            self._clips -= draft.clips
            draft.abandon()
            # What h5py raises is not documented.
            if isinstance(error, Exception):
                raise OSError(
                    f"{draft.path}: cannot be written: {error}"
                ) from error
            raise

    def _finish(self):
        if self._draft is not None:
            with self._abandoning():
                self._draft.finish()
            self._draft = None

    def _recover(self):
        """Saves the finished clips of files that were not finished."""
        for journal in sorted(self.path.glob("*.journal")):
            for clip, *rest in _finished_clips(journal):
                if clip in self._clips:
                    continue
                if self._draft is None:
                    # Without a journal: this one stays until all is saved.
                    self._draft = _Draft(self.path, self._header, False)
                with self._abandoning():
                    self._draft.add(clip, *rest)
                self._clips.add(clip)
            self._finish()
            _writing(journal).unlink(missing_ok=True)
            journal.unlink()
        for writing in self.path.glob("*.h5.writing"):
            writing.unlink()  # none of its clips was finished

    def _close(self):
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
            (self.path / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds clips
                self.path.rmdir()


class _Draft:
    """A file of a store while it is written.

    HDF5 alone would lose all of it if the process were killed. So each clip is
    noted in a journal beside it once its values are on the disk: where they
    lie, their checksum, and what is known of the clip.
    """

    def __init__(self, folder, header, journaled=True):
        names = (re.match(r"(\d+)\.", path.name) for path in folder.iterdir())
        number = max((int(name[1]) for name in names if name), default=-1) + 1
        self.path = folder / f"{number:06}.h5"
        self.clips = set()
        self.num_bytes = 0
        self._journal = None
        if journaled:
            self._journal = open(_journal(self.path), "xb")
            self._note(header.to_attributes())
        self._file = h5py.File(_writing(self.path), "x")
        set_attributes(self._file, header.to_attributes())
        _sync(folder)

    def add(self, clip, features, attributes):
        dataset = self._file.create_dataset(clip, data=features)
        set_attributes(dataset, attributes)
        if self._journal is not None:
            dataset.flush()
            _sync(_writing(self.path))
            self._note(
                {
                    "clip": clip,
                    "offset": dataset.id.get_offset(),
                    "shape": features.shape,
                    "checksum": zlib.crc32(features),
                    "attributes": attributes,
                }
            )
        self.clips.add(clip)
        self.num_bytes += features.nbytes

    def _note(self, entry):
        self._journal.write(json.dumps(entry).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def finish(self):
        """Gives the file its name: it is whole."""
        self._file.close()
        _sync(_writing(self.path))
        os.replace(_writing(self.path), self.path)
        _sync(self.path.parent)
        if self._journal is not None:
            self._journal.close()
            _journal(self.path).unlink()

    def abandon(self):
        """Leaves the file and its journal to `_recover`."""
        for file in (self._file, self._journal):
            with contextlib.suppress(Exception):  # it may be None, too
                file.close()


def _writing(path):
    """The file of a journal, or what a file is called while it is written."""
    return path.with_suffix(".h5.writing")


def _journal(path):
    return path.with_suffix(".journal")


def _read_journal(path):
    """Yields the header, then an entry for each clip, as far as written."""
    check_plain_file(path)
    with open(path, "rb") as file:
        lines = iter(lambda: file.readline(_MOST_LINE_BYTES), b"")
        header = None
        for line in lines:
            if not line.endswith(b"\n"):
                return  # the process was killed while it wrote this
            try:
                entry = json.loads(line)
                if header is None:
                    entry = header = Header.from_attributes(entry)
            except (RecursionError, TypeError, ValueError) as error:
                if header is not None:
                    continue  # damaged: its clip is not finished
                raise ValueError(f"{path}: {error}.") from error
            yield entry


def _finished_clips(journal):
    """Yields (clip, features, attributes) of what lies as it was written."""
    path = _writing(journal)
    if not path.exists():  # it was finished, or never begun
        return
    check_plain_file(path)
    size = path.stat().st_size
    entries = _read_journal(journal)
    header = next(entries, None)
    with open(path, "rb") as file:
        for entry in entries:
            try:
                clip, offset, shape = (
                    entry[name] for name in ("clip", "offset", "shape")
                )
                check_name(clip)
                attributes = clip_attributes(clip, **entry["attributes"])
                time, height, width, channels = shape
                num_bytes = math.prod(shape) * np.dtype(header.dtype).itemsize
                if (
                    min(time, height, width, 1 + offset) < 1
                    or channels != header.channels
                    or num_bytes > size - offset
                ):
                    continue
                file.seek(offset)
                values = file.read(num_bytes)
                checksum = entry["checksum"]
            except (ArithmeticError, LookupError, TypeError, ValueError):
                continue
            if zlib.crc32(values) == checksum:
                features = np.frombuffer(values, header.dtype).reshape(shape)
                yield clip, features, attributes


def _acquire_lock(folder):
    path = folder / "lock"
    if path.is_symlink():  # the file that it leads to would be emptied
        check_plain_file(path)
    # HDF5 locks the files that it writes; the lock ends with the process.
    try:
        return h5py.File(path, "w", locking="best-effort")
    except OSError as error:
        raise RuntimeError(
            f"{folder}: cannot be locked; has another writer the store open? "
            f"({error})"
        ) from error


def _sync(path):
    # A folder is synced to make the names in it safe; not on Windows.
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
