"""Trained models of either form, and what they answer to one clip."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

from actx_tf.export.metadata import read_metadata
from actx_tf.models.load_model import load_model
from actx_tf.models.paired_model import PairedModel
from actx_tf.ops.activations import scores as scores_of


class ExportedModel:
    """A SavedModel that `export_saved_model` wrote.

    Args:
        path: Path of its folder, that of a version.

    Attributes:
        path: The path.
        class_names: Names of the classes.
        activation: As of `PairedModel`.
        background: Names of the classes that show no action.
        description: `BackboneDescription` of what makes its features, `None`
            if it is not known.
        signatures: Names of what it answers.

    Raises:
        FileNotFoundError: If there is no such SavedModel.
        ValueError: If it is something else.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        metadata = read_metadata(path)
        self.path = Path(path)
        self.class_names = metadata["class_names"]
        self.activation = metadata["activation"]
        self.background = metadata["background"]
        self.description = metadata["backbone"]
        self.signatures = metadata["signatures"]
        self._model = tf.saved_model.load(str(path))  # owns the variables

    @property
    def takes_videos(self) -> bool:
        """Whether it holds the backbone, and so takes frames too."""
        return "video" in self.signatures

    def answer(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """As the function `answer`."""
        has_maps = "unpadded_attention" in self.signatures
        name = "unpadded_attention" if has_maps else "unpadded"
        features = tf.constant(features[np.newaxis], tf.float32)
        return _of_one_clip(self._model.signatures[name](features=features))

    def answer_video(self, frames: np.ndarray) -> dict[str, np.ndarray]:
        """The same of frames, uint8 `(frames, height, width, 3)`."""
        outputs = self._model.signatures["video"](
            frames=tf.constant(frames[np.newaxis]),
            lengths=tf.constant([len(frames)], tf.int32),
        )
        return _of_one_clip(outputs)


def load_trained(path: str | os.PathLike) -> PairedModel | ExportedModel:
    """Loads what a training left.

    Args:
        path: Path of a `.keras` file; or of a SavedModel that
            `export_saved_model` wrote: of its version, or of the folder of the
            versions, of which the highest is taken.

    Raises:
        FileNotFoundError: If there is no model.
        ValueError: If it is something else.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return ExportedModel(path)
        versions = [p for p in path.iterdir() if p.name.isdecimal()]
        if versions:
            return ExportedModel(max(versions, key=lambda p: int(p.name)))
    if not path.is_file():
        raise FileNotFoundError(
            f"no .keras file and no SavedModel (of actx_tf.export) at {path}"
        )
    model = load_model(path)
    if not isinstance(model, PairedModel):
        raise ValueError(
            f"{path}: a PairedModel, such as ActX, is expected. "
            f"Received: {type(model).__name__}"
        )
    return model


def answer(
    model: PairedModel | ExportedModel, features: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns what a trained model answers to one clip.

    Args:
        model: The model.
        features: `(time, height, width, channels)`.

    Returns:
        `scores`, `(classes,)`; and, of a model with maps, `action_map` and
        `context_map`, `(time, height, width)`.
    """
    if isinstance(model, ExportedModel):
        return model.answer(features)
    features = ops.convert_to_tensor(features[np.newaxis], "float32")
    outputs = model.classify(features)
    scores = scores_of(outputs["logits"], model.activation)
    return _of_one_clip({**outputs, "scores": scores})


def class_names_of(model: PairedModel | ExportedModel, count: int) -> list[str]:
    """Returns the names of a model's classes; numbers if it has no names."""
    return list(model.class_names or map(str, range(count)))


def _of_one_clip(outputs):
    return {
        name: ops.convert_to_numpy(outputs[name])[0]
        for name in ("scores", "action_map", "context_map")
        if name in outputs
    }
