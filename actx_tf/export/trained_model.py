"""Trained models of either form, and what they answer to clips."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras import ops

from actx_tf.backbones.description import BackboneDescription
from actx_tf.export.metadata import read_metadata
from actx_tf.models.actx import ActX
from actx_tf.models.context_switch import CONTEXTS
from actx_tf.models.context_switch import check_context
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
        crop_steps: As of `PairedModel`.
        max_steps: Largest number of steps of a clip that it answers.
        memory: GiB that a request of frames may take.
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
        self.crop_steps = metadata["crop_steps"]
        self.max_steps = metadata["max_steps"]
        self.memory = metadata["memory"]
        self.signatures = metadata["signatures"]
        self._model = tf.saved_model.load(str(path))  # owns the variables

    @property
    def takes_videos(self) -> bool:
        """Whether it holds the backbone, and so takes frames too."""
        return "video_features" in self.signatures

    @property
    def contexts(self) -> tuple[str, ...]:
        """What can stand for the context: see `ActX`."""
        return tuple(x for x in CONTEXTS if f"{x}_context" in self.signatures)

    def answers(
        self, features: np.ndarray, context: str | None = None
    ) -> dict[str, np.ndarray]:
        """As the function `answers`."""
        has_maps = "unpadded_attention" in self.signatures
        name = "unpadded_attention" if has_maps else "unpadded"
        features = tf.constant(features, tf.float32)
        found = _arrays(self._model.signatures[name](features=features))
        if context is not None:  # which no map depends on
            batch, steps = features.shape[:2]
            switched = self._model.signatures[f"{context}_context"](
                features=features, lengths=tf.fill([batch], steps)
            )
            found["scores"] = switched["scores"].numpy()
        return found

    def answers_after(
        self, features: np.ndarray, earlier: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """As the function `answers_after`."""
        if not takes_earlier(self):
            return self.answers(features)
        signature = self._model.signatures["stream"]
        if earlier is None:
            _, specs = signature.structured_input_signature
            maps = specs["earlier"].shape[-1]
            earlier = _nothing_seen(features, maps)
        return _arrays(
            signature(
                features=tf.constant(features, tf.float32),
                earlier=tf.constant(earlier, tf.float32),
            )
        )

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Returns the feature map of frames.

        Args:
            frames: RGB frames, uint8 `(frames, height, width, 3)`.

        Returns:
            float32 `(time, height, width, channels)`.
        """
        outputs = self._model.signatures["video_features"](
            frames=tf.constant(frames[np.newaxis])
        )
        return outputs["features"].numpy()[0]


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


def check_switch(
    model: PairedModel | ExportedModel, context: str | None
) -> None:
    """Raises `ValueError` if a model has no such context: see `ActX`."""
    if context is None:
        return
    check_context(context)
    known: tuple[str, ...] = ()
    if isinstance(model, ExportedModel):
        known = model.contexts
    elif isinstance(model, ActX):
        known = CONTEXTS if model.context_switch.is_known() else ("keep",)
    if context not in known:
        raise ValueError(
            "`context` must be None for this model: only an ActX that was "
            "trained can answer with the context or without it. "
            f"Received: context={context!r}"
        )


def check_features(
    model: PairedModel | ExportedModel,
    description: BackboneDescription | None,
    source: str | os.PathLike,
) -> None:
    """Raises `ValueError` if features are not as the model knows them.

    Where one of the two does not say what made the features, nothing is known.
    """
    if None in (model.description, description):
        return
    if differences := model.description.differences(description):
        raise ValueError(
            "`model` must be trained on features that were made as these. "
            f"Received: {source}, with {', '.join(differences)}"
        )


def answers(
    model: PairedModel | ExportedModel,
    features: np.ndarray,
    context: str | None = None,
) -> dict[str, np.ndarray]:
    """Returns what a trained model answers to clips.

    Args:
        model: The model.
        features: `(batch, time, height, width, channels)`.
        context: `"keep"` or `"mean"`: see `check_switch`. Defaults to `None`,
            the context that the model was saved with.

    Returns:
        `scores`, `(batch, classes)`; and, of a model with maps, `action_map`
        and `context_map`, `(batch, time, height, width)`.
    """
    if isinstance(model, ExportedModel):
        return model.answers(features, context)
    tensor = ops.convert_to_tensor(features, "float32")
    if isinstance(model, ActX):
        outputs = model.classify(tensor, context=context)
    else:
        outputs = model.classify(tensor)
    scores = scores_of(outputs["logits"], model.activation)
    return _arrays({**outputs, "scores": scores})


def answers_after(
    model: PairedModel | ExportedModel,
    features: np.ndarray,
    earlier: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Returns what a trained model answers to windows of clips that go on.

    Args:
        model: The model. AttNorm and the percentile of an ActX are those of
            all that was seen; others answer windows by themselves.
        features: `(batch, time, height, width, channels)`, of the windows.
        earlier: The `confidences` of the steps before, one after the other;
            `None` if there are none.

    Returns:
        As `answers`; of an ActX also `confidences`, `(batch, time, height,
        width, maps)`.
    """
    if isinstance(model, ExportedModel):
        return model.answers_after(features, earlier)
    if not takes_earlier(model):
        return answers(model, features)
    assert isinstance(model, ActX)
    if earlier is None:
        earlier = _nothing_seen(features, 1 + model.use_attention_map)
    outputs = model.classify_after(
        ops.convert_to_tensor(features, "float32"),
        ops.convert_to_tensor(earlier, "float32"),
    )
    scores = scores_of(outputs["logits"], model.activation)
    return _arrays({**outputs, "scores": scores})


def takes_earlier(model: PairedModel | ExportedModel) -> bool:
    """Whether `answers_after` answers by what came before, too."""
    if isinstance(model, ExportedModel):
        return "stream" in model.signatures
    return isinstance(model, ActX)


def answer(
    model: PairedModel | ExportedModel,
    features: np.ndarray,
    context: str | None = None,
) -> dict[str, np.ndarray]:
    """As `answers`, of one clip: everything without its first axis."""
    of_batch = answers(model, features[np.newaxis], context)
    return {name: value[0] for name, value in of_batch.items()}


def class_names_of(model: PairedModel | ExportedModel, count: int) -> list[str]:
    """Returns the names of a model's classes; numbers if it has no names."""
    return list(model.class_names or map(str, range(count)))


def _nothing_seen(features, maps):
    batch, _, height, width, _ = features.shape
    return np.zeros((batch, 0, height, width, maps), np.float32)


def _arrays(outputs):
    return {
        name: ops.convert_to_numpy(outputs[name])
        for name in ("scores", "action_map", "context_map", "confidences")
        if name in outputs
    }
