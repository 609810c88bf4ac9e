"""What a model sees in a video over time: windows, and segments of them."""

import dataclasses
import math
import os
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.video import video_duration
from actx_tf.export.trained_model import answers
from actx_tf.prediction.video_model import SeenClip
from actx_tf.prediction.video_model import VideoModel
from actx_tf.prediction.video_model import check_scores
from actx_tf.prediction.windows import answer_in_windows
from actx_tf.segments import THRESHOLDS
from actx_tf.segments import Segment
from actx_tf.segments import find_segments
from actx_tf.segments import suppress
from actx_tf.settings import DataSettings
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_rate


@dataclasses.dataclass(frozen=True)
class Timeline:
    """What a model sees in a video, step by step.

    Attributes:
        times: Borders of the steps, in seconds from the beginning of the file,
            float64 `(steps + 1,)`.
        scores: Scores of the classes, float32 `(steps, classes)`: the mean over
            the windows that a step lies in.
        class_names: Names of the classes.
        background: Names of those that show no action.
        window: Seconds of a window.
        num_frames: Number of frames that the model saw.
        frame_rate: How many of them there are in a second.
        action_map: S, float32 `(steps, height, width)`: the mean over the
            windows, in each of which its share of positive values is rho;
            `None` if the model has no maps, or sees windows by themselves.
        context_map: The same for C.
        centers: Where in the clip the maps' locations look, see
            `BackboneDescription.centers`; `None` if there are no maps.
    """

    times: np.ndarray
    scores: np.ndarray
    class_names: Sequence[str]
    background: Sequence[str]
    window: float
    num_frames: int
    frame_rate: float
    action_map: np.ndarray | None = None
    context_map: np.ndarray | None = None
    centers: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def segments(
        self,
        *,
        background: Collection[str] | None = None,
        thresholds: Sequence[float] = THRESHOLDS,
        iou: float = 0.3,
        min_seconds: float = 0.0,
        contrast: float = 1.0,
    ) -> list[Segment]:
        """Returns what happens from when to when: see `find_segments`.

        Args:
            background: Names of classes that are nothing to find. Defaults to
                `None`: those of the model.
            thresholds: As in `find_segments`.
            iou: As in `suppress`. Defaults to `0.3`.
            min_seconds: As in `find_segments`. Defaults to `0.0`.
            contrast: As in `find_segments`. Defaults to `1.0`.

        Raises:
            ValueError: If an argument is wrong.
        """
        found = find_segments(
            self.scores,
            self.times,
            self.class_names,
            self.background if background is None else background,
            thresholds,
            min_seconds,
            contrast,
        )
        return suppress(found, iou)

    def stretches_of_nothing(
        self, *, max_score: float = 0.1, min_seconds: float = 0.5
    ) -> list[tuple[float, float]]:
        """Returns where the model sees no action: conjugates for another.

        Args:
            max_score: Score that each class that shows an action has at most.
                Defaults to `0.1`.
            min_seconds: Stretches that are shorter are left out. Defaults to
                `0.5`.

        Returns:
            The (start, end) of each stretch, in seconds from the beginning of
            the file, in the order of time.

        Raises:
            ValueError: If an argument is wrong.
        """
        check_not_negative("max_score", max_score)
        is_action = [x not in self.background for x in self.class_names]
        largest = self.scores[:, is_action].max(axis=1, initial=0.0)
        found = find_segments(
            -largest[:, np.newaxis],
            self.times,
            ["nothing"],
            thresholds=[-max_score],
            min_seconds=min_seconds,
        )
        return sorted((x.start, x.end) for x in found)


def make_timeline(
    model: VideoModel,
    video: str | os.PathLike,
    window: float | None = None,
    overlap: float = 0.5,
    start: float = 0.0,
    end: float | None = None,
) -> Timeline:
    """Answers a video in windows: see `VideoPredictor.timeline`."""
    check_windows(window, overlap)
    description, background = model.description, list(model.model.background)
    if not description.is_windowed:

        def answer_clip(begin, until):
            clip = SeenClip(model, video, begin, until, whole=True)
            features = np.concatenate([part for part, _ in clip.steps()])
            found = answers(model.model, features[np.newaxis], model.context)
            return found["scores"][0], clip.shape[0]

        return timeline_of_clips(
            answer_clip,
            description,
            model.class_names,
            background,
            window,
            overlap,
            start,
            video_duration(video) if end is None else end,
            end,
        )
    clip = SeenClip(model, video, start, end)
    steps, hop = window_steps(
        description, window, overlap, clip, model.model.crop_steps
    )
    of_steps = answer_in_windows(
        lambda clips: answers(model.model, clips, model.context),
        _check_maps(clip, steps),
        steps,
        hop,
    )
    assert clip.frame_rate is not None  # all was seen
    return timeline_of_steps(
        of_steps,
        description,
        model.class_names,
        background,
        steps,
        clip.shape,
        clip.frame_rate,
        start,
    )


def check_windows(window: float | None, overlap: float) -> None:
    """Raises `ValueError` for what is no length or overlap of windows."""
    check_window_seconds(window)
    check_rate("overlap", overlap)


def check_window_seconds(window: float | None) -> None:
    """Raises `ValueError` for what is no length of windows."""
    if window is not None:
        check_above_zero("window", window, "seconds")


