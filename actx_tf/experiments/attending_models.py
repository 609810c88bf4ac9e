"""Trained models of either form, from one clip to its maps."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from actx_tf.export.metadata import read_metadata
from actx_tf.models import ActX
from actx_tf.models import load_model


def load_attending_model(
    path: str | os.PathLike,
) -> "_KerasModel | _SavedModel":
    """Loads an `ActX` (`.keras`), or a version of a SavedModel.

    Returns:
        An object with `of_features(features)` and, if it `takes_videos`,
        `of_video(frames)`: of one clip, to its maps by name, S and 1 - C, each
        `(time, height, width)`. Its `description` is that of what made the
        features it was trained on, `None` if it is not known.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If it is something else.
    """
    if Path(path).suffix == ".keras":
        return _KerasModel(path)
    return _SavedModel(path)


class _KerasModel:
    """An `ActX`: a clip's features -> its maps."""

    takes_videos = False

    def __init__(self, path):
        self._model = load_model(path)
        if not isinstance(self._model, ActX):
            raise ValueError(
                f"{path}: an ActX is expected. "
                f"Received: {type(self._model).__name__}"
            )
        self.description = self._model.description

    def of_features(self, features):
        features = tf.constant(features[np.newaxis], tf.float32)
        return _to_maps(self._model.classify(features))


class _SavedModel:
    """What `export_saved_model` wrote: features or frames -> maps."""

    def __init__(self, path):
        metadata = read_metadata(path)
        if "unpadded_attention" not in metadata["signatures"]:
            raise ValueError(f"{path}: a model with maps is expected")
        self._model = tf.saved_model.load(str(path))  # owns the variables
        self.description = metadata["backbone"]
        self.takes_videos = "video" in metadata["signatures"]

    def of_features(self, features):
        features = tf.constant(features[np.newaxis], tf.float32)
        answer = self._model.signatures["unpadded_attention"]
        return _to_maps(answer(features=features))

    def of_video(self, frames):
        lengths = tf.constant([len(frames)], tf.int32)
        frames = tf.constant(frames[np.newaxis])
        answer = self._model.signatures["video"]
        return _to_maps(answer(frames=frames, lengths=lengths))


def _to_maps(outputs):
    return {
        "S": outputs["action_map"].numpy()[0],
        "1 - C": 1.0 - outputs["context_map"].numpy()[0],
    }
