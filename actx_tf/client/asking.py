"""From a video file and a server to scores and maps."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from actx_tf.client.requests import ServingError
from actx_tf.client.requests import ask_in_parts
from actx_tf.client.requests import predict_by_grpc
from actx_tf.client.requests import predict_by_rest
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.shown_frames import read_frames_of_clip
from actx_tf.data.video import VideoError
from actx_tf.data.video import video_duration
from actx_tf.export.metadata import parse_metadata
from actx_tf.prediction import Timeline
from actx_tf.prediction import VideoPrediction
from actx_tf.prediction.timeline import check_windows
from actx_tf.prediction.timeline import timeline_of_clips
from actx_tf.prediction.timeline import timeline_of_steps
from actx_tf.prediction.timeline import window_steps
from actx_tf.prediction.windows import WindowMeans
from actx_tf.utils.optional import import_optional

_MOST_BYTES = 2**31 - 2**20  # what a message of gRPC can hold


def ask(
    video: str | os.PathLike,
    server: str,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    quality: int | None = None,
    timeout: float = 60.0,
) -> VideoPrediction:
    """Asks a server what a video file shows.

    The server is asked first how the model sees a video (the signature
    `describe`); the video is read so, and its frames are sent in the size that
    the model sees.

    Args:
        video: Path of the video file.
        server: Address of the server. One that begins with `http://` or
            `https://` is asked by REST, any other by gRPC.
        model: Name of the model.
        version: Its version. Defaults to `None`: the latest.
        label: Or a label of a version, such as `"stable"`. Defaults to `None`.
        start: Where in the file the clip begins, in seconds. Defaults to `0.0`.
        end: Where it ends, in seconds. Defaults to `None`: the end of the
            file.
        quality: Quality of JPEGs, in [1, 100]. A frame of quality 95 takes a
            third of the bytes of a PNG, and scores can move by 0.1. Defaults
            to `None`: PNGs, which lose nothing.
        timeout: Seconds to wait for an answer. Defaults to `60.0`.

    Returns:
        A `VideoPrediction`, as `predict_video` returns it. The maps and their
        centers are `None` if the model has no maps.

    Raises:
        ServingError: If the server does not answer, the model does not
            describe itself, or it takes no frames.
        VideoError: If the video cannot be read, or is too long for a request.
        ValueError: If an argument is wrong.
        ImportError: If a package that is needed is not installed.
    """
    asked = _Asked(server, model, version, label, timeout)
    return _ask_clip(asked, video, start, end, quality)


def ask_timeline(
    video: str | os.PathLike,
    server: str,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    window: float | None = None,
    overlap: float = 0.5,
    start: float = 0.0,
    end: float | None = None,
    quality: int | None = None,
    timeout: float = 60.0,
) -> Timeline:
    """Asks a server what happens when in a video file of any length.

    The answer is that of `VideoPredictor.timeline`. The video is sent part by
    part (see `ask_in_parts`), so that neither side ever holds more of it than
    a few windows. The steps of some backbones depend on the whole clip: then
    each window is a request.

    Args:
        video: As in `ask`.
        server: As in `ask`.
        model: As in `ask`.
        version: As in `ask`. Defaults to `None`.
        label: As in `ask`. Defaults to `None`.
        window: As in `VideoPredictor.timeline`. Defaults to `None`.
        overlap: As in `VideoPredictor.timeline`. Defaults to `0.5`.
        start: As in `ask`. Defaults to `0.0`.
        end: As in `ask`. Defaults to `None`: the end of the file.
        quality: As in `ask`. Defaults to `None`: PNGs, which lose nothing.
        timeout: Seconds to wait for the answer to a part. Defaults to `60.0`.

    Returns:
        A `Timeline`; `timeline.segments()` finds what happens.

    Raises:
        ServingError: If a part is not answered; the message names its frames.
            Nothing is asked for twice.
        VideoError: If the video cannot be read.
        ValueError: If an argument is wrong, or the window must be given.
        ImportError: If a package that is needed is not installed.
    """
    check_windows(window, overlap)
    asked = _Asked(server, model, version, label, timeout)
    about, description = asked.about, asked.description
    names, background = about["class_names"], about["background"]
    if not description.is_windowed:

        def answer_clip(begin, until):
            found = _ask_clip(asked, video, begin, until, quality)
            return found.scores, found.num_frames

        return timeline_of_clips(
            answer_clip,
            description,
            lambda count: names,
            background,
            window,
            overlap,
            start,
            video_duration(video) if end is None else end,
            end,
        )
    clip = seen_frames(description, video, start, end)
    steps, hop = window_steps(
        description, window, overlap, clip, about["crop_steps"]
    )
    size = (0, 0)

    def images():
        nonlocal size
        for frame in clip:
            size = frame.shape[:2]
            yield encode_frame(frame, quality)

    total = clip.count()
    # A clip that is shorter is a window.
    asked_steps = min(steps, description.time.count(total) or 1)
    hop = min(hop, asked_steps)
    means = WindowMeans()
    for answers in ask_in_parts(
        asked.predict,
        images(),
        total,
        asked_steps,
        hop,
        _frames_of_part(description, asked_steps, hop, about["max_steps"]),
    ):
        begins = answers.pop("begins").tolist()
        means.add(begins, answers, asked_steps)
    frame_rate = clip.frame_rate
    assert frame_rate is not None  # known after an iteration
    return timeline_of_steps(
        means.result(),
        description,
        lambda count: names,
        background,
        steps,
        (total, *size),
        frame_rate,
        start,
    )


def _frames_of_part(description, steps, hop, max_steps):
    """As many as fit in a GiB of the server's, and at least two windows."""
    radius = description.receptive_radius
    stride = description.frames_per_step
    least = (steps + hop + 1) * stride + 2 * (radius + stride)
    most = max_steps * stride
    if least > most:
        raise ValueError(
            f"`window` must be shorter: the server takes {max_steps} steps at "
            "once (`max_steps` of the model's export). "
            f"Received: {steps} steps, and what they see before and after"
        )
    return min(max(least, description.frames_in_memory(1.0)), most)


