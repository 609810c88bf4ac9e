"""From a video file and a model to frames, maps and scores."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from actx_tf.backbones.receptive_field import location_centers
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import read_clip
from actx_tf.export import read_metadata
from actx_tf.utils.untrusted_files import load_keras_model

_ACTIVATIONS = ("softmax", "sigmoid")
_MOST_PIXELS = 480  # of the shorter side of what is shown


@dataclasses.dataclass(frozen=True)
class AttendedVideo:
    """What a model sees in a video.

    Attributes:
        frames: uint8 `(frames, height, width, 3)`, RGB, in the shape of the
            file's frames, the shorter side at most 480 pixels.
        frame_rate: Frames per second of `frames`.
        action_map: float32 `(time, height, width)`, S.
        context_map: The same for C.
        centers: Where in the clip the maps' locations look: see
            `location_centers`.
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
    backbone: keras.Model | str | os.PathLike | None = None,
    *,
    frame_rate: float | None = None,
    size: int | tuple[int, int] | None = None,
    start: float = 0.0,
    end: float | None = None,
    class_names: Sequence[str] | None = None,
    activation: str = "softmax",
) -> AttendedVideo:
    """Runs a model on a video file.

    The clip is run as a whole: of a long file take a part, by `start` and
    `end`.

    Args:
        video: Path of the video file.
        model: What `export_saved_model` wrote with a backbone: path of the
            version, or of the folder of the versions, of which the highest is
            taken. Or a `PairedModel` with maps, or the path of its `.keras`
            file.
        backbone: What made the features that a Keras model was trained on,
            or the path of its `.keras` file. Defaults to the model's own.
        frame_rate: Frames per second that the backbone should see. Defaults to
            what a SavedModel says; where it says nothing, to all frames.
        size: (height, width) of the frames that it should see, or the length
            of their shorter side. Defaults to what the backbone is made for;
            where that is free, to the size of the file's frames.
        start: Where in the file the clip begins, in seconds. Defaults to 0.
        end: Where it ends, in seconds. Defaults to the end of the file.
        class_names: Names of a Keras model's classes. Defaults to their
            numbers; a SavedModel names them.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes, of a Keras model. Defaults to `"softmax"`.

    Returns:
        An `AttendedVideo`.

    Raises:
        VideoError: If the video cannot be read.
        FileNotFoundError: If there is no model at the path.
        ValueError: If an argument is wrong, the model takes features and no
            backbone is given, or it has no maps.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {_ACTIVATIONS}. "
            f"Received: activation={activation!r}"
        )
    model = _load(model)
    if isinstance(model, Path):
        run = _SavedModel(model, class_names)
    else:
        run = _KerasModel(model, _load(backbone), class_names, activation)
    part = {
        "frame_rate": frame_rate or run.frame_rate,
        "start": start,
        "end": end,
    }
    seen, rate = read_clip(video, size=size or run.frame_size, **part)
    answers = run(seen)
    action_map = answers["action_map"]
    return AttendedVideo(
        frames=_shown(video, seen, part),
        frame_rate=rate,
        action_map=action_map,
        context_map=answers["context_map"],
        centers=location_centers(
            run.backbone, action_map.shape, seen.shape[:3]
        ),
        scores=answers["scores"],
        class_names=run.class_names,
    )


class _SavedModel:
    """What `export_saved_model` wrote: uint8 frames -> answers."""

    def __init__(self, version, class_names):
        metadata = read_metadata(version)
        self._model = tf.saved_model.load(str(version))  # owns the variables
        if "video" not in self._model.signatures:
            raise ValueError(
                "`model` must take frames: export it with the backbone that "
                "made its features (`export_saved_model(..., backbone=...)`, "
                "train_actx.py's --backbone), or give the .keras file and "
                f"`backbone`. Received: model={version}, with the signatures "
                f"{sorted(self._model.signatures)}"
            )
        self.backbone = metadata["backbone"]
        self.frame_rate = metadata["frame_rate"]
        size = metadata["frame_size"]
        self.frame_size = tuple(size) if size else None
        self.class_names = _names(class_names, metadata["class_names"])

    def __call__(self, frames):
        answers = self._model.signatures["video"](
            frames=tf.constant(frames[None]),
            lengths=tf.constant([len(frames)]),
        )
        if "action_map" not in answers:
            raise ValueError("`model` must have maps. Received: one without")
        return {name: value[0].numpy() for name, value in answers.items()}


class _KerasModel:
    """A model and what made its features: uint8 frames -> answers."""

    frame_rate = None

    def __init__(self, model, backbone, class_names, activation):
        self._model = model
        self.backbone = backbone or getattr(model, "backbone", None)
        if self.backbone is None:
            raise ValueError(
                "`backbone` must be given, for `model` takes feature maps and "
                "not frames: pass the network that made those it was trained "
                "on (extract_features.py's --save_backbone writes it). "
                f"Received: backbone={backbone}"
            )
        _, _, height, width, colors = self.backbone.input_shape
        if colors != 3:
            raise ValueError(
                "`backbone` must take RGB frames. "
                f"Received: {self.backbone.name}, which takes {colors} channels"
            )
        self.frame_size = (height, width) if height and width else None
        self.class_names = class_names
        self._activation = getattr(ops, activation)

    def __call__(self, frames):
        frames = ops.convert_to_tensor(frames[None], "float32")
        features = self.backbone(frames, training=False)
        outputs = self._model.classify(features)
        if "action_map" not in outputs:
            raise ValueError(
                f"`model` must have maps. Received: {self._model.name}"
            )
        scores = self._activation(outputs["logits"])
        self.class_names = _names(
            self.class_names, list(map(str, range(scores.shape[-1])))
        )
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


def _names(given, known):
    if given is None:
        return known
    if len(given) != len(known):
        raise ValueError(
            f"`class_names` must name {len(known)} classes. "
            f"Received: class_names={list(given)}"
        )
    return list(given)


def _shown(video, seen, part):
    """The frames in the file's own shape: the backbone may see squares."""
    first = next(iter(ClipFrames(video, **part)))
    height, width = first.shape[:2]
    scale = min(1.0, _MOST_PIXELS / min(height, width))
    size = (round(scale * height), round(scale * width))
    if seen.shape[1:3] == size:
        return seen
    return read_clip(video, size=size, **part)[0]
