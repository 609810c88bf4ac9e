"""One HDF5 file of a feature store: a header, and one data set a clip."""

import contextlib
import dataclasses
import json
import math
import mmap
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.compute_dtype import check_compute_dtype
from actx_tf.utils.untrusted_files import check_link
from actx_tf.utils.untrusted_files import plain_dataset

DTYPES = ("float16", "float32")
_MOST_TEXT = 10_000
_MOST_BYTES = 60_000  # HDF5 holds 64 kB in an attribute
_FORMAT = "actx_tf features"
_VERSION = 3
_COMPUTE_DTYPE = "compute_dtype"  # float32 where it is missing
_FIELDS = ("format", "version", "made_by", "dtype", "channels", _COMPUTE_DTYPE)
_ATTRIBUTES = {
    "label": str,
    "split": str,
    "scene": str,
    "frame_rate": (int, float),
    "frames": int,
}
_MADE_FROM = "made_from"  # may be missing


@dataclasses.dataclass(frozen=True)
class Header:
    """What all feature maps of a store have in common.

    Attributes:
        made_by: The description of the backbone; for maps of another kind,
            words that tell how they were made.
        dtype: `"float16"` or `"float32"`.
        channels: Number of channels; `None` as long as it is unknown.
        compute_dtype: `"float32"` or `"bfloat16"`: the backbone's arithmetic.
    """

    made_by: BackboneDescription | str
    dtype: str = "float16"
    channels: int | None = None
    compute_dtype: str = "float32"

    def __post_init__(self) -> None:
        made_by = self.made_by
        if isinstance(made_by, BackboneDescription):
            if self.channels is None:
                object.__setattr__(self, "channels", made_by.channels)
            elif self.channels != made_by.channels:
                raise ValueError(
                    f"`channels` must be {made_by.channels}, as `made_by` "
                    f"says. Received: channels={self.channels}"
                )
        elif not isinstance(made_by, str) or not made_by:
            raise ValueError(
                "`made_by` must be a BackboneDescription, or a string that "
                f"tells what made the maps. Received: made_by={made_by!r:.80}"
            )
        if len(self._json()) > _MOST_BYTES:
            raise ValueError(
                f"`made_by` must take at most {_MOST_BYTES} bytes of JSON. "
                f"Received: made_by={made_by!r:.80}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(
                f"`dtype` must be one of {DTYPES}. "
                f"Received: dtype={self.dtype!r:.80}"
            )
        check_compute_dtype(self.compute_dtype)

    def differences(self, other: "Header") -> list[str]:
        """What differs in another one, each as `field=other's (not this)`."""
        ours, theirs = self.made_by, other.made_by
        if isinstance(ours, str) or isinstance(theirs, str):
            found = []
            if ours != theirs:
                found = [f"made_by={_told(theirs)} (not {_told(ours)})"]
        else:
            found = ours.differences(theirs)
        for field in ("dtype", "channels", _COMPUTE_DTYPE):
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours != theirs and None not in (ours, theirs):
                # The channels are part of a description, too.
                found.append(f"{field}={theirs!r} (not {ours!r})")
        return list(dict.fromkeys(found))

    def to_attributes(self) -> dict[str, str | int]:
        """Returns the attributes of a file that tell it."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "made_by": self._json(),
            "dtype": self.dtype,
            "channels": self.channels,
            _COMPUTE_DTYPE: self.compute_dtype,
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> "Header":
        """Reads it from the attributes of a file.

        Raises:
            ValueError: If they are not those of a store, or of another
                version.
        """
        values = {
            name: _plain(attributes[name])
            for name in _FIELDS
            if name in attributes
        }
        if str(values.get("format")) != _FORMAT:
            raise ValueError("not a feature store")
        version = values.get("version")
        if not isinstance(version, int) or version < 1:
            raise ValueError(
                "the format version must be a whole number. "
                f"Received: version={version!r:.80}"
            )
        if version < _VERSION:
            raise ValueError(
                f"is of format {version}, this version reads {_VERSION}: "
                "extract the features again"
            )
        if version > _VERSION:
            raise ValueError(
                f"was written by a later version of actx_tf (format {version}, "
                f"of which this one knows {_VERSION}): update actx_tf to read "
                "it"
            )
        try:
            made_by = json.loads(_typed(values, "made_by", str))
            if not isinstance(made_by, str):
                made_by = BackboneDescription.from_dict(made_by)
            return cls(
                made_by,
                _typed(values, "dtype", str),
                _typed(values, "channels", int),
                _typed(
                    {_COMPUTE_DTYPE: "float32", **values}, _COMPUTE_DTYPE, str
                ),
            )
        # JSON of deep nesting raises RecursionError.
        except (RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"bad header: {error}") from error

    def _json(self):
        if isinstance(self.made_by, BackboneDescription):
            return json.dumps(self.made_by.to_dict())
        return json.dumps(self.made_by)


class FeatureFile:
    """Reads a file of a store; what it claims is not trusted.

    Args:
        path: Path of the file.

    Attributes:
        path: Path of the file.
        header: Its `Header`.
        clips: Names of its clips.

    Raises:
        ValueError: If it is no such file. The message names it.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        with contextlib.ExitStack() as undo:
            with self._naming_the_file("not a whole HDF5 file"):
                self._file = h5py.File(path, "r")
                undo.callback(self._file.close)
                clips = list(self._file)
            with self._naming_the_file():
                self.header = Header.from_attributes(self._file.attrs)
                # A link could lead to any other file of the machine.
                for clip in clips:
                    check_link(self._file, clip)
                with open(path, "rb") as file:
                    self._pages = mmap.mmap(
                        file.fileno(), 0, access=mmap.ACCESS_READ
                    )
            self.clips = clips
            undo.pop_all()

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
        """Returns what `read` returns, read-only and without a copy."""
        dataset = self._dataset(clip)
        offset = dataset.id.get_offset()  # None if it is in pieces
        if offset is None or self._file.userblock_size:
            return self.read(clip, start, stop)
        if offset + dataset.nbytes > len(self._pages):
            raise self._error(f"clip {clip!r} ends after the file's end")
        features = np.ndarray(
            dataset.shape, dataset.dtype, buffer=self._pages, offset=offset
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

    def attributes(self, clip: str) -> dict[str, str | float | int]:
        """Returns what is known of a clip: see `FeatureStore.attributes`."""
        dataset = self._dataset(clip)
        with self._naming_the_file(f"clip {clip!r}"):
            return {
                name: _typed(dataset.attrs, name, kind)
                for name, kind in _ATTRIBUTES.items()
            }

    def made_from(self, clip: str) -> str:
        """Returns what a clip is made from: see `FeatureStore.made_from`."""
        dataset = self._dataset(clip)
        with self._naming_the_file(f"clip {clip!r}"):
            if _MADE_FROM not in dataset.attrs:
                return ""
            return _typed(dataset.attrs, _MADE_FROM, str)

    def close(self) -> None:
        """Closes the file; the features can no longer be read."""
        self._file.close()
        if hasattr(self, "_pages"):
            del self._pages  # unmapped with the last view

    def _dataset(self, clip):
        if not self._file:
            raise self._error("the feature store is closed")
        dtype, channels = self.header.dtype, self.header.channels
        with self._naming_the_file(
            f"clip {clip!r} is not a feature map of {channels} channels, "
            f"{dtype}"
        ):
            dataset = plain_dataset(self._file, clip)
            shape = dataset.shape
            if (
                len(shape) != 4
                or not all(shape)
                or shape[-1] != channels
                or dataset.dtype != dtype
            ):
                raise ValueError(f"it is of the shape {shape}, {dataset.dtype}")
            return dataset

    @contextlib.contextmanager
    def _naming_the_file(self, problem: str | None = None) -> Iterator[None]:
        """Names the file in whatever goes wrong with it."""
        try:
            yield
        # What h5py raises on broken files is not documented.
        except Exception as error:
            problem = f"{problem}: {error}" if problem else str(error)
            raise self._error(problem) from error

    def _error(self, problem):
        return ValueError(f"{self.path}: {problem}.")


def clip_attributes(
    clip: str,
    *,
    label: str,
    split: str,
    scene: str,
    frame_rate: float,
    frames: int,
    made_from: str = "",
) -> dict[str, str | float | int]:
    """Returns what a file says of a clip, checked.

    Raises:
        ValueError: If a value cannot be stored. The message names the clip.
    """
    known: dict[str, str | float | int] = {
        "label": _text("label", label, clip),
        "split": _text("split", split, clip),
        "scene": _text("scene", scene, clip),
        "frame_rate": float(_positive("frame_rate", frame_rate, clip)),
        "frames": int(_positive("frames", frames, clip)),
    }
    if made_from:
        known[_MADE_FROM] = _text(_MADE_FROM, made_from, clip)
    return known


def set_attributes(
    target: h5py.HLObject, attributes: Mapping[str, str | float | int]
) -> None:
    """Writes attributes as they are read: strings of a fixed length.

    Those of any length lie in a heap apart, and HDF5 1.14 reads for ever where
    a bit of that is damaged.
    """
    for name, value in attributes.items():
        if isinstance(value, str):
            data = value.encode()
            kind = h5py.string_dtype("utf-8", max(1, len(data)))
            target.attrs.create(name, data, dtype=kind)
        else:
            target.attrs[name] = value


def check_name(clip: str) -> None:
    """Raises `ValueError` if a clip cannot have this name."""
    # HDF5 takes "/" for a path and "." for the group itself.
    if not _is_text(clip, "/\0") or clip in ("", ".", ".."):
        raise ValueError(
            f"`clip` must be a name of at most {_MOST_TEXT} bytes, "
            f"without '/' and NUL. Received: clip={clip!r:.80}"
        )


def _told(made_by):
    if isinstance(made_by, BackboneDescription):
        return f"the backbone {made_by.name!r}"
    return repr(made_by)


def _plain(value):
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value


def _typed(attributes, name, kinds):
    """Returns an attribute, if it is of these types."""
    if name not in attributes:
        raise ValueError(f"`{name}` is missing")
    value = _plain(attributes[name])
    if not isinstance(value, kinds):
        raise ValueError(f"`{name}` is of another type: {type(value).__name__}")
    return value


def _is_text(value, forbidden):
    try:
        return (
            isinstance(value, str)
            and not set(value) & set(forbidden)
            and len(value.encode()) <= _MOST_TEXT
        )
    except UnicodeEncodeError:
        return False


def _text(name, value, clip):
    if not _is_text(value, "\0"):
        raise ValueError(
            f"`{name}` must be a string of at most {_MOST_TEXT} bytes, "
            "without NUL. "
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
