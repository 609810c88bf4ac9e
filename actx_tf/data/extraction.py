"""Runs a backbone over videos and stores the feature maps."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.clip_index import Clip
from actx_tf.data.compute_dtype import for_inference
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.feature_store_writer import FeatureStoreWriter
from actx_tf.data.read_ahead import read_ahead
from actx_tf.data.video import VideoError
from actx_tf.data.windows import check_window
from actx_tf.data.windows import steps_in_windows
from actx_tf.utils.backend import check_tensorflow
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.checks import check_positive
from actx_tf.utils.optional import import_optional

# Of I3D as measured: frames, and what rescales them, stay float32.
_SHARE_IN_BFLOAT16 = 2 / 3


def extract_features(
    clips: Sequence[Clip],
    backbone: Backbone,
    store_path: str | os.PathLike,
    *,
    memory: float = 4.0,
    window: int | None = None,
    dtype: str = "float16",
    compute_dtype: str = "float32",
    progress: bool = True,
) -> list[tuple[Clip, str]]:
    """Stores the feature map of each clip.

    The clips are read as the backbone's description says; it is stored along
    with the features, and features of another backbone or sampling are not
    added to them.

    Clips that the store holds already are left as they are, so an
    interrupted run can be taken up again; finished clips are safe at any
    moment (see `FeatureStoreWriter`). Those whose video, or part of it, is
    another one by now are failures: the store still has the old features. A
    video that cannot be read, or whose
    features are not finite, does not stop the run.

    Clips of any length are run in bounded memory: longer ones in windows that
    overlap, with the values of the whole clip (see `steps_in_windows`). A
    backbone whose steps see the whole clip is always shown all of it.

    Args:
        clips: The clips. `scene` is taken from their other columns.
        backbone: The backbone, with its description.
        store_path: Path of the store, a folder.
        memory: GiB that a window may take; see
            `BackboneDescription.frames_in_memory`. Defaults to `4`.
        window: Largest number of frames to show the backbone at once. Defaults
            to what fits in `memory`.
        dtype: `"float16"` or `"float32"`: how the features are stored.
            Defaults to `"float16"`.
        compute_dtype: `"float32"`, or `"bfloat16"`, which takes about half of
            the time on a processor that has it; see `FeatureExtractor`. It is
            stored, too: a store takes features of one arithmetic. Defaults to
            `"float32"`.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        A list of `(clip, message)`, one for each clip that failed.

    Raises:
        ValueError: If an argument is wrong, or the store holds other features.
    """
    extractor = FeatureExtractor(
        backbone, memory=memory, window=window, compute_dtype=compute_dtype
    )
    with FeatureStoreWriter(
        store_path, backbone.description, dtype, compute_dtype
    ) as writer:
        failed = changed_clips(clips, store_path)
        missing = [clip for clip in clips if clip.clip not in writer]
        bar = progress_bar(len(clips), len(clips) - len(missing), progress)
        with bar:
            for clip, message in store_clips(missing, extractor, writer):
                if message:
                    failed.append((clip, message))
                bar.update()
    return failed


class WindowedNetwork:
    """A network as a function of clips of any length, in bounded memory.

    `network(frames, count)` takes the frames that the network sees, one by
    one, and a function that returns their number, which is called only if they
    do not fit into one window. It returns the feature map, float32 `(time,
    height, width, channels)`, and the number of frames.

    Args:
        network: Frames of a clip, `(frames, height, width, channels)` ->
            feature map, float32 `(time, height, width, channels)`.
        description: What it sees.
        memory: As in `extract_features`. Defaults to `4`.
        window: As in `extract_features`. Defaults to what fits in `memory`.
        share: What a frame takes of the memory that the description says.
            Defaults to `1.0`.

    Attributes:
        description: What it sees.
        window: Largest number of frames that it is shown at once; `None` if it
            is always shown the whole clip.

    Raises:
        ValueError: If an argument is wrong.
    """

    def __init__(
        self,
        network: Callable[[np.ndarray], np.ndarray],
        description: BackboneDescription,
        *,
        memory: float = 4.0,
        window: int | None = None,
        share: float = 1.0,
    ) -> None:
        check_above_zero("memory", memory, "GiB")
        if window is not None:
            check_positive("window", window)
        if window is None:
            window = description.frames_in_memory(memory / share)
        self.description = description
        self.window = window
        self._network = network
        self._steps = (
            description.frames_per_step,
            description.receptive_radius,
        )
        check_window(window, *self._steps)

    def __call__(
        self, frames: Iterable[np.ndarray], count: Callable[[], int]
    ) -> tuple[np.ndarray, int]:
        maps, counts = zip(*self.steps(frames, count), strict=True)
        return np.concatenate(maps), counts[-1]

    def steps(
        self, frames: Iterable[np.ndarray], count: Callable[[], int]
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Yields the feature map part by part: see `steps_in_windows`.

        The next frames are read while the network is run.
        """
        return steps_in_windows(
            self._run, read_ahead(frames), count, self.window, *self._steps
        )

    def _run(self, frames):
        expected = self.description.map_shape(*frames.shape[:3])
        # What is too short for a layer is not an error in TensorFlow.
        if not all(expected):
            count, height, width = frames.shape[:3]
            raise VideoError(
                f"{count} frames of {width} by {height} pixels are too few for "
                f"{self.description.name}, which makes no feature map of them"
            )
        features = self._network(frames)
        if tuple(features.shape[:3]) != expected:
            raise ValueError(
                "`backbone` must make the feature maps that its description "
                f"says, {expected} of a clip of {frames.shape[:3]}. "
                f"Received: {tuple(features.shape[:3])} of "
                f"{self.description.name}"
            )
        return features


