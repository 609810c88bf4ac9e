"""From a video file and a model to scores and maps."""

import dataclasses
import os
from collections.abc import Sequence

import keras
import numpy as np

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.data.shown_frames import read_shown_frames
from actx_tf.export.served_model import check_backbone
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import load_trained
from actx_tf.models import load_model

_SHOWN_PIXELS = 640  # of the longer side of what is shown


@dataclasses.dataclass(frozen=True)
class VideoPrediction:
    """What a model sees in a video.

    Attributes:
        frames: Those that the model saw, uint8 `(frames, height, width, 3)`,
            RGB, in the shape of the file's frames; the longer side is at most
            640 pixels.
        frame_rate: Frames per second of `frames`.
        action_map: S, float32 `(time, height, width)`; `None` if the model has
            no maps.
        context_map: The same for C.
        centers: Where in the clip the maps' locations look, see
            `BackboneDescription.centers`; `None` if there are no maps.
        scores: Scores of the classes, float32 `(classes,)`.
        class_names: Names of the classes.
    """

    frames: np.ndarray
    frame_rate: float
    action_map: np.ndarray | None
    context_map: np.ndarray | None
    centers: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    scores: np.ndarray
    class_names: Sequence[str]

    @property
    def answer(self) -> str:
        """Name of the class with the largest score."""
        return self.class_names[int(np.argmax(self.scores))]


def predict_video(
    video: str | os.PathLike,
    model: keras.Model | str | os.PathLike,
    backbone: Backbone | str | os.PathLike | None = None,
    *,
    start: float = 0.0,
    end: float | None = None,
    memory: float = 4.0,
) -> VideoPrediction:
    """Runs a model on a video file.

    The video is read as the model's backbone is described: at its frame rate
    and size. A Keras model's backbone is run in windows, as in
    `extract_features`; a SavedModel is given the clip as a whole: of a long
    file take a part, by `start` and `end`.

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
        memory: GiB that a window of frames may take. Defaults to `4.0`.

    Returns:
        A `VideoPrediction`.

    Raises:
        VideoError: If the video cannot be read.
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong, the model takes features and no
            backbone is given, or the backbone is not that of its features.
    """
    return VideoPredictor(model, backbone, memory=memory)(
        video, start=start, end=end
    )


class VideoPredictor:
    """`predict_video` of many videos: what is loaded is loaded once.

    Args:
        model: As in `predict_video`.
        backbone: As in `predict_video`.
        memory: As in `predict_video`. Defaults to `4.0`.

    Attributes:
        description: `BackboneDescription` of how videos are read.

    Raises:
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If the model takes features and no backbone is given, or
            the backbone is not that of its features.
    """

    def __init__(
        self,
        model: keras.Model | str | os.PathLike,
        backbone: Backbone | str | os.PathLike | None = None,
        *,
        memory: float = 4.0,
    ) -> None:
        if isinstance(model, (str, os.PathLike)):
            model = load_trained(model)
        if isinstance(backbone, (str, os.PathLike)):
            backbone = load_model(backbone)
        self._run: _Exported | _Keras
        if isinstance(model, ExportedModel):
            self._run = _Exported(model)
        else:
            self._run = _Keras(model, backbone, memory)
        self.description = self._run.description
        self._class_names = model.class_names

    def scores(
        self,
        video: str | os.PathLike,
        *,
        start: float = 0.0,
        end: float | None = None,
    ) -> dict[str, float]:
        """Returns the score of each class, by name, and reads no more."""
        answers, _, _ = self._run(
            seen_frames(self.description, video, start, end)
        )
        scores = answers["scores"]
        return dict(zip(self._names(scores), scores.tolist(), strict=True))

    def __call__(
        self,
        video: str | os.PathLike,
        *,
        start: float = 0.0,
        end: float | None = None,
    ) -> VideoPrediction:
        """See `predict_video`."""
        description = self.description
        answers, count, size = self._run(
            seen_frames(description, video, start, end)
        )
        sampling = {**description.sampling, "start": start, "end": end}
        del sampling["size"]
        frames, frame_rate, _ = read_shown_frames(
            video, _SHOWN_PIXELS, **sampling
        )
        action_map = answers.get("action_map")
        centers = None
        if action_map is not None:
            centers = description.centers(action_map.shape, (count, *size))
        return VideoPrediction(
            frames=frames,
            frame_rate=frame_rate,
            action_map=action_map,
            context_map=answers.get("context_map"),
            centers=centers,
            scores=answers["scores"],
            class_names=self._names(answers["scores"]),
        )

    def _names(self, scores):
        names = self._class_names or list(map(str, range(len(scores))))
        if len(names) != len(scores):
            raise ValueError(
                f"`model` must name its {len(scores)} classes. "
                f"Received: class_names={names}"
            )
        return names


class _Exported:
    """A SavedModel: frames -> answers, count, size."""

    def __init__(self, model):
        if not model.takes_videos:
            raise ValueError(
                "`model` must take frames: export it with the backbone that "
                "made its features (`export_saved_model(..., backbone=...)`, "
                "`actx train --backbone`), or give the .keras file and "
                f"`backbone`. Received: model={model.path}, with the "
                f"signatures {model.signatures}"
            )
        self._model = model
        self.description = model.description

    def __call__(self, frames):
        clip = np.stack(list(frames))
        return self._model.answer_video(clip), len(clip), clip.shape[1:3]


class _Keras:
    """A model and what made its features: frames -> answers, count, size."""

    def __init__(self, model, backbone, memory):
        self._model = model
        backbone = check_backbone(backbone or model.backbone, model)
        if backbone is None:
            raise ValueError(
                "`backbone` must be given, for `model` takes feature maps and "
                "not frames: pass the network that made those it was trained "
                "on (`actx extract --save_backbone` writes it). "
                f"Received: backbone={backbone}"
            )
        self._extract = FeatureExtractor(backbone, memory=memory)
        self.description = backbone.description

    def __call__(self, frames):
        size = next(iter(frames)).shape[:2]
        features, count = self._extract(frames, frames.count)
        return answer(self._model, features), count, size
