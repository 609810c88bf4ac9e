"""Attention maps over the frames that they belong to.

Maps are drawn as a share of their largest value in the clip, on one scale of
colors; where a map is small, the frame shows through. A value is drawn at the
center of what its location of the feature map sees (see `location_centers`),
in space and in time; in between, maps are interpolated linearly, and what lies
outside of the centers has the value of the nearest. Time is interpolated as
space is: a step sees far more frames than those that it covers, so maps that
jumped from step to step would show borders that are none.
"""

from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from actx_tf.backbones.description import location_centers
from actx_tf.utils.checks import check_share
from actx_tf.utils.optional import import_optional

COLORS = "inferno"
OPACITY = 0.8

Centers = tuple[np.ndarray, np.ndarray, np.ndarray]


def resize_map(
    attention_map: np.ndarray,
    size: Sequence[int],
    centers: Centers | None = None,
) -> np.ndarray:
    """Resizes a map to the frames of a clip.

    Args:
        attention_map: `(time, height, width)`.
        size: (frames, height, width) of the clip, at any frame rate.
        centers: Of the map's locations, as `location_centers` gives them.
            Defaults to `None`: those of equal cells.

    Returns:
        Float32 array `(frames, height, width)`.

    Raises:
        ValueError: If `attention_map`, `size` and `centers` do not fit.
    """
    time, *space = interpolation(attention_map, size, centers)
    values = np.asarray(attention_map, np.float32)
    return np.stack([_at_frame(values, place, space) for place in time])


def overlay_attention(
    video: np.ndarray,
    attention_map: np.ndarray,
    centers: Centers | None = None,
    opacity: float = OPACITY,
) -> np.ndarray:
    """Draws a map over the frames of a clip.

    Args:
        video: Frames, uint8 `(frames, height, width, 3)`, at any size and
            frame rate.
        attention_map: `(time, height, width)`: S, C, or any other map that is
            not negative.
        centers: Of the map's locations, as `location_centers` gives them.
            Defaults to `None`: those of equal cells.
        opacity: In [0, 1]: how much of a frame the map's largest value
            hides. Defaults to `0.8`.

    Returns:
        uint8 array like `video`.

    Raises:
        ValueError: If an argument is wrong.
    """
    check_video(video)
    check_share("opacity", opacity)
    shares = shares_of_frames(attention_map, video.shape[:3], centers)
    return np.stack(
        [
            blend(frame, share, opacity)
            for frame, share in zip(video, shares, strict=True)
        ]
    )


def map_colors() -> np.ndarray:
    """Returns the scale that maps are drawn with: uint8 `(256, 3)`, RGB."""
    matplotlib = import_optional("matplotlib", "Drawing maps")
    return matplotlib.colormaps[COLORS](np.arange(256), bytes=True)[:, :3]


def interpolation(
    attention_map: np.ndarray, size: Sequence[int], centers: Centers | None
) -> list[np.ndarray]:
    """Interpolation along time, height and width.

    Along time, where the frames lie between the steps, `(frames,)`: 2.25 is
    between the steps 2 and 3. Along the others, a matrix `(new size, old
    size)`, for a map has few rows and columns, and can have thousands of steps.
    """
    shape = check_map(attention_map).shape
    if len(size) != 3 or min(size) < 1:
        raise ValueError(
            "`size` must be (frames, height, width), all positive. "
            f"Received: size={tuple(size)}"
        )
    if centers is None:
        centers = location_centers(None, shape)
    if tuple(map(len, centers)) != shape:
        raise ValueError(
            f"`centers` must be those of a map of the shape {shape}. "
            f"Received: centers of {tuple(map(len, centers))} locations"
        )
    places = [(np.arange(count) + 0.5) / count for count in size]
    positions = np.interp(places[0], centers[0], np.arange(len(centers[0])))
    matrices = []
    for at, middles in zip(places[1:], centers[1:], strict=True):
        rows = [np.interp(at, middles, x) for x in np.eye(len(middles))]
        matrices.append(np.stack(rows, axis=1).astype(np.float32))
    return [positions, *matrices]


def _at_frame(values, position, space):
    before = int(position)
    after = min(before + 1, len(values) - 1)
    share = np.float32(position - before)
    height, width = space
    step = (1 - share) * values[before] + share * values[after]
    return height @ step @ width.T


def shares_of_frames(
    attention_map: np.ndarray, size: Sequence[int], centers: Centers | None
) -> Iterator[np.ndarray]:
    """Yields the map at each frame, as shares of its largest value.

    Args:
        attention_map: As in `overlay_attention`.
        size: (frames, height, width) of the clip.
        centers: As in `overlay_attention`.
    """
    time, *space = interpolation(attention_map, size, centers)
    values = np.asarray(attention_map, np.float32)
    largest = max(float(values.max()), 1e-12)
    for place in time:
        yield _at_frame(values, place, space) / largest


def blend(
    frame: np.ndarray, share: np.ndarray, opacity: float = OPACITY
) -> np.ndarray:
    """Returns a frame with a map, in [0, 1], over it."""
    colors = map_colors()[np.rint(255 * np.clip(share, 0, 1)).astype(int)]
    alpha = opacity * share[..., None]
    return np.rint(frame + alpha * (colors - frame.astype(np.float32))).astype(
        np.uint8
    )


def check_map(attention_map: np.ndarray) -> np.ndarray:
    """Returns the map of a clip; raises `ValueError` if it is none."""
    values = np.asarray(attention_map)
    if values.ndim != 3 or not values.size:
        raise ValueError(
            "`attention_map` must be (time, height, width), of one clip. "
            f"Received: a shape of {values.shape}"
        )
    return values


def check_video(video: np.ndarray, name: str = "video") -> None:
    """Raises `ValueError` unless these are frames."""
    shape, dtype = np.shape(video), getattr(video, "dtype", None)
    if len(shape) != 4 or shape[-1] != 3 or not all(shape) or dtype != np.uint8:
        raise ValueError(
            f"`{name}` must be uint8 (frames, height, width, 3). "
            f"Received: shape={shape}, dtype={dtype}"
        )
