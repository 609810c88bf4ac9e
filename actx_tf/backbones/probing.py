"""How the locations of a feature map see a clip, from the network's answers."""

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np

from actx_tf.backbones.adapted_network import AdaptationError
from actx_tf.backbones.description import Axis

# Frames, rows and columns of the clips that are tried: the first one that the
# network takes is the shortest that it is shown.
_CLIPS = ((8, 32, 32), (16, 64, 64), (32, 128, 128), (64, 256, 256))
_LONGEST = 512  # frames or pixels of an axis
_MOST_PIXELS = 2**22  # of a clip: attention takes the square of it
_AXES = (
    ("steps", "frames", "`num_frames`"),
    ("rows", "pixels", "`size` as (height, width)"),
    ("columns", "pixels", "`size` as (height, width)"),
)


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a network's answers tell of it.

    Attributes:
        time: How the steps of the feature map see the frames of a clip.
        height: How its rows see the rows of a frame.
        width: How its columns see the columns of a frame.
        channels: Channels of the feature map.
    """

    time: Axis
    height: Axis
    width: Axis
    channels: int


def probe(
    network: Callable,
    *,
    fixed: Sequence[int | None] = (None, None, None),
    seen: Sequence[int | None] = (None, None, None),
    stream: str = "rgb",
) -> Probe:
    """Runs a network on random clips to find what its locations see.

    The stride follows from the numbers of locations at several lengths, and is
    exact. What a location sees follows from which of them change when the clip
    does, from some frame, row or column on. If one sees the axis to its end,
    all are said to see the whole axis.

    Some things are approximate. Of a padding that depends on the size, two
    sizes are tried, and what is seen at either counts. An influence too small
    for the network's numbers is not found. One that reaches beyond the longest
    clip that is tried counts as the whole axis. An axis of a fixed size is
    known at that size alone, and its stride is a location's share of it.

    Args:
        network: From `(1, frames, height, width, colors)` to a feature map
            `(1, time, height, width, channels)`.
        fixed: (frames, height, width) that alone it takes; `None` where it
            takes any.
        seen: (frames, height, width) that it is made for, as far as known.
        stream: `"rgb"` or `"flow"`: what it sees.

    Raises:
        ValueError: If it runs on no clip, or makes no feature map.
    """
    runner = _Runner(network, stream)
    shape, map_shape = _first_clip(runner, fixed, seen)
    time, height, width = (
        _Prober(runner, axis, shape).find(fixed[axis] is None, seen[axis])
        for axis in range(3)
    )
    return Probe(time, height, width, map_shape[-1])


class _Runner:
    """A network, on clips and as arrays of numbers."""

    def __init__(self, network, stream):
        self._network = network
        self._stream = stream
        self._map_shapes = {}

    def clip(self, shape, seed=0):
        rng = np.random.default_rng(seed)
        if self._stream == "flow":
            clip = rng.uniform(-1, 1, (*shape, 2))
        else:
            clip = rng.uniform(0, 255, (*shape, 3))
        return clip.astype("float32")

    def run(self, clip):
        features = self._network(keras.ops.convert_to_tensor(clip[np.newaxis]))
        return keras.ops.convert_to_numpy(features)[0].astype("float32")

    def map_shape(self, shape):
        """The shape of the feature map, or `None` if it takes no such clip."""
        if shape not in self._map_shapes:
            try:
                map_shape = self.run(self.clip(shape)).shape
            except Exception:  # whatever the network raises
                map_shape = None
            self._map_shapes[shape] = map_shape
        return self._map_shapes[shape]


def _first_clip(runner, fixed, seen):
    """Returns the shapes of a clip that the network takes, and of its map."""
    shapes = [
        tuple(f or s for f, s in zip(fixed, clip, strict=True))
        for clip in _CLIPS
    ]
    known = tuple(
        f or s or c for f, s, c in zip(fixed, seen, _CLIPS[-1], strict=True)
    )
    for shape in dict.fromkeys((*shapes, known)):
        try:
            features = runner.run(runner.clip(shape))
        except AdaptationError:
            raise
        except Exception as error:  # whatever the network raises
            mistake = _without_arguments(error)
            continue
        if features.ndim != 4:
            raise ValueError(
                "`network` must make a feature map (batch, time, height, "
                "width, channels). Received: an output of the shape "
                f"{(1, *features.shape)}"
            )
        if not np.isfinite(features).all():
            raise ValueError(
                "`network` must make finite values of a random clip. "
                "Received: NaN or Inf"
            )
        if 0 not in features.shape:
            return shape, features.shape
        mistake = f"it makes a feature map of the shape {features.shape}"
    raise ValueError(
        "`network` must take a clip, in the order of `layout` and of a size "
        "that is right for it, and make a feature map. Received: of one of "
        f"{shape} frames, rows and columns: {mistake}"
    )


def _without_arguments(error):
    """A message without what Keras adds: colors, and the layer's arguments."""
    message = re.sub(r"\x1b\[\d+m", "", str(error))
    message = message.split("\n\nArguments received by")[0]
    return message.split(".call().\n\n")[-1]