class FeatureExtractor(WindowedNetwork):
    """A backbone as a function of clips of any length: see `WindowedNetwork`.

    What runs is the backbone as it is now, its batch normalization folded into
    the layers before it: see `backbones.fold_batch_norms`.

    Args:
        backbone: The backbone.
        memory: As in `extract_features`. Defaults to `4`.
        window: As in `extract_features`. Defaults to what fits in `memory`.
        compute_dtype: `"float32"`, or `"bfloat16"`: the products of Keras' own
            layers then have 8 significant bits, and take half of the time and
            two thirds of the memory. The features still are float32. Defaults
            to `"float32"`.

    Raises:
        TypeError: If the backbone has no description.
        ValueError: If an argument is wrong, or the description does not fit the
            network.

    Example:

    ```python
    extractor = FeatureExtractor(backbone)
    frames = seen_frames(backbone.description, "video.mp4")
    features, num_frames = extractor(frames, frames.count)
    ```
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        memory: float = 4.0,
        window: int | None = None,
        compute_dtype: str = "float32",
    ) -> None:
        check_tensorflow("Extracting features")
        description = getattr(backbone, "description", None)
        if not isinstance(description, BackboneDescription):
            raise TypeError(
                "`backbone` must be a Backbone, which tells what it sees: of "
                "actx_tf.backbones with include_top=False, or what "
                "make_backbone returns. "
                f"Received: backbone={backbone!r:.80}"
            )
        folded = for_inference(backbone, compute_dtype)
        # Without a signature each new number of frames would be traced again.
        network = tf.function(
            lambda frames: tf.cast(folded(frames, training=False), tf.float32),
            input_signature=(
                tf.TensorSpec((1, *backbone.input_shape[1:]), tf.float32),
            ),
        )

        def run(frames):
            return network(frames[np.newaxis].astype("float32"))[0].numpy()

        super().__init__(
            run,
            description,
            memory=memory,
            window=window,
            share=_SHARE_IN_BFLOAT16 if compute_dtype == "bfloat16" else 1.0,
        )
        # A backbone that does not fit fails now.
        made = network.get_concrete_function().structured_outputs.shape
        channels = description.channels
        if made.rank != 5 or made[-1] not in (None, channels):
            raise ValueError(
                "`backbone` must make feature maps (batch, time, height, "
                f"width, {channels}), as its description says. "
                f"Received: {made} of backbone={backbone.name!r}"
            )


def store_clips(
    clips: Iterable[Clip],
    extractor: FeatureExtractor,
    writer: FeatureStoreWriter,
) -> Iterator[tuple[Clip, str | None]]:
    """Adds clips to a store; yields each and what is wrong with it, if any.

    Clips that the store has already are passed over. While a clip is run, the
    first frames of the next ones are read.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as reader:

        def read(clip):
            if clip.clip not in writer:
                return reader.submit(_read, clip, extractor)

        for clip, video in _read_ahead(read, clips):
            yield clip, video and _store(clip, video, extractor, writer)


