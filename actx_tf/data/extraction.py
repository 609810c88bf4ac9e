"""Runs a backbone over videos and stores the feature maps."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from actx_tf.data.clip_index import Clip
from actx_tf.data.feature_store import FeatureStoreWriter
from actx_tf.data.flow import optical_flow
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import VideoError
from actx_tf.data.windows import run_in_windows

_CHANNELS = {"rgb": 3, "flow": 2}


def extract_features(
    clips: Sequence[Clip],
    backbone: keras.Model,
    store_path: str | os.PathLike,
    *,
    frame_rate: float | None = None,
    num_frames: int | None = None,
    size: int | tuple[int, int],
    frames_per_step: int,
    window: int | None = None,
    reach: int | None = None,
    stream: str = "rgb",
    flow_method: str = "dis",
    dtype: str = "float16",
    progress: bool = True,
) -> list[tuple[Clip, str]]:
    """Stores the feature map of each clip.

    Clips that the store holds already are left as they are, so an
    interrupted run can be taken up again; finished clips are safe at any
    moment (see `FeatureStoreWriter`). A video that cannot be read, or whose
    features are not finite, does not stop the run.

    With a `window`, clips of any length are run in bounded memory: a longer
    one in windows that overlap, with the values of the whole clip (see
    `run_in_windows`). Without, its length is bounded by the memory.

    Args:
        clips: The clips. `scene` is taken from their other columns.
        backbone: A model from `(1, frames, height, width, 3)`, RGB values in
            [0, 255], float32, to `(1, time, height, width, channels)`; for
            the flow stream from `(1, frames, height, width, 2)`, see
            `optical_flow`. Its name identifies the features in the store,
            for the flow stream along with `flow_method`.
        store_path: Path of the store.
        frame_rate: Frames per second to show the backbone. At most one of
            `frame_rate` and `num_frames` can be given; without both, it sees
            every frame.
        num_frames: Number of frames to show it, evenly over the clip.
        size: (height, width) of the frames that it sees, in pixels; or the
            length of their shorter side, where the aspect ratio is kept.
        frames_per_step: Number of frames in one step of its feature map. A
            step so covers `frames_per_step / frame_rate` seconds; the store
            holds both.
        window: Largest number of frames to show it at once. Defaults to no
            limit.
        reach: Number of frames that a step of its feature map sees before or
            after those that it covers; needed for windows. 47 for
            `InceptionI3D`, 1 for `MobileNetV2Clip`.
        stream: `"rgb"`, or `"flow"` for the optical flow between the frames
            that the backbone would see of RGB: in pixels at their `size`, and
            from one sampled frame to the next. Defaults to `"rgb"`.
        flow_method: `"dis"` or `"tvl1"`, the method of `optical_flow`; unused
            for RGB. Defaults to `"dis"`.
        dtype: `"float16"` or `"float32"`: how the features are stored.
            Defaults to `"float16"`.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        A list of `(clip, message)`, one for each clip that failed.
    """
    if (window is None) != (reach is None):
        raise ValueError(
            "`window` and `reach` must be given together. "
            f"Received: window={window}, reach={reach}"
        )
    if stream not in _CHANNELS:
        raise ValueError(
            f"`stream` must be one of {tuple(_CHANNELS)}. "
            f"Received: stream={stream!r}"
        )
    if stream == "flow":
        # Flow that cannot be computed fails now.
        optical_flow(np.zeros((1, 12, 12, 3), "uint8"), flow_method)
    # Without a signature each new number of frames would be traced again.
    sides = size if isinstance(size, (tuple, list)) else (None, None)
    shape = (1, None, *sides, _CHANNELS[stream])
    network = tf.function(
        lambda frames: backbone(frames, training=False),
        input_signature=(tf.TensorSpec(shape, tf.float32),),
    )

    network.get_concrete_function()  # a backbone that does not fit fails now

    def run(frames):
        return network(frames[np.newaxis].astype("float32"))[0].numpy()

    def read(clip):
        """Returns the clip's frames, of which the first are read already."""
        video = ClipFrames(
            clip.file,
            num_frames,
            frame_rate,
            size,
            start=clip.start,
            end=clip.end,
            box=clip.box,
        )
        frames = iter(video)
        head = list(itertools.islice(frames, window and window + 1))
        frames = itertools.chain(head, frames)
        if stream == "flow":
            frames = _flow(frames, flow_method)
        return video, frames

    def store(clip, video):
        """Returns what is wrong with the clip, if anything is."""
        try:
            video, frames = video.result()
            features, count = run_in_windows(
                run,
                frames,
                video.count,
                window,
                frames_per_step,
                reach or 0,
            )
        except VideoError as error:
            return str(error)
        try:
            writer.add(
                clip.clip,
                features,
                clip.label,
                clip.split,
                frame_rate=video.frame_rate,
                stride=frames_per_step,
                frames=count,
                scene=clip.extra.get("scene", ""),
            )
        except ValueError as error:
            return str(error)

    failed = []
    name = features_name(backbone, stream, flow_method)
    with FeatureStoreWriter(store_path, name, dtype) as writer:
        missing = [clip for clip in clips if clip.clip not in writer]
        bar = progress_bar(len(clips), len(clips) - len(missing), progress)
        with bar, concurrent.futures.ThreadPoolExecutor(1) as reader:
            for clip, video in _read_ahead(reader, read, missing):
                if message := store(clip, video):
                    failed.append((clip, message))
                bar.update()
    return failed


def _flow(frames, method):
    """Yields the flow from each frame to the next; the last one's twice."""
    flow = None
    frame = next(frames)
    for successor in frames:
        flow = optical_flow(np.stack((frame, successor)), method)[0]
        yield flow
        frame = successor
    yield optical_flow(frame[np.newaxis], method)[0] if flow is None else flow


def _read_ahead(reader, read, clips, ahead=2):
    """Yields (clip, future of its video) while the next ones are read."""
    pending = collections.deque()
    for clip in clips:
        pending.append((clip, reader.submit(read, clip)))
        if len(pending) > ahead:
            yield pending.popleft()
    yield from pending


def features_name(backbone: keras.Model, stream: str, flow_method: str) -> str:
    """Returns what the store calls the features: the network's name."""
    if stream == "flow":
        return f"{backbone.name}_{flow_method}"
    return backbone.name


def progress_bar(total: int, done: int, visible: bool):
    """Returns a bar of clips, with their rate and the time that is left."""
    # Imported late: the rest of the package works without it.
    try:
        import tqdm
    except ImportError as error:
        raise ImportError(
            "Extracting features takes tqdm: pip install actx_tf[video]"
        ) from error
    return tqdm.tqdm(
        total=total, initial=done, unit="clip", disable=not visible
    )