class _Prober:
    """Finds what the locations of one axis see."""

    def __init__(self, runner, axis, shape):
        self._runner = runner
        self._axis = axis
        self._shape = shape

    def find(self, is_free, seen):
        size = self._shape[self._axis]
        count = self._count(size)
        steps = self._find_stride(size, count) if is_free else None
        if steps is None:
            if is_free and self._count(2 * size) == count:
                # It makes so many locations of whatever it is shown.
                size, count = seen, seen and self._count(seen)
            return self._find_at(size, count)
        stride, least, count = steps
        sizes = range(stride, _LONGEST, stride)
        length = next((n for n in sizes if n >= max(size, 2 * stride)), size)
        most = min(_LONGEST, _MOST_PIXELS * size // np.prod(self._shape))
        while length <= most:
            ends = self._ends(length, stride) if self._count(length) else None
            others = ends
            if ends and stride > 1 and self._count(length + 1):
                others = self._ends(length + 1, stride)
            if ends and others:
                return self._covering(length, ends, others, steps)
            length *= 2
        axis = Axis.of_one_stage((0, stride - 1), stride, count, least)
        return dataclasses.replace(axis, sees_all=True)

    def _find_at(self, size, count):
        """Of the one size that is shown to it."""
        locations, places, argument = _AXES[self._axis]
        if not count:
            raise ValueError(
                f"`network` makes as many {locations} of any number of "
                f"{places}: {argument} must say how many it is shown. "
                "Received: None"
            )
        stride = -(-size // count)
        if -(-size // stride) != count:
            raise ValueError(
                f"the {locations} of `network`'s feature map must each stand "
                f"for as many {places}. "
                f"Received: {count} {locations} of {size} {places}"
            )
        ends = self._ends(size, stride)
        axis = Axis.of_one_stage(ends or (0, stride - 1), stride, count, size)
        return dataclasses.replace(axis, sees_all=ends is None)

    def _count(self, size):
        map_shape = self._runner.map_shape(self._sized(size))
        return map_shape and map_shape[self._axis]

    def _sized(self, size):
        shape = list(self._shape)
        shape[self._axis] = size
        return tuple(shape)

    def _find_stride(self, size, count):
        """Returns (stride, a size, the count that it is the least size of)."""
        first = self._next(size, count)
        second = first and self._next(*first)
        if second is None:
            return self._find_stride_of_multiples(size, count)
        stride = second[0] - first[0]
        later = self._count(first[0] + 4 * stride)
        if second[1] != first[1] + 1 or later not in (None, first[1] + 4):
            locations, places, _ = _AXES[self._axis]
            raise ValueError(
                f"`network` must make one of its {locations} of each so many "
                f"{places}. Received: {first[1]}, {second[1]} and {later} "
                f"{locations} of {first[0]}, {second[0]} and "
                f"{first[0] + 4 * stride} {places}"
            )
        return (stride, *first)

    def _next(self, size, count):
        """Returns the least size that gives more locations, and how many."""
        step = 1
        while True:
            most = self._count(size + step)
            if most is None or size + step > 2 * _LONGEST:
                return None
            if most > count:
                break
            step *= 2
        low, high = size + step // 2, size + step
        while high - low > 1:
            middle = (low + high) // 2
            found = self._count(middle)
            if found is None:
                return None
            if found > count:
                high, most = middle, found
            else:
                low = middle
        return high, most

    def _find_stride_of_multiples(self, size, count):
        """Of a network that takes none but whole steps, or several of them."""
        twice, thrice = self._count(2 * size), self._count(3 * size)
        if twice is None or thrice is None:
            return None
        more = twice - count
        if more <= 0 or thrice - twice != more or size % more:
            return None
        return size // more, size, count

    def _covering(self, size, ends, others, steps):
        """The axis of what is seen at a size of whole strides and the next."""
        stride, least, count = steps
        same = Axis(((ends[1] - ends[0] + 1, stride, None),))
        if (
            ends != others
            and same.ends(size) == ends
            and same.ends(size + 1) == others
            and same.count(least) == count > same.count(least - 1)
        ):
            return same
        ends = (min(ends[0], others[0]), max(ends[1], others[1]))
        return Axis.of_one_stage(ends, stride, count, least)

    def _ends(self, size, stride):
        """First and last place that the first location sees.

        `None` if it sees the axis to an end.
        """
        shape = self._sized(size)
        clip, other = (
            np.moveaxis(self._runner.clip(shape, seed), self._axis, 0)
            for seed in (0, 1)
        )
        base = self._features(clip)
        noise = 2 * np.abs(self._features(clip) - base).max()

        def changes(place, backward):
            """Which locations change if all from a place on does."""
            mixed = clip.copy()
            if backward:
                mixed[: size - place] = other[: size - place]
            else:
                mixed[place:] = other[place:]
            change = np.abs(self._features(mixed) - base) > noise
            change = change.reshape(len(base), -1).any(axis=1)
            return change[::-1] if backward else change

        last = _last_seen(changes, size, len(base), stride, False)
        first = _last_seen(changes, size, len(base), stride, True)
        if first is None or last is None:
            return None
        # Counted from the other end, the first location is the last one.
        return size - 1 - stride * (len(base) - 1) - first, last

    def _features(self, clip):
        features = self._runner.run(np.moveaxis(clip, 0, self._axis))
        return np.moveaxis(features, self._axis, 0)


def _last_seen(changes, size, count, stride, backward):
    """The last place that the first location sees, or `None` if that is all.

    Of `changes`, each call tells whether it is at least some place: location i
    sees as far as the first one, and i strides more.
    """
    place = size - 1
    least, most = 0, size
    while most - least > 1:
        change = changes(place, backward)
        if change[0] and place == size - 1:
            return None
        first = int(np.argmax(change)) if change.any() else count
        if first < count:
            least = max(least, place - stride * first)
        if first > 0:
            most = min(most, place - stride * (first - 1))
        middle = (least + most) // 2
        location = min(count - 1, max(0, (size - 1 - middle) // stride))
        place = stride * location + middle
    return least
