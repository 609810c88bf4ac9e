"""What a model answers to a video file as a whole."""

import dataclasses
import functools
import os
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence

import keras
import numpy as np

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.shown_frames import read_frames_of_clip
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import takes_earlier
from actx_tf.prediction.stream import HISTORY
from actx_tf.prediction.stream import StreamWindow
from actx_tf.prediction.stream import answer_stream
from actx_tf.prediction.timeline import Timeline
from actx_tf.prediction.timeline import make_timeline
from actx_tf.prediction.video_model import MEMORY
from actx_tf.prediction.video_model import SeenClip
from actx_tf.prediction.video_model import VideoModel
from actx_tf.prediction.video_model import check_scores


@dataclasses.dataclass(frozen=True)
class VideoPrediction:
    """What a model sees in a video.

    Attributes:
        num_frames: Number of frames that the model saw.
        read_frames: Returns `frames` and `frame_rate`; called once, when one
            of them is asked for.
        action_map: S, float32 `(time, height, width)`; `None` if the model has
            no maps.
        context_map: The same for C.
        centers: Where in the clip the maps' locations look, see
            `BackboneDescription.centers`; `None` if there are no maps.
        scores: Scores of the classes, float32 `(classes,)`.
        class_names: Names of the classes.
    """

    num_frames: int
    read_frames: Callable[[], tuple[np.ndarray, float]]
    action_map: np.ndarray | None
    context_map: np.ndarray | None
    centers: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    scores: np.ndarray
    class_names: Sequence[str]

    @functools.cached_property
    def _shown(self) -> tuple[np.ndarray, float]:
        return self.read_frames()

    @property
    def frames(self) -> np.ndarray:
        """Frames to show, uint8 `(frames, height, width, 3)`, RGB.

        Those that the model saw, in the shape of the file's frames; the longer
        side is at most 640 pixels. Of more than 500, there are 500, evenly over
        the clip: compare `num_frames`.
        """
        return self._shown[0]

    @property
    def frame_rate(self) -> float:
        """Frames per second of `frames`."""
        return self._shown[1]

    @property
    def label(self) -> str:
        """Name of the class with the largest score."""
        return self.class_names[int(np.argmax(self.scores))]


def predict_video(
    video: str | os.PathLike,
    model: keras.Model | str | os.PathLike,
    backbone: Backbone | str | os.PathLike | None = None,
    *,
    start: float = 0.0,
    end: float | None = None,
    memory: float = MEMORY,
    compute_dtype: str = "float32",
    context: str | None = None,
) -> VideoPrediction:
    """Runs a model on a video file.

    The video is read as the model's backbone is described: at its frame rate
    and size. The backbone is run in windows, as in `extract_features`, and no
    more frames than those of a window are held. The clip is then answered as a
    whole: one whose feature map takes too much memory for that is refused. Of
    a long file take a part, by `start` and `end`, or ask what happens when:
    see `VideoPredictor.timeline`.

    Args:
        video: Path of the video file.
        model: What `export_saved_model` wrote with a backbone: path of the
            version, or of the folder of the versions, of which the highest is
            taken. Or a `PairedModel`, or the path of its `.keras` file.
        backbone: What made the features that a Keras model was trained on,
            or the path of its `.keras` file. Defaults to the model's own.
        start: Where in the file the clip begins, in seconds. Defaults to `0.0`.
        end: Where it ends, in seconds. Defaults to `None`: the end of the
            file.
        memory: GiB that a window of frames may take, and the feature map of a
            clip as a whole. Defaults to `1.0`.
        compute_dtype: `"float32"` or `"bfloat16"`, the arithmetic of the
            backbone of a Keras model: see `FeatureExtractor`. Defaults to
            `"float32"`.
        context: What a trained `ActX`, or its SavedModel, is given of the
            context: `"keep"` or `"mean"`, see `ActX`. Defaults to `None`: as
            the model was saved.

    Returns:
        A `VideoPrediction`.

    Raises:
        VideoError: If the video cannot be read, is too long, or is answered
            with scores that are not finite.
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong, the model takes features and no
            backbone is given, or the backbone is not that of its features.
    """
    predictor = VideoPredictor(
        model,
        backbone,
        memory=memory,
        compute_dtype=compute_dtype,
        context=context,
    )
    return predictor(video, start=start, end=end)


