"""A backbone over clips of any length, in graphs and in bounded memory."""

import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.resizing import resized_in_graph
from actx_tf.data.windows import lay_windows
from actx_tf.data.windows import least_window
from actx_tf.export.frame_source import FrameSource
from actx_tf.export.window_plan import count_locations

# A model that answers a feature map makes others of its size.
COPIES = 4


class WindowedBackbone:
    """A backbone as a function of clips, to be traced in graphs.

    It is run in windows, as by `steps_in_windows`, whose values are those of
    the whole clip. What a clip or its feature map takes beyond `memory` is
    refused where there are no windows, or none so short.

    Args:
        backbone: The backbone.
        memory: GiB that a window may take, and that the feature maps of a
            request may take. A window is longer if less than half of it would
            be new, at the size of the backbone: see `frames_in_memory`.
    """

    def __init__(self, backbone: Backbone, memory: float) -> None:
        self.description = backbone.description
        # Traced once for all signatures, not once for each of them.
        self._features = tf.function(
            lambda clips: backbone(clips, training=False), autograph=False
        )
        self._pixels = _pixels_in_memory(self.description, memory)
        self._map_bytes = min(int(memory * 2**30), tf.int64.max)
        self._memory = f"the {memory:g} GiB of `memory` of the export"

    def __call__(
        self, clip: FrameSource, steps: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the feature map, float32 `(time, height, width, channels)`.

        Args:
            clip: The clip.
            steps: Number of steps of all feature maps that are held along with
                it, int64; those of the clip, if it is not given.
        """
        description = self.description
        sides = resized_in_graph(clip.sides, description.size)
        window = self._window(sides)
        shape = self._map_shape(clip.count, sides)
        checks = self._checks(clip.count, window, sides, shape, steps)
        with tf.control_dependencies(checks):
            total = tf.identity(clip.count)
        features = self._run(clip, total, window)
        fits = tf.debugging.assert_equal(
            tf.shape(features)[:3],
            shape,
            "the backbone must make the feature maps that its description says",
        )
        with tf.control_dependencies([fits]):
            return tf.identity(features)

    def steps_in_memory(self, sides: tf.Tensor) -> tf.Tensor:
        """Returns how many steps the feature maps of a request can have.

        Args:
            sides: (height, width) of the frames that were sent, int32 `(2,)`.

        Returns:
            int64.
        """
        sides = resized_in_graph(sides, self.description.size)
        return self._steps(self._map_shape(tf.constant(1), sides))

    def _steps(self, map_shape):
        values = tf.reduce_prod(tf.cast(map_shape[1:], tf.int64))
        size = COPIES * 4 * self.description.channels * values
        return self._map_bytes // tf.maximum(size, 1)

    def _map_shape(self, count, sides):
        description = self.description
        axes = (description.time, description.height, description.width)
        sizes = (count, *tf.unstack(sides))
        return tf.stack(list(map(count_locations, axes, sizes)))

    def _window(self, sides):
        """The most frames of this size that fit in memory."""
        pixels = tf.reduce_prod(tf.cast(sides, tf.int64))
        count = self._pixels // tf.maximum(pixels, 1)
        return tf.cast(tf.minimum(count, tf.int32.max), tf.int32)

    def _checks(self, count, window, sides, map_shape, steps):
        if steps is None:
            steps = tf.cast(map_shape[0], tf.int64)
        checks = [
            # What is too small for a layer is not an error in TensorFlow.
            tf.debugging.assert_positive(
                map_shape, "`frames` must be large enough for a feature map"
            ),
            tf.debugging.assert_less_equal(
                steps,
                self._steps(map_shape),
                "`frames` must be fewer or smaller: feature maps of x steps do "
                f"not fit in {self._memory}, those of y do",
            ),
        ]
        radius = self.description.receptive_radius
        if radius is None:
            too_long = tf.debugging.assert_less_equal(
                count,
                window,
                f"`frames` must be fewer or smaller: {self.description.name} "
                "sees a clip as a whole, and x frames do not fit in "
                f"{self._memory}, y do",
            )
            return [*checks, too_long]
        least = least_window(self.description.frames_per_step, radius)
        too_large = tf.debugging.assert_greater_equal(
            tf.where(count <= window, least, window),
            least,
            "`frames` must be smaller: a window takes y of them, and x fit in "
            f"{self._memory}",
        )
        return [*checks, too_large]

    def _run(self, clip, total, window):
        description = self.description
        stride = description.frames_per_step
        # Without a radius, a clip that was not refused is one window.
        length, hop, overlap = lay_windows(
            total, window, stride, description.receptive_radius or 0
        )
        is_one = total <= window
        length = tf.where(is_one, total, length)
        hop = tf.where(is_one, tf.maximum(hop, 1), hop)
        count = 1 - (length - total) // (hop * stride)
        parts = tf.TensorArray(
            tf.float32,
            count,
            infer_shape=False,
            element_shape=(None, None, None, description.channels),
        )

        def add_window(number, parts):
            begin = number * hop * stride
            stop = tf.minimum(begin + length, total)
            frames = clip.read(begin, stop, description.size)
            features = self._features(frames[tf.newaxis])[0]
            last = tf.where(
                number < count - 1, hop + overlap, tf.shape(features)[0]
            )
            kept = features[tf.where(number > 0, overlap, 0) : last]
            return number + 1, parts.write(number, tf.cast(kept, tf.float32))

        _, parts = tf.while_loop(
            lambda number, _: number < count,
            add_window,
            (tf.constant(0), parts),
            parallel_iterations=1,  # takes the memory of one window
        )
        return parts.concat()


def _pixels_in_memory(description, memory):
    pixels = int(memory * 2**30 / description.bytes_per_pixel)
    pixels = min(pixels, tf.int64.max)
    size = description.size
    if size is None:
        return pixels
    height, width = size if isinstance(size, tuple) else (size, size * 16 / 9)
    # A clip of a backbone that has no windows is as long as it must be.
    least = description.frames_in_memory(memory) or description.num_frames or 0
    return max(pixels, int(least * height * width))
