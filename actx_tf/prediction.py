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
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import read_clip
from actx_tf.export.metadata import read_metadata
from actx_tf.export.served_model import check_backbone
from actx_tf.ops.activations import scores as scores_of
from actx_tf.utils.untrusted_files import load_keras_model

_MOST_PIXELS = 480  # of the shorter side of what is shown


@dataclasses.dataclass(frozen=True)
class VideoPrediction:
    """What a model sees in a video.

    Attributes:
        frames: uint8 `(frames, height, width, 3)`, RGB, those that the model
            saw, in the shape of the file's frames; the shorter side is at most
            480 pixels.
        frame_rate: Frames per second of `frames`.
        action_map: float32 `(time, height, width)`, S.
        context_map: The same for C.
        centers: Where in the clip the maps' locations look: see
            `BackboneDescription.centers`.
        scores: float32 `(classes,)`.
        class_names: Names of the classes.
    """

    frames: np.ndarray
    frame_rate: float
    action_map: np.ndarray
    context_map: np.ndarray
    centers: tuple[np.ndarray, np.ndarray, np.ndarray]
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
) -> VideoPrediction:
    """Runs a model on a video file.

    The video is read as the model's backbone is described: at its frame rate
    and size. The clip is run as a whole: of a long file take a part, by
    `start` and `end`.

    Args:
        video: Path of the video file.
        model: What `export_saved_model` wrote with a backbone: path of the
            version, or of the folder of the versions, of which the highest is
            taken. Or a `PairedModel` with maps, or the path of its `.keras`
            file.
        backbone: What made the features that a Keras model was trained on,
            or the path of its `.keras` file. Defaults to the model's own.
        start: Where in the file the clip begins, in seconds. Defaults to 0.
        end: Where it ends, in seconds. Defaults to the end of the file.

    Returns:
        A `VideoPrediction`.

    Raises:
        VideoError: If the video cannot be read.
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong, the model takes features and no
            backbone is given, the backbone is not that of its features, or it
            has no maps.
    """
    model = _load(model)
    if isinstance(model, Path):
        run = _SavedModel(model)
    else:
        run = _KerasModel(model, _load(backbone))
    description = run.description
    part = {"start": start, "end": end}
    seen, rate = read_clip(video, **description.sampling, **part)
    answers = run(seen)
    if "action_map" not in answers:
        raise ValueError("`model` must have maps. Received: one without")
    action_map = answers["action_map"]
    return VideoPrediction(
        frames=_shown(video, seen, {**description.sampling, **part}),
        frame_rate=rate,
        action_map=action_map,
        context_map=answers["context_map"],
        centers=description.centers(action_map.shape, seen.shape[:3]),
        scores=answers["scores"],
        class_names=run.class_names,
    )


class _SavedModel:
    """What `export_saved_model` wrote: uint8 frames -> answers."""

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
        answers = self._model.signatures["video"](
            frames=tf.constant(frames[None]),
            lengths=tf.constant([len(frames)]),
        )
        return {name: value[0].numpy() for name, value in answers.items()}


class _KerasModel:
    """A model and what made its features: uint8 frames -> answers."""

    def __init__(self, model, backbone):
        self._model = model
        self._backbone = check_backbone(backbone or model.backbone, model)
        if self._backbone is None:
            raise ValueError(
                "`backbone` must be given, for `model` takes feature maps and "
                "not frames: pass the network that made those it was trained "
                "on (extract_features.py's --save_backbone writes it). "
                f"Received: backbone={backbone}"
            )
        self.description = self._backbone.description
        if self.description.colors != 3:
            raise ValueError(
                "`backbone` must take RGB frames. "
                f"Received: {self._backbone.name}, which takes optical flow"
            )
        self.class_names = model.class_names

    def __call__(self, frames):
        frames = ops.convert_to_tensor(frames[None], "float32")
        features = self._backbone(frames, training=False)
        outputs = self._model.classify(features)
        scores = scores_of(outputs["logits"], self._model.activation)
        if self.class_names is None:
            self.class_names = list(map(str, range(scores.shape[-1])))
        answers = {**outputs, "scores": scores}
        return {
            name: ops.convert_to_numpy(value)[0]
            for name, value in answers.items()
        }


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
    return load_keras_model(path)


def _shown(video, seen, sampling):
    """The frames in the file's own shape: the backbone may see squares."""
    first = next(iter(ClipFrames(video, **{**sampling, "size": None})))
    height, width = first.shape[:2]
    scale = min(1.0, _MOST_PIXELS / min(height, width))
    size = (round(scale * height), round(scale * width))
    if seen.shape[1:3] == size:
        return seen
    return read_clip(video, **{**sampling, "size": size})[0]