class _Asked:
    """A model of a server, which has said how it sees a video."""

    def __init__(self, server, model, version, label, timeout):
        if version is not None and label is not None:
            raise ValueError(
                "At most one of `version` and `label` can be given. "
                f"Received: version={version}, label={label!r}"
            )
        chosen = {"version": version, "label": label, "timeout": timeout}
        self.about = describe(server, model, **chosen)
        self.description = self.about["backbone"]
        self.predict = functools.partial(
            _predict_by(server), server, model, **chosen
        )
        if self.description is None or "jpeg" not in self.about["signatures"]:
            raise ServingError(
                f"{server}, model {model}: it takes feature maps and no "
                "frames: export it with the backbone of RGB that made its "
                "features"
            )


def _ask_clip(asked, video, start, end, quality):
    about, description = asked.about, asked.description
    images, clip_shape = _encode_clip(
        seen_frames(description, video, start, end),
        quality,
        about["max_steps"] * description.frames_per_step,
        video,
    )
    answers = asked.predict(
        "jpeg",
        {
            "frames": images[np.newaxis],
            "lengths": np.array([len(images)], np.int32),
        },
    )
    action_map, context_map = (
        np.asarray(answers[name][0], np.float32) if name in answers else None
        for name in ("action_map", "context_map")
    )
    centers = None
    if action_map is not None:
        centers = description.centers(action_map.shape, clip_shape)
    return VideoPrediction(
        num_frames=len(images),
        read_frames=functools.partial(
            read_frames_of_clip, description, video, len(images), start, end
        ),
        action_map=action_map,
        context_map=context_map,
        centers=centers,
        scores=np.asarray(answers["scores"][0], np.float32),
        class_names=about["class_names"],
    )


def _encode_clip(frames, quality, most_frames, video):
    """Returns the images of a clip, and its (frames, height, width).

    The frames are encoded one by one: a long clip is never held.
    """
    images: list[bytes] = []
    left = _MOST_BYTES
    for frame in frames:
        size = frame.shape[:2]
        images.append(encode_frame(frame, quality))
        left -= len(images[-1])
        if len(images) > most_frames or left < 0:
            raise VideoError(
                f"{os.fspath(video)!r}: it is too long for a request, which "
                f"can hold {most_frames} frames of this model and "
                f"{_MOST_BYTES / 2**30:g} GiB. Ask for a part of it: `start`, "
                "`end`"
            )
    return np.array(images, object), (len(images), *size)


def describe(
    server: str,
    model: str,
    *,
    version: int | None = None,
    label: str | None = None,
    timeout: float = 60.0,
) -> dict[str, Any]:
    """Asks a server what a model says of itself.

    Args:
        server: Address of the server: see `ask`.
        model: Name of the model.
        version: Its version. Defaults to `None`: the latest.
        label: Or a label of a version, such as `"stable"`. Defaults to `None`.
        timeout: Seconds to wait for the answer. Defaults to `60.0`.

    Returns:
        The names of the classes, the description of the backbone and more: see
        `actx_tf.export.read_metadata`.

    Raises:
        ServingError: If the server does not answer, or the model does not
            describe itself.
    """
    source = f"{server}, model {model}"
    inputs = {"about": np.array([b"model"], object)}
    try:
        answers = _predict_by(server)(
            server, model, "describe", inputs, version, label, timeout
        )
    except ServingError as error:
        if "signature" not in str(error).lower():
            raise
        raise ServingError(
            f"{source}: it does not say how it sees a video; a model that "
            f"actx_tf.export.export_saved_model wrote does ({error})"
        ) from None
    try:
        ((text,),) = answers.values()
        text = text.decode() if isinstance(text, bytes) else str(text)
        return parse_metadata(text, source)
    except (TypeError, ValueError) as error:
        raise ServingError(str(error)) from None


def encode_frame(frame: np.ndarray, quality: int | None = None) -> bytes:
    """Returns a frame as an image.

    Args:
        frame: RGB, uint8 `(height, width, 3)`.
        quality: Quality of a JPEG, in [1, 100]. Defaults to `None`: a PNG,
            which loses nothing.

    Raises:
        ValueError: If `quality` is wrong.
        ImportError: If OpenCV is not installed.
    """
    cv2 = import_optional("cv2", "Sending frames")
    if quality is None:
        # Level 1 is the fastest, and makes files of 0.45 of the raw size.
        suffix, settings = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    elif 1 <= quality <= 100:
        suffix = ".jpg"
        settings = [
            *(cv2.IMWRITE_JPEG_QUALITY, quality),
            # Colors keep their resolution.
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
    else:
        raise ValueError(
            f"`quality` must be in [1, 100]. Received: quality={quality}"
        )
    _, image = cv2.imencode(suffix, frame[..., ::-1], settings)
    return image.tobytes()


def _predict_by(server) -> Callable[..., dict[str, np.ndarray]]:
    if server.startswith(("http://", "https://")):
        return predict_by_rest
    return predict_by_grpc