def changed_clips(
    clips: Iterable[Clip], store_path: str | os.PathLike
) -> list[tuple[Clip, str]]:
    """Returns the clips that are not what a store has the features of.

    Returns:
        A list of `(clip, message)`. Clips of which it is not known, or whose
        file is missing, are not in it.
    """
    try:
        store = FeatureStore(store_path)
    except FileNotFoundError:
        return []
    with store:
        return [
            (
                clip,
                "its features are stored, of another file or part of it "
                f"({store.made_from(clip.clip)}; now {_made_from(clip)}): "
                "write to another store, or give the clip another name",
            )
            for clip in clips
            if clip.clip in store
            and os.path.isfile(clip.file)
            and store.made_from(clip.clip) not in ("", _made_from(clip))
        ]


def _made_from(clip):
    """Words that change with the file and the part of it that a clip is."""
    words = [f"{os.path.getsize(clip.file)} bytes"]
    if clip.start or clip.end is not None:
        words.append(f"{clip.start} to {clip.end} seconds")
    if clip.box is not None:
        words.append(f"box {' '.join(map(str, clip.box))}")
    return ", ".join(words)


def _read(clip, extractor):
    """Returns the clip's frames, of which the first are read already."""
    video = seen_frames(extractor.description, clip.file, **clip.part)
    frames = iter(video)
    window = extractor.window
    head = list(itertools.islice(frames, window and window + 1))
    return video, itertools.chain(head, frames)


def _store(clip, video, extractor, writer):
    """Returns what is wrong with the clip, if anything is."""
    try:
        video, frames = video.result()
        features, count = extractor(frames, video.count)
        made_from = _made_from(clip)
    except (OSError, VideoError) as error:
        return str(error)
    try:
        writer.add(
            clip.clip,
            features,
            clip.label,
            clip.split,
            frame_rate=video.frame_rate,
            frames=count,
            scene=clip.extra.get("scene", ""),
            made_from=made_from,
        )
    except ValueError as error:
        return str(error)


def _read_ahead(read, clips, ahead=2):
    """Yields (clip, what `read` returned) while the next ones are read."""
    pending = collections.deque()
    for clip in clips:
        pending.append((clip, read(clip)))
        if len(pending) > ahead:
            yield pending.popleft()
    yield from pending


def progress_bar(
    total: int | None,
    done: int,
    visible: bool,
    unit: str = "clip",
    leave: bool = True,
) -> Any:
    """Returns a bar of clips, with their rate and the time that is left.

    Args:
        total: Number of clips; `None` if it is not known yet.
        done: How many of them are done.
        visible: Whether to show it.
        unit: What is counted. Defaults to `"clip"`.
        leave: Whether it stays when all is done. Defaults to `True`.
    """
    tqdm = import_optional("tqdm", "Extracting features")
    return tqdm.tqdm(
        total=total,
        initial=done,
        unit=unit,
        disable=not visible,
        leave=leave,
    )
