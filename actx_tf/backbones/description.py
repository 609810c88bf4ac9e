"""What a backbone sees, what a step of its feature maps is, what it needs."""

import dataclasses
import hashlib
import json
import math
import numbers
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

# The one way in which frames are resized: see `actx_tf.data.resizing`. Its name
# tells features apart from those of frames that were resized in another way.
RESIZING = "bilinear, antialiased"
STREAMS = ("rgb", "flow")
FLOW_METHODS = ("dis", "tvl1")
_COLORS = {"rgb": 3, "flow": 2}


@dataclasses.dataclass(frozen=True)
class Axis:
    """How the locations of one axis of a feature map see a clip.

    Attributes:
        stages: The layers between the clip and the feature map that stride or
            see more than one place, the first one first, each as (kernel,
            stride, padding). The padding is what stands before the first
            place; after the last one then stands `kernel - 1 - padding`, so
            that there are `ceil(size / stride)` outputs. Where something else
            stands there, it is a pair (before, after); less than 0 is cut off.
            `None` is TensorFlow's "SAME", which depends on the size.
        sees_all: Whether each location sees the whole axis, as with attention
            over all tokens. The stages then give the part that it covers.
    """

    stages: tuple[tuple[int, int, int | tuple[int, int] | None], ...] = ()
    sees_all: bool = False

    def __str__(self) -> str:
        """Its figures, in few words."""
        radius = self.receptive_radius
        seen = "all" if radius is None else f"{radius} more to each side"
        return f"steps of {self.stride} that see {seen}"

    def __post_init__(self) -> None:
        stages = tuple(tuple(stage) for stage in self.stages)
        if not all(
            len(stage) == 3
            and _is_integer(stage[0], 1)
            and _is_integer(stage[1], 1)
            and (stage[2] is None or _is_padding(stage[2]))
            for stage in stages
        ):
            raise ValueError(
                "`stages` must be tuples (kernel, stride, padding) of whole "
                "numbers; the padding may be a pair or None. "
                f"Received: stages={self.stages}"
            )
        strides = [int(stage[1]) for stage in stages]  # type: ignore[arg-type]
        if len(stages) > 1000 or math.prod(strides) > _MOST:
            raise ValueError(
                f"`stages` must be at most 1000, of strides up to {_MOST} in "
                f"all. Received: {len(stages)} stages"
            )
        stages = tuple(map(_simplest, stages))
        # The others change nothing.
        stages = tuple(stage for stage in stages if stage != (1, 1, 0))
        object.__setattr__(self, "stages", stages)

    @classmethod
    def of_one_stage(
        cls, ends: tuple[int, int], stride: int, count: int, size: int
    ) -> "Axis":
        """An axis whose padding depends on no size.

        Args:
            ends: First and last place that the first location sees; the first
                is less than 0 where it is padded.
            stride: Frames or pixels from one location to the next.
            count: Number of locations of a clip of `size`.
            size: Frames or pixels, the least that give so many locations.
        """
        kernel = ends[1] - ends[0] + 1
        # The last location just fits.
        after = stride * (count - 1) + kernel + ends[0] - size
        return cls(((kernel, stride, (-ends[0], after)),))

    @property
    def stride(self) -> int:
        """Frames or pixels from one location to the next."""
        return math.prod(stride for _, stride, _ in self.stages)

    @property
    def receptive_radius(self) -> int | None:
        """Frames or pixels that a location needs beyond those it covers.

        It sees them, or would not be there without them. The larger of the two
        sides, at the size where it is largest; `None` if each location sees
        the whole axis.
        """
        if self.sees_all:
            return None
        before = after = 0
        step = 1
        for kernel, stride, padding in self.stages:
            least, most = _paddings_before(kernel, stride, padding)
            before += step * most
            after += step * (kernel - 1 - least)
            step *= stride
        after = max(after + 1, self.least_size(1))
        return max(before, after - step, 0)

    def then(
        self,
        kernel: int,
        stride: int = 1,
        padding: int | tuple[int, int] | None = 0,
    ) -> "Axis":
        """With one more stage: a layer after those that are there.

        Stages whose padding depends on no size are merged, which is exact.
        """
        stages, stage = self.stages, _simplest((kernel, stride, padding))
        if stages and stages[-1][2] is not None and stage[2] is not None:
            stages, stage = stages[:-1], _merged(stages[-1], stage)
        return dataclasses.replace(self, stages=(*stages, stage))

    def ends(self, size: int) -> tuple[int, int]:
        """First and last place that the first location sees.

        They lie before and after the clip where it is padded.

        Args:
            size: Frames or pixels of the clip.
        """
        first, last, step = 0, 0, 1
        for stage in self.stages:
            kernel, stride, padding = stage
            outputs = _outputs(stage, size)
            if padding is None:
                total = (outputs - 1) * stride + kernel - size
                before = max(total, 0) // 2
            else:
                before, _ = _paddings(kernel, padding)
            first -= step * before
            last += step * (kernel - 1 - before)
            step *= stride
            size = outputs
        return first, last

    def count(self, size: int | None) -> int | None:
        """How many locations there are of so many frames or pixels."""
        if size is None:
            return None
        for stage in self.stages:
            size = _outputs(stage, size)
        return size

    def least_size(self, count: int) -> int:
        """The least frames or pixels that give so many locations."""
        for kernel, stride, padding in reversed(self.stages):
            rest = kernel - sum(padding) if isinstance(padding, tuple) else 1
            count = (count - 1) * stride + rest
        return count

    def centers(self, count: int, size: int | None = None) -> np.ndarray:
        """Where the locations look, as shares of the axis.

        Args:
            count: Number of locations.
            size: Frames or pixels of the clip; `None`, unknown: the most that
                give so many locations, which is less than a stride too much.

        Returns:
            An array `(count,)`: 0 is the first edge of the clip and 1 its
            last, so that the center of pixel p of n is at (p + 0.5) / n.
        """
        if size is None:
            size = self.least_size(count + 1) - 1
        start = sum(self.ends(size)) / 2
        return (start + self.stride * np.arange(count) + 0.5) / size


