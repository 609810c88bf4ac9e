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
_CLIPS = (
    *((8, 32, 32), (16, 64, 64), (64, 64, 64)),
    *((32, 128, 128), (128, 64, 64), (64, 256, 256)),
)
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

    The stride follows from the numbers of locations, and is exact. They are
    counted in clips that are long enough for the numbers to grow regularly:
    what a network makes of shorter ones can be anything. What a location sees
    follows from the places at whose change it changes. If one sees the axis to
    its end, all are said to see the whole axis.

    What of this is approximate stands in docs/backbones.md, "Traced or probed".
    The stride of an axis of a fixed size is a location's share of it.

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
    is_free = [size is None for size in fixed]
    shape = _first_clip(runner, fixed, seen)
    shape, steps = _long_enough(runner, shape, is_free)
    features = runner.run(runner.clip(shape))
    if not np.isfinite(features).all():
        raise ValueError(
            "`network` must make finite values of a random clip. "
            "Received: NaN or Inf"
        )
    time, height, width = (
        _Prober(runner, axis, shape).find(
            steps[axis], is_free[axis], seen[axis]
        )
        for axis in range(3)
    )
    return Probe(time, height, width, features.shape[-1])


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

    def takes_all(self, axis, shape):
        """Whether it took all that it was shown that was longer."""
        return all(
            map_shape is not None
            for other, map_shape in self._map_shapes.items()
            if other[axis] > shape[axis]
        )


def _first_clip(runner, fixed, seen):
    """The shape of the first clip that the network makes a feature map of."""
    shapes = [
        tuple(f or s for f, s in zip(fixed, clip, strict=True))
        for clip in _CLIPS
    ]
    known = tuple(
        f or s or c for f, s, c in zip(fixed, seen, _CLIPS[-1], strict=True)
    )
    for shape in dict.fromkeys((*shapes, known)):
        try:
            map_shape = runner.run(runner.clip(shape)).shape
        except AdaptationError:
            raise
        except Exception as error:  # whatever the network raises
            mistake = _without_arguments(error)
            continue
        if len(map_shape) != 4:
            raise ValueError(
                "`network` must make a feature map (batch, time, height, "
                "width, channels). Received: an output of the shape "
                f"{(1, *map_shape)}"
            )
        if 0 not in map_shape:
            return shape
        mistake = f"it makes a feature map of the shape {map_shape}"
    raise ValueError(
        "`network` must take a clip, in the order of `layout` and of a size "
        "that is right for it, and make a feature map. Received: of one of "
        f"{shape} frames, rows and columns: {mistake}"
    )


def _long_enough(runner, shape, is_free):
    """A shape from which on the counts of each free axis grow regularly.

    Below it, TensorFlow can raise, or return memory of any values and of any
    number of locations.

    Returns:
        The shape, and of each axis its `_Steps`; `None` if it takes no other
        size, or makes as many locations of any.
    """
    steps = [None] * 3
    for axis in (axis for axis in range(3) if is_free[axis]):
        longer, mistake = shape, None
        while True:
            try:
                steps[axis] = _Prober(runner, axis, longer).steps()
            except _Irregular as irregular:
                mistake = irregular
            else:
                if steps[axis] is not None or runner.takes_all(axis, longer):
                    break
            sizes = list(longer)
            sizes[axis] *= 2
            longer = tuple(sizes)
            if sizes[axis] > _LONGEST or not runner.map_shape(longer):
                if mistake is not None:
                    raise ValueError(str(mistake))
                longer = shape  # it takes this size alone
                break
        if longer != shape:
            # Others were counted in clips that were too short for this one.
            return _long_enough(runner, longer, is_free)
    return shape, steps


def _without_arguments(error):
    """A message without what Keras adds: colors, and the layer's arguments."""
    message = re.sub(r"\x1b\[\d+m", "", str(error))
    message = message.split("\n\nArguments received by")[0]
    return message.split(".call().\n\n")[-1]


class _Irregular(Exception):
    """The counts do not grow by one with each so many frames or pixels."""


@dataclasses.dataclass(frozen=True)
class _Steps:
    """How the number of locations grows.

    Attributes:
        stride: Frames or pixels from one location to the next.
        size: A size of the clip, the least that gives `count` locations.
        count: Number of locations.
    """

    stride: int
    size: int
    count: int

    def at(self, size):
        return self.count + (size - self.size) // self.stride