class VideoPredictor:
    """`predict_video` of many videos: what is loaded is loaded once.

    Args:
        model: As in `predict_video`; or what `load_trained` returned.
        backbone: As in `predict_video`.
        memory: As in `predict_video`. Defaults to `1.0`.
        progress: Whether to show a bar of the frames of each video. Defaults to
            `False`.
        compute_dtype: As in `predict_video`. Defaults to `"float32"`.
        context: As in `predict_video`; not for `stream`. Defaults to `None`.

    Attributes:
        description: `BackboneDescription` of how videos are read.
        class_names: Names of the classes; empty if the model has none.

    Raises:
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If the model takes features and no backbone is given, the
            backbone is not that of its features, or the model has no such
            context.
    """

    def __init__(
        self,
        model: keras.Model | ExportedModel | str | os.PathLike,
        backbone: Backbone | str | os.PathLike | None = None,
        *,
        memory: float = MEMORY,
        progress: bool = False,
        compute_dtype: str = "float32",
        context: str | None = None,
    ) -> None:
        self._model = VideoModel(
            model, backbone, memory, progress, compute_dtype, context
        )
        self.description = self._model.description
        self.class_names = tuple(self._model.model.class_names or ())

    @property
    def takes_earlier(self) -> bool:
        """Whether `stream` answers a window by those before it, too."""
        return takes_earlier(self._model.model)

    def __call__(
        self,
        video: str | os.PathLike,
        *,
        start: float = 0.0,
        end: float | None = None,
    ) -> VideoPrediction:
        """See `predict_video`."""
        description = self.description
        clip = SeenClip(self._model, video, start, end, whole=True)
        features = np.concatenate([part for part, _ in clip.steps()])
        answers = answer(self._model.model, features, self._model.context)
        scores = answers["scores"]
        class_names = self._model.class_names(len(scores))
        check_scores(scores, class_names)
        action_map = answers.get("action_map")
        centers = None
        if action_map is not None:
            centers = description.centers(action_map.shape, clip.shape)
        return VideoPrediction(
            num_frames=clip.shape[0],
            read_frames=functools.partial(
                read_frames_of_clip,
                description,
                video,
                clip.shape[0],
                start,
                end,
            ),
            action_map=action_map,
            context_map=answers.get("context_map"),
            centers=centers,
            scores=scores,
            class_names=class_names,
        )

    def timeline(
        self,
        video: str | os.PathLike,
        *,
        window: float | None = None,
        overlap: float = 0.5,
        start: float = 0.0,
        end: float | None = None,
    ) -> Timeline:
        """Answers a video in windows: what happens when.

        The model sees each window as a clip of its own, so that rho is a share
        of a window. The windows lie on the feature map, which is made once, and
        of which no more is held than a window: videos can be of any length. The
        steps of some backbones (`num_frames`, or a receptive field of the
        whole clip) depend on the clip; they are run for each window.

        Args:
            video: Path of the video file.
            window: Seconds of a window, which is rounded to whole steps. It
                should be about as long as the clips that the model was trained
                on. Defaults to `None`: the steps of the training's crops, which
                the model knows (`PairedModel.crop_steps`); 10 if it does not.
            overlap: Share of a window that the next one sees too, in [0, 1).
                Defaults to `0.5`.
            start: As in `predict_video`. Defaults to `0.0`.
            end: As in `predict_video`. Defaults to `None`.

        Returns:
            A `Timeline`; `timeline.segments()` finds what happens.

        Raises:
            VideoError: If the video cannot be read, or a window is too long.
            ValueError: If an argument is wrong, or the window must be given.
        """
        return make_timeline(self._model, video, window, overlap, start, end)

    def stream(
        self,
        source: int | str | os.PathLike,
        *,
        window: float | None = None,
        history: float = HISTORY,
    ) -> Generator[StreamWindow]:
        """Yields what is seen in a video that goes on, window by window.

        A window is answered once the frames are there that its steps see
        beyond its own, but not later than a window after it. The machine's time
        comes on top. Windows do not overlap. AttNorm and the percentile of an
        ActX are those of all that was seen so far, of at most `history`; so
        rho is a share of that, and a window may have none of it. Other models
        see each window by itself: see `takes_earlier`.

        Held are the frames of a window with those around it that its steps see,
        and as many that wait. Of a camera, or of an address that goes on, the
        oldest of those that wait are dropped where the machine is too slow, and
        counted; the windows then begin anew. A pipe or a file waits.

        The source is open until the generator is closed or comes to its end.
        What comes after the last whole window is answered too, as a shorter
        one, but for backbones whose steps see a whole clip.

        Args:
            source: Number of a camera; an address (`rtsp://`, `http://` and so
                on); `"-"`, standard input; or the path of a file, which is
                played as fast as it was recorded.
            window: As in `timeline`. Defaults to `None`.
            history: Seconds over which AttNorm and the percentile are taken.
                Defaults to `600.0`.

        Yields:
            A `StreamWindow` of each window.

        Raises:
            VideoError: If the source cannot be opened, does not decode, or
                sends nothing for ten seconds.
            ValueError: If an argument is wrong, the window must be given, or
                the backbone sees flow.
        """
        return answer_stream(self._model, source, window, history)