@dataclasses.dataclass(frozen=True)
class BackboneDescription:
    """What a backbone sees, what a step of its feature maps is, what it needs.

    It is made where the backbone is made (see `Backbone`) and is stored with
    all that is made from it: the `.keras` file, the feature store, the trained
    model, the SavedModel. Whoever reads a video for the backbone reads it as
    this says.

    Attributes:
        name: Name of the network and its weights.
        channels: Channels of its feature maps.
        time: How the steps of a feature map see the frames of a clip.
        height: How its rows see the rows of a frame.
        width: How its columns see the columns of a frame.
        frame_rate: Frames per second that it sees. `None`: those of the file,
            or `num_frames`.
        num_frames: Frames that it sees of a clip, evenly over it. `None`: as
            many as the rate gives.
        size: (height, width) of the frames that it sees, in pixels; or one
            number, the length of their shorter side, where the aspect ratio is
            kept. `None`: as the file has them.
        stream: `"rgb"`, values in [0, 255]; or `"flow"`, the optical flow from
            each of these frames to the next, in [-1, 1]. Defaults to `"rgb"`.
        flow_method: `"dis"` or `"tvl1"`, the method of the flow; `None` for
            RGB.
        bytes_per_pixel: Memory that it needs for each pixel of each frame that
            it is shown at once. Defaults to `200.0`.
        resizing: How frames are brought to `size`.

    Raises:
        ValueError: If a value is wrong.
    """

    name: str
    channels: int
    time: Axis
    height: Axis
    width: Axis
    frame_rate: float | None = None
    num_frames: int | None = None
    size: int | tuple[int, int] | None = None
    stream: str = "rgb"
    flow_method: str | None = None
    # Features do not depend on it: other estimates make no other features.
    bytes_per_pixel: float = dataclasses.field(default=200.0, compare=False)
    resizing: str = RESIZING

    def __post_init__(self) -> None:
        if isinstance(self.size, Sequence):
            object.__setattr__(self, "size", tuple(self.size))
        if self.frame_rate is not None and self.num_frames is not None:
            raise ValueError(
                "At most one of `frame_rate` and `num_frames` can be given. "
                f"Received: frame_rate={self.frame_rate}, "
                f"num_frames={self.num_frames}"
            )
        for field, good, expected in (
            ("name", isinstance(self.name, str) and self.name, "a name"),
            ("channels", _is_integer(self.channels, 1), "a whole number >= 1"),
            *(
                (axis, isinstance(getattr(self, axis), Axis), "an Axis")
                for axis in ("time", "height", "width")
            ),
            (
                "frame_rate",
                self.frame_rate is None or _is_positive(self.frame_rate),
                "positive and finite (frames per second) or None",
            ),
            (
                "num_frames",
                self.num_frames is None or _is_integer(self.num_frames, 1),
                "a whole number >= 1 or None",
            ),
            (
                "size",
                _is_size(self.size),
                "two whole numbers (height, width), one (the shorter side), or "
                "None",
            ),
            ("stream", self.stream in STREAMS, f"one of {STREAMS}"),
            (
                "flow_method",
                self.flow_method
                in (FLOW_METHODS if self.stream == "flow" else (None,)),
                f"one of {FLOW_METHODS} for flow, and None for RGB",
            ),
            ("bytes_per_pixel", _is_positive(self.bytes_per_pixel), "positive"),
            (
                "resizing",
                isinstance(self.resizing, str) and self.resizing,
                "a name",
            ),
        ):
            if not good:
                raise ValueError(
                    f"`{field}` must be {expected}. "
                    f"Received: {field}={getattr(self, field)!r}"
                )

        # One way to write each value, which JSON can hold.
        plain: dict[str, Any] = {
            "channels": int(self.channels),
            "num_frames": self.num_frames and int(self.num_frames),
            "frame_rate": self.frame_rate and float(self.frame_rate),
            "bytes_per_pixel": float(self.bytes_per_pixel),
        }
        if isinstance(self.size, tuple):
            plain["size"] = tuple(map(int, self.size))
        elif self.size is not None:
            plain["size"] = int(self.size)
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def frames_per_step(self) -> int:
        """Frames that one step of a feature map covers."""
        return self.time.stride

    @property
    def receptive_radius(self) -> int | None:
        """Frames that a step sees before or after those that it covers.

        `None`: each step sees the whole clip.
        """
        return self.time.receptive_radius

    @property
    def is_windowed(self) -> bool:
        """Whether a part of a clip gives the steps that the whole has there."""
        return self.num_frames is None and self.receptive_radius is not None

    @property
    def colors(self) -> int:
        """Channels of what it sees: 3 of RGB, 2 of flow."""
        return _COLORS[self.stream]

    @property
    def sampling(self) -> dict[str, Any]:
        """The arguments of `actx_tf.data.ClipFrames` that give what it sees."""
        return {
            "num_frames": self.num_frames,
            "frame_rate": self.frame_rate,
            "size": self.size,
        }

    def map_shape(
        self, frames: int, height: int, width: int
    ) -> tuple[int | None, ...]:
        """(time, height, width) of the feature map of such a clip.

        A zero tells that the clip is too short or too small for the network.
        """
        return (
            self.time.count(frames),
            self.height.count(height),
            self.width.count(width),
        )

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what it sees of frames of this size."""
        return resized(self.size, height, width)

    def frames_in_memory(self, gibibytes: float) -> int | None:
        """How many frames it can see at once in so much memory.

        At least as many as it takes for half of a window to be new; `None`,
        all, if each step sees the whole clip.
        """
        if self.receptive_radius is None:
            return None
        # Where the size is free, take a wide video of 256 rows.
        size = self.size if self.size is not None else 256
        height, width = (size, size * 16 / 9) if isinstance(size, int) else size
        count = int(gibibytes * 2**30 / (self.bytes_per_pixel * height * width))
        return max(count, 4 * (self.receptive_radius + self.frames_per_step))

    def centers(
        self,
        map_shape: Sequence[int],
        clip_shape: Sequence[int | None] = (None, None, None),
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The centers of what the locations of a feature map see.

        Location i of an axis sees the frames or pixels around `start + i *
        stride`, counted from 0. That is not the center of the i-th of equal
        cells: with I3D at even sizes the start is 23 pixels and 5 frames,
        where equal cells of 32 pixels and 8 frames would have 15.5 and 3.5.

        Args:
            map_shape: (time, height, width) of the feature map.
            clip_shape: (frames, height, width) of what the backbone saw. Each
                can be `None`, unknown: see `Axis.centers`.

        Returns:
            Three arrays, `(time,)`, `(height,)` and `(width,)`, as shares of
            the clip: see `Axis.centers`. They hold for the clip at any other
            size or frame rate, too.

        Raises:
            ValueError: If a shape has not three sizes.
        """
        for name, shape in (
            ("map_shape", map_shape),
            ("clip_shape", clip_shape),
        ):
            if len(shape) != 3:
                raise ValueError(
                    f"`{name}` must have three sizes: time, height and width. "
                    f"Received: {name}={tuple(shape)}"
                )
        time, height, width = (
            axis.centers(count, size)
            for axis, count, size in zip(
                (self.time, self.height, self.width),
                map_shape,
                clip_shape,
                strict=True,
            )
        )
        return time, height, width

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold of it: all."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BackboneDescription":
        """Makes it from what `to_dict` returned.

        Raises:
            ValueError: If `values` are anything else.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            received = sorted(values) if isinstance(values, Mapping) else values
            raise ValueError(
                "a description of a backbone must have the fields "
                f"{sorted(names)}. Received: {received!r:.300}"
            )
        axes: dict[str, Any] = {}
        for name in ("time", "height", "width"):
            axis = values[name]
            if (
                not isinstance(axis, Mapping)
                or set(axis) != {"stages", "sees_all"}
                or not isinstance(axis["stages"], (list, tuple))
                or not all(isinstance(s, (list, tuple)) for s in axis["stages"])
                or not isinstance(axis["sees_all"], bool)
            ):
                raise ValueError(
                    f"`{name}` must have `stages` and `sees_all`. "
                    f"Received: {name}={axis!r:.200}"
                )
            axes[name] = Axis(tuple(axis["stages"]), axis["sees_all"])
        return cls(**{**values, **axes})

    @property
    def digest(self) -> str:
        """Eight letters that tell it from those of other features."""
        values = self.to_dict()
        del values["bytes_per_pixel"]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def differences(self, other: "BackboneDescription") -> list[str]:
        """What differs in another one, each as `field=other's (not this)`."""
        return [
            f"{field.name}={getattr(other, field.name)} "
            f"(not {getattr(self, field.name)})"
            for field in dataclasses.fields(self)
            if field.compare
            and getattr(self, field.name) != getattr(other, field.name)
        ]


def location_centers(
    description: BackboneDescription | None,
    map_shape: Sequence[int],
    clip_shape: Sequence[int | None] = (None, None, None),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`BackboneDescription.centers`, or equal cells where nothing is known."""
    if description is None:
        time, height, width = (
            (np.arange(count) + 0.5) / count for count in map_shape
        )
        return time, height, width
    return description.centers(map_shape, clip_shape)


