"""From a video file and a model to scores and maps."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.data.shown_frames import read_shown_frames
from actx_tf.export.metadata import read_metadata
from actx_tf.export.served_model import check_backbone
from actx_tf.models import load_model
from actx_tf.ops.activations import scores as scores_of

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
    model = _load(model)
    if isinstance(model, Path):
        run: _SavedModel | _KerasModel = _SavedModel(model)
    else:
        run = _KerasModel(model, _load(backbone), memory)
    description = run.description
    seen = seen_frames(description, video, start, end)
    answers, count, size = run(seen)
    sampling = {**description.sampling, "start": start, "end": end}
    del sampling["size"]
    frames, frame_rate, _ = read_shown_frames(video, _SHOWN_PIXELS, **sampling)
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
        class_names=run.class_names,
    )


class _SavedModel:
    """What `export_saved_model` wrote: frames -> answers, count, size."""

    def __init__(self, version):
        metadata = read_metadata(version)
        if "video" not in metadata["signatures"]:
            raise ValueError(
                "`model` must take frames: export it with the backbone that "
                "made its features (`export_saved_model(..., backbone=...)`, "
                "train_actx.py's --backbone), or give the .keras file and "
                f"`backbone`. Received: model={version}, with the signatures "
                f"{metadata['signatures']}"
            )
        self._model = tf.saved_model.load(str(version))  # owns the variables
        self.description = metadata["backbone"]
        self.class_names = metadata["class_names"]

    def __call__(self, frames):
        clip = np.stack(list(frames))
        answers = self._model.signatures["video"](
            frames=tf.constant(clip[None]), lengths=tf.constant([len(clip)])
        )
        answers = {name: value[0].numpy() for name, value in answers.items()}
        if len(answers["scores"]) != len(self.class_names):
            raise ValueError(
                f"`model` must name its {len(answers['scores'])} classes. "
                f"Received: class_names={self.class_names}"
            )
        return answers, len(clip), clip.shape[1:3]


class _KerasModel:
    """A model and what made its features: frames -> answers, count, size."""

    def __init__(self, model, backbone, memory):
        self._model = model
        backbone = check_backbone(backbone or model.backbone, model)
        if backbone is None:
            raise ValueError(
                "`backbone` must be given, for `model` takes feature maps and "
                "not frames: pass the network that made those it was trained "
                "on (extract_features.py's --save_backbone writes it). "
                f"Received: backbone={backbone}"
            )
        self._extract = FeatureExtractor(backbone, memory=memory)
        self.description = backbone.description
        self.class_names = model.class_names

    def __call__(self, frames):
        size = next(iter(frames)).shape[:2]
        features, count = self._extract(frames, frames.count)
        outputs = self._model.classify(ops.convert_to_tensor(features[None]))
        scores = scores_of(outputs["logits"], self._model.activation)
        if self.class_names is None:
            self.class_names = list(map(str, range(scores.shape[-1])))
        answers = {
            name: ops.convert_to_numpy(value)[0]
            for name, value in {**outputs, "scores": scores}.items()
        }
        return answers, count, size


def _load(model):
    """Returns a Keras model, or the folder of a SavedModel's version."""
    if not isinstance(model, (str, os.PathLike)):
        return model
    path = Path(model)
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return path
        versions = [p for p in path.iterdir() if p.name.isdecimal()]
        if versions:
            return max(versions, key=lambda version: int(version.name))
    if not path.is_file():
        raise FileNotFoundError(
            f"no .keras file and no SavedModel (of actx_tf.export) at {path}"
        )
    return load_model(path)