class _Prober:
    """Finds what the locations of one axis see."""

    def __init__(self, runner, axis, shape):
        self._runner = runner
        self._axis = axis
        self._shape = shape

    def steps(self):
        """How the counts grow from this size on; `None` if they do not.

        Raises:
            _Irregular: If they do not grow by one with each stride.
        """
        size = self._shape[self._axis]
        count = self._count(size)
        first = self._next(size, count)
        second = first and self._next(*first)
        if second is None:
            return self._steps_of_multiples(size, count)
        steps = _Steps(second[0] - first[0], *first)
        tried = {size: count, second[0]: second[1]}
        for number in (2, 4, 8):
            later = first[0] + number * steps.stride
            tried[later - 1] = self._count(later - 1)
            tried[later] = self._count(later)
        for tried_size, found in tried.items():
            if found is not None and found != steps.at(tried_size):
                locations, places, _ = _AXES[self._axis]
                sizes = (size, *first[:1], second[0], tried_size)
                received = ", ".join(
                    f"{self._count(s)} of {s}" for s in dict.fromkeys(sizes)
                )
                raise _Irregular(
                    f"`network` must make one of its {locations} of each so "
                    f"many {places}. Received: {received}"
                )
        return steps

    def find(self, steps, is_free, seen):
        """The axis, from how its counts grow."""
        size = self._shape[self._axis]
        if steps is None:
            count = self._count(size)
            if is_free and self._count(2 * size) == count:
                # It makes so many locations of whatever it is shown.
                size, count = seen, seen and self._count(seen)
            return self._find_at(size, count)
        most = min(_LONGEST, _MOST_PIXELS * size // np.prod(self._shape))
        length = steps.size
        while length <= most:
            if self._count(length):
                axis = self._find_from(length, steps)
                if axis is not None:
                    return axis
            # About twice as long, and still the least of so many locations.
            length += steps.stride * -(-length // steps.stride)
        axis = Axis.of_one_stage(
            (0, steps.stride - 1), steps.stride, steps.count, steps.size
        )
        return dataclasses.replace(axis, sees_all=True)

    def _find_from(self, length, steps):
        """The axis from clips of about a length; `None` if it is too short.

        A padding that depends on the size is largest where one more location
        has just come in, in each of the layers, and least right before.
        """
        sizes = [length, length - 1] if steps.stride > 1 else [length]
        ends = {}
        for size in sizes:
            if self._count(size):
                ends[size] = self._whole_ends(size, steps.stride)
                if ends[size] is None:
                    return None
        if len(set(ends.values())) > 1:
            for more in {1, steps.stride // 2} - {0, steps.stride - 1}:
                between = self._whole_ends(length + more, steps.stride)
                if between is not None:
                    ends[length + more] = between
            for axis in _with_same(length, ends[length], steps):
                if all(axis.ends(size) == ends[size] for size in ends) and all(
                    axis.count(size) == steps.at(size)
                    for size in (length - 1, length)
                ):
                    return axis
        firsts, lasts = zip(*ends.values(), strict=True)
        return Axis.of_one_stage(
            (min(firsts), max(lasts)), steps.stride, steps.count, steps.size
        )

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

    def _next(self, size, count):
        """Returns the least size that gives more locations, and how many."""
        step = 1
        while size + step <= 2 * _LONGEST:
            most = self._count(size + step)
            if most is None:
                return None
            if most > count:
                break
            step *= 2
        else:
            return None
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

    def _steps_of_multiples(self, size, count):
        """Of a network that takes none but whole steps, or several of them."""
        twice, thrice = self._count(2 * size), self._count(3 * size)
        if twice is None or thrice is None:
            return None
        more = twice - count
        if more <= 0 or thrice - twice != more or size % more:
            return None
        steps = _Steps(size // more, size, count)
        for times in (4, 6, 8):
            if self._count(times * size) not in (None, steps.at(times * size)):
                return None
        return steps

    def _whole_ends(self, size, stride):
        """`_ends`, or `None` if they can be cut off by those of the clip."""
        return self._ends(size, stride, whole=True)

    def _ends(self, size, stride, whole=False):
        """First and last place that the first location sees.

        The last one is found from the first location, and the first one from
        the last location: the clip's ends cut them off least. They are whole
        if the next location sees a stride further.

        `None` if it sees the axis to an end.
        """
        shape = self._sized(size)
        clip, other = (
            np.moveaxis(self._runner.clip(shape, seed), self._axis, 0)
            for seed in (0, 1)
        )
        base = self._features(clip)
        noise = 2 * np.abs(self._features(clip) - base).max()
        count = len(base)

        def sees(location, place, backward):
            """Whether a location changes if all from a place on does.

            Backward, both are counted from the other end.
            """
            mixed = clip.copy()
            if backward:
                mixed[: size - place] = other[: size - place]
                location = count - 1 - location
            else:
                mixed[place:] = other[place:]
            change = np.abs(self._features(mixed)[location] - base[location])
            return bool((change > noise).any())

        places = []
        for backward in (False, True):
            least, most = -1, size - 1
            if sees(0, most, backward):
                return None
            while most - least > 1:
                middle = (least + most) // 2
                if sees(0, middle, backward):
                    least = middle
                else:
                    most = middle
            further = least + stride
            if whole and not (
                count > 1 and further < size and sees(1, further, backward)
            ):
                return None
            places.append(least)
        last, first = places
        # Counted from the other end, the first location is the last one.
        first = size - 1 - stride * (count - 1) - first
        return (first, last) if first <= last else None

    def _features(self, clip):
        features = self._runner.run(np.moveaxis(clip, 0, self._axis))
        return np.moveaxis(features, self._axis, 0)


def _with_same(size, ends, steps):
    """Yields axes of two stages, one of them at least "SAME".

    Their first location sees from the first end on at `size`, where one more
    location has just come in, so that each stage is padded most.
    """
    before, kernel = -ends[0], ends[1] - ends[0] + 1
    count = steps.at(size)
    strides = [n for n in range(1, steps.stride + 1) if steps.stride % n == 0]
    for stride in reversed(strides):
        later_stride = steps.stride // stride
        for later in range(1, (kernel - 1) // stride + 2):
            earlier = kernel - stride * (later - 1)
            same = (earlier, stride, None)
            later_same = (later, later_stride, None)
            yield Axis((same, later_same))
            # Fixed after "SAME".
            padding, rest = divmod(before - (earlier - 1) // 2, stride)
            if not rest:
                needed = later_stride * (count - 1) + later
                after = needed - padding - -(-size // stride)
                yield Axis((same, (later, later_stride, (padding, after))))
            # "SAME" after fixed.
            padding = before - stride * ((later - 1) // 2)
            needed = stride * later_stride * (count - 1) + earlier
            after = needed - padding - size
            yield Axis(((earlier, stride, (padding, after)), later_same))
