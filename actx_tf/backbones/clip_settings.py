"""What a network is shown of a video, as far as its input leaves it open."""

from collections.abc import Sequence
from typing import Any


def clip_settings(
    input_shape: Sequence[int | None],
    *,
    frame_rate: float | None,
    num_frames: int | None,
    size: int | tuple[int, int] | None,
    default_rate: float | None = None,
    default_size: int | tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The arguments of that name of a `BackboneDescription`.

    Args:
        input_shape: (frames, height, width, ...) that the network takes; each
            can be `None`, free.
        frame_rate: What was asked for, or the default.
        num_frames: What was asked for. It takes the place of the default rate.
        size: What was asked for. Defaults to what the network takes.
        default_rate: Where nothing was asked for and the frames are free.
        default_size: Where nothing was asked for and the size is free.

    Raises:
        ValueError: If the network does not take what was asked for.
    """
    frames, height, width = input_shape[:3]
    if frame_rate == default_rate and (num_frames or frames):
        frame_rate = None
        num_frames = num_frames or frames
    if frames is not None and num_frames != frames:
        raise ValueError(
            f"`num_frames` must be {frames}, and no `frame_rate` be given, for "
            "a network that takes so many frames. "
            f"Received: num_frames={num_frames}, frame_rate={frame_rate}"
        )
    if (height is None) != (width is None):
        raise ValueError(
            "the height and the width of `input_shape` must both be given, or "
            f"both be None. Received: input_shape={tuple(input_shape)}"
        )
    if isinstance(size, list):
        size = (*size,)
    fixed = None if height is None or width is None else (height, width)
    if size is None:
        size = fixed or default_size
    elif fixed and size != fixed:
        raise ValueError(
            f"`size` must be {fixed} for a network that takes frames of this "
            f"size. Received: size={size}"
        )
    return {"frame_rate": frame_rate, "num_frames": num_frames, "size": size}


def stream_of(input_shape: Sequence[int | None]) -> str:
    """Which stream a network of such clips sees: `"rgb"` or `"flow"`.

    Args:
        input_shape: (frames, height, width, channels) that it takes.

    Raises:
        ValueError: If it is anything else.
    """
    if len(input_shape) != 4 or input_shape[-1] not in (2, 3):
        raise ValueError(
            "`input_shape` must be (frames, height, width, channels), with 3 "
            "channels for RGB or 2 for flow. "
            f"Received: input_shape={input_shape}"
        )
    return "rgb" if input_shape[-1] == 3 else "flow"