def window_steps(
    description: BackboneDescription,
    window: float | None,
    overlap: float,
    clip: Any,
    crop_steps: int | None,
) -> tuple[int, int]:
    """Returns the steps of a window, and those from one to the next.

    Args:
        description: What the backbone sees.
        window: Seconds of a window; `None`: as the crops of a training.
        overlap: Share of a window that the next one sees too.
        clip: Has `frame_rate` and `count()`, which is called if the rate is
            that of the file, which is known at its end.
        crop_steps: Steps of the crops of the training; `None`: as many as
            there are unless told otherwise.

    Raises:
        ValueError: If a window is shorter than a step.
    """
    if window is None:
        steps = crop_steps or DataSettings().crop_steps
    else:
        rate = description.frame_rate
        if rate is None:
            clip.count()
            rate = clip.frame_rate
        steps = seconds_to_steps(description, window, rate)
    return steps, max(1, round(steps * (1 - overlap)))


def seconds_to_steps(
    description: BackboneDescription, window: float, frame_rate: float
) -> int:
    """Returns the steps of a window; raises `ValueError` if there is none."""
    seconds = description.frames_per_step / frame_rate
    if window < seconds / 2:
        raise ValueError(
            f"`window` must be a step, {seconds:g} seconds, or more. "
            f"Received: window={window}"
        )
    return round(window / seconds)


def timeline_of_steps(
    of_steps: Mapping[str, np.ndarray],
    description: BackboneDescription,
    name_classes: Callable[[int], Sequence[str]],
    background: Sequence[str],
    steps: int,
    clip_shape: tuple[int, int, int],
    frame_rate: float,
    start: float,
) -> Timeline:
    """Makes it of windows over a feature map.

    Args:
        of_steps: The means of the windows: see `answer_in_windows`.
        description: What the backbone sees.
        name_classes: Number of the scores -> names of the classes.
        background: Names of those that show no action.
        steps: Steps of a window.
        clip_shape: (frames, height, width) of what was seen.
        frame_rate: Frames per second of it.
        start: Where in the file the clip begins, in seconds.
    """
    scores = of_steps["scores"]
    class_names = name_classes(scores.shape[1])
    check_scores(scores, class_names)
    # A step is where it looks: its borders lie in the middle between two.
    middles = clip_shape[0] * description.time.centers(
        len(scores), clip_shape[0]
    )
    borders = [0, *(middles[1:] + middles[:-1]) / 2, clip_shape[0]]
    action_map = of_steps.get("action_map")
    centers = None
    if action_map is not None:
        centers = description.centers(action_map.shape, clip_shape)
    return Timeline(
        times=start + np.array(borders) / frame_rate,
        scores=scores,
        class_names=class_names,
        background=background,
        window=steps * description.frames_per_step / frame_rate,
        num_frames=clip_shape[0],
        frame_rate=frame_rate,
        action_map=action_map,
        context_map=of_steps.get("context_map"),
        centers=centers,
    )


def timeline_of_clips(
    answer_clip: Callable[[float, float | None], tuple[np.ndarray, int]],
    description: BackboneDescription,
    name_classes: Callable[[int], Sequence[str]],
    background: Sequence[str],
    window: float | None,
    overlap: float,
    start: float,
    stop: float,
    end: float | None,
) -> Timeline:
    """Makes it of windows that are clips of their own.

    Args:
        answer_clip: (start, end) of a window, of which the end is `None` at
            that of the file -> its scores `(classes,)`, and its frames.
        description: What the backbone sees: each step sees all of a clip.
        name_classes: Number of the scores -> names of the classes.
        background: Names of those that show no action.
        window: Seconds of a window.
        overlap: Share of a window that the next one sees too.
        start: Where in the file the first one begins, in seconds.
        stop: Where the last one ends.
        end: The same; `None` if that is the end of the file.

    Raises:
        ValueError: If `window` is not given.
    """
    if window is None:
        raise ValueError(
            "`window` must be given in seconds: the steps of "
            f"{description.name} are those of a whole clip. "
            "Received: window=None"
        )
    hops = math.ceil((stop - start - window) / (window * (1 - overlap)) - 1e-6)
    begins = np.linspace(start, max(start, stop - window), max(0, hops) + 1)
    ends = np.minimum(begins + window, stop)
    found = [
        answer_clip(begin, until if until < stop else end)
        for begin, until in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
    seen = sum(frames for _, frames in found)
    times = np.unique(np.round([*begins, *ends], 6))
    middles = (times[1:, np.newaxis] + times[:-1, np.newaxis]) / 2
    inside = (begins <= middles) & (middles < ends)
    of_windows = np.stack([scores for scores, _ in found])
    class_names = name_classes(of_windows.shape[1])
    check_scores(of_windows, class_names)
    scores = inside / inside.sum(1, keepdims=True) @ of_windows
    return Timeline(
        times=times,
        scores=scores.astype(np.float32),
        class_names=class_names,
        background=background,
        window=min(window, stop - start),
        num_frames=seen,
        frame_rate=seen / (len(begins) * min(window, stop - start)),
    )


def _check_maps(clip, steps):
    """Yields feature maps, as long as a window of them can be answered."""
    total = 0
    for features, _ in clip.steps():
        total += len(features)
        clip.check_map((min(total, steps), *features.shape[1:3]))
        yield features
