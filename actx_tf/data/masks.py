"""Masks of pixels, frame by frame: where in clips somebody acts."""

import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import numpy as np

from actx_tf.data.clip_index import UnfitClip
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.untrusted_files import read_npz


def write_masks(
    path: str | os.PathLike, masks: Iterable[tuple[str, np.ndarray]]
) -> None:
    """Writes masks of clips as `.npz`, eight pixels a byte.

    Args:
        path: Path of the file.
        masks: Names of clips, and booleans `(frames, height, width)` of each.
    """
    packed: dict[str, Any] = {
        name: np.packbits(mask, axis=-1) for name, mask in masks
    }
    with atomic_write(path) as draft, open(draft, "wb") as file:
        np.savez_compressed(file, **packed)


def fit_masks(masks: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Cuts off the columns that packed masks have too many of.

    Args:
        masks: Those of a clip, of `Masks` say.
        frames: `(frames, height, width, channels)`.

    Returns:
        Booleans `(frames, height, width)`.

    Raises:
        UnfitClip: If they are of other frames, or of another size.
    """
    width = frames.shape[2]
    if (
        masks.shape[:2] != frames.shape[:2]
        or not width <= masks.shape[2] < width + 8
    ):
        raise UnfitClip(
            f"its masks are of {masks.shape} frames and pixels, and the clip "
            f"of {frames.shape[:3]}"
        )
    return masks[..., :width].astype(bool)


class Masks(Mapping[str, np.ndarray]):
    """Masks of clips; those of a clip are unpacked when it is asked for.

    Args:
        path: Path of what `write_masks` wrote; or of another `.npz` with an
            array for each clip: booleans `(frames, height, width)`, or
            eight pixels a byte, uint8 `(frames, height, width / 8)`.

    Raises:
        ValueError: If the file holds anything else.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        try:
            self._arrays = read_npz(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        for name, array in self._arrays.items():
            if array.ndim != 3 or array.dtype not in (np.bool_, np.uint8):
                raise ValueError(
                    f"{path}: {name!r} must be booleans (frames, height, "
                    "width) or packed bits, uint8. Received: "
                    f"shape={array.shape}, dtype={array.dtype}"
                )

    def __getitem__(self, clip: str) -> np.ndarray:
        """Booleans `(frames, height, width)`.

        Of packed ones the width is the next multiple of 8: the last columns
        can be of no pixels, and False.
        """
        array = self._arrays[clip]
        if array.dtype == np.uint8:
            array = np.unpackbits(array, axis=-1).astype(bool)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