def resized(
    size: int | tuple[int, int] | None, height: int, width: int
) -> tuple[int, int]:
    """(height, width) of a frame once it is resized.

    Args:
        size: (height, width), the length of the shorter side, or `None`: as it
            is.
        height: Rows of the frame.
        width: Columns of the frame.
    """
    if size is None:
        return height, width
    if isinstance(size, (tuple, list)):
        return size[0], size[1]
    shorter = min(height, width)
    # At least as long as the shorter side, whatever rounding does.
    height, width = (
        max(size, round(side * size / shorter)) for side in (height, width)
    )
    return height, width


def _paddings_before(kernel, stride, padding):
    """The least and the most that stands before the first place."""
    if padding is None:  # half of `kernel - stride` to `kernel - 1`
        return max(kernel - stride, 0) // 2, (kernel - 1) // 2
    before, _ = _paddings(kernel, padding)
    return before, before


def _paddings(kernel, padding):
    """What stands before the first place and after the last one."""
    if isinstance(padding, tuple):
        return padding
    return padding, kernel - 1 - padding


def _outputs(stage, size):
    kernel, stride, padding = stage
    if isinstance(padding, tuple):
        return max((size + sum(padding) - kernel) // stride + 1, 0)
    return -(-size // stride)


def _simplest(stage):
    """One way to write what can be written in several."""
    kernel, stride, padding = int(stage[0]), int(stage[1]), stage[2]
    if padding is None:
        least, most = _paddings_before(*stage)
        padding = most if least == most else None
    elif not _is_integer(padding):
        before, after = map(int, padding)
        padding = before if after == kernel - 1 - before else (before, after)
    return kernel, stride, padding


def _merged(first, second):
    """The one stage that does what two do, at any size."""
    kernel, stride, padding = first
    size = kernel + stride * (second[0] - 1)
    pairs = (_paddings(kernel, padding), _paddings(second[0], second[2]))
    paddings = (a + stride * b for a, b in zip(*pairs, strict=True))
    return _simplest((size, stride * second[1], tuple(paddings)))


# Of anything that a description counts: what is more was made by no network,
# and would fill the memory of whoever counts with it.
_MOST = 2**24


def _is_padding(value):
    if isinstance(value, (tuple, list)):
        return len(value) == 2 and all(map(_is_integer, value))
    return _is_integer(value)


def _is_integer(value, least=-math.inf):
    return (
        isinstance(value, (int, np.integer))
        and not isinstance(value, bool)
        and max(least, -_MOST) <= value <= _MOST
    )


def _is_positive(value):
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and 1 / _MOST <= value <= 2**40  # memory in bytes, too
    )


def _is_size(size):
    if isinstance(size, tuple):
        return len(size) == 2 and all(_is_integer(side, 1) for side in size)
    return size is None or _is_integer(size, 1)
