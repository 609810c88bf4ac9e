"""What a model sees in a video that goes on, window by window.

A whole clip is answered by statistics over all of it: the mean and the
variance of AttNorm, the percentile of PercentileShift. Of a stream they are
those of what was seen so far, exactly, since what they are taken of is small:
two numbers for each location of the feature map. They are kept for `history`
seconds, so that they follow the light of a day. While the stream is shorter,
they are those of the whole clip up to the end of the window.
"""

import dataclasses
import os
from collections.abc import Generator
from collections.abc import Sequence

import numpy as np

from actx_tf.data.live_video import LiveFrames
from actx_tf.export.trained_model import answers_after
from actx_tf.prediction.timeline import check_window_seconds
from actx_tf.prediction.timeline import seconds_to_steps
from actx_tf.prediction.video_model import VideoModel
from actx_tf.prediction.video_model import check_scores
from actx_tf.settings import DataSettings
from actx_tf.utils.checks import check_above_zero

HISTORY = 600.0


@dataclasses.dataclass(frozen=True)
class StreamWindow:
    """What a model sees in a window of a stream.

    Attributes:
        start: Where it begins, in seconds since the first frame.
        end: Where it ends.
        scores: Scores of the classes, float32 `(classes,)`.
        class_names: Names of the classes.
        dropped: Number of frames since the window before, or the beginning,
            for which the machine was too slow: they were seen in no window.
        action_map: S, float32 `(steps, height, width)`; `None` if the model has
            no maps.
        context_map: The same for C.
    """

    start: float
    end: float
    scores: np.ndarray
    class_names: Sequence[str]
    dropped: int = 0
    action_map: np.ndarray | None = None
    context_map: np.ndarray | None = None

    @property
    def label(self) -> str:
        """Name of the class with the largest score."""
        return self.class_names[int(np.argmax(self.scores))]


def answer_stream(
    model: VideoModel,
    source: int | str | os.PathLike,
    window: float | None = None,
    history: float = HISTORY,
) -> Generator[StreamWindow]:
    """Answers a stream: see `VideoPredictor.stream`."""
    check_window_seconds(window)
    check_above_zero("history", history, "seconds")
    description = model.description
    if description.colors != 3:
        raise ValueError(
            "`model` must have a backbone that sees RGB: the flow of a stream "
            f"is not computed. Received: {description.name}"
        )
    if window is None and not description.is_windowed:
        raise ValueError(
            "`window` must be given in seconds: the steps of "
            f"{description.name} are those of a whole clip. "
            "Received: window=None"
        )
    if model.context is not None:
        raise ValueError(
            "`context` must be None for a stream: save the ActX with the "
            "context that is wanted (`model.context`). "
            f"Received: context={model.context!r}"
        )
    rate = description.frame_rate
    if description.num_frames is not None:
        assert window is not None
        rate = description.num_frames / window
    live = LiveFrames(source, rate, description.size)
    return _answer_frames(model, live, window, history)


def _answer_frames(model, live, window, history):
    with live:
        parts = _Parts(model, live.frame_rate, window)
        earlier = None
        most = round(history * live.frame_rate / parts.stride)
        most = int(max(min(most, model.most_steps), 1))
        for features, first, stop, dropped in parts.of(live):
            if earlier is None:
                model.check_map(features.shape[:3])
            answers = answers_after(
                model.model,
                features[np.newaxis],
                None if earlier is None else earlier[np.newaxis],
            )
            answers = {name: value[0] for name, value in answers.items()}
            if "confidences" in answers:
                seen = [answers["confidences"]]
                seen = seen if earlier is None else [earlier, *seen]
                earlier = np.concatenate(seen)[-most:]
            class_names = model.class_names(len(answers["scores"]))
            check_scores(answers["scores"], class_names)
            yield StreamWindow(
                start=first / live.frame_rate,
                end=stop / live.frame_rate,
                scores=answers["scores"],
                class_names=class_names,
                dropped=dropped,
                action_map=answers.get("action_map"),
                context_map=answers.get("context_map"),
            )


class _Parts:
    """Cuts a stream into windows, and makes the feature map of each.

    A step sees frames before and after those that it covers. Those before it
    are held; those after it are waited for, but no longer than another window:
    what is then missing is taken for the end of the clip.
    """

    def __init__(self, model, frame_rate, window):
        description = model.description
        self.stride = description.frames_per_step
        self._model = model
        self._time = description.time
        if description.is_windowed:
            self._steps = model.model.crop_steps or DataSettings().crop_steps
            if window is not None:
                self._steps = seconds_to_steps(description, window, frame_rate)
            self._frames = self._steps * self.stride
            self._overlap = -(-description.receptive_radius // self.stride)
        else:  # a window is a clip
            self._frames = description.num_frames or max(
                1, round(window * frame_rate)
            )
            self._steps = self._time.count(self._frames)
            self._overlap = 0

    def of(self, live):
        """Yields (feature map, first frame, frame after the last, dropped)."""
        held, first, before = [], 0, 0  # steps held of the window before
        dropped = 0
        for number, frame in live.read(self._size(self._overlap)):
            if number != first + len(held):
                dropped += number - first - before * self.stride
                held, first, before = [], number, 0
            held.append(frame)
            self._model.check_frames((len(held), *frame.shape[:2]))
            if len(held) < self._size(before):
                continue
            features = self._run(held)[before : before + self._steps]
            begin = first + before * self.stride
            yield features, begin, begin + self._frames, dropped
            dropped = 0
            done = before * self.stride + self._frames
            before = min(self._overlap, done // self.stride)
            first += done - before * self.stride
            held = held[done - before * self.stride :]
        yield from self._rest(held, first, before, dropped)

    def _size(self, before):
        """Frames that the next window takes."""
        frames = before * self.stride + self._frames
        if self._overlap:
            frames += min(self._overlap, self._steps) * self.stride
            # Some networks make no step of what they do not see all of.
            least = self._time.least_size(before + self._steps)
            frames = max(frames, -(-least // self.stride) * self.stride)
        return frames

    def _rest(self, held, first, before, dropped):
        """What came after the last window that was whole."""
        if not self._model.description.is_windowed:
            return  # some of these networks take whole windows alone
        if (self._time.count(len(held)) or 0) <= before:
            return
        features = self._run(held)[before:]
        end = first + len(held)
        for step in range(0, len(features), self._steps):
            begin = first + (before + step) * self.stride
            stop = begin + self._frames
            if step + self._steps >= len(features):
                stop = end
            yield features[step : step + self._steps], begin, stop, dropped
            dropped = 0

    def _run(self, held):
        features, _ = self._model.network(held, lambda: len(held))
        return features
