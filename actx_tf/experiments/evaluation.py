"""How well a trained model does on a part of the data."""

from typing import Any

import keras
import numpy as np
from keras import ops

from actx_tf import metrics
from actx_tf.experiments.intervals import weighted_figures
from actx_tf.experiments.methods import METHODS
from actx_tf.experiments.run_data import Part
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_data import pick_inputs
from actx_tf.ops import activations


def class_scores(logits: Any, activation: str) -> np.ndarray:
    """Returns the scores of classes as a NumPy array: see `Task`."""
    logits = ops.convert_to_tensor(logits)
    return ops.convert_to_numpy(activations.scores(logits, activation))


def figures_of(part: Part, task: Task, scores: np.ndarray) -> dict[str, float]:
    """Returns accuracy, mean class accuracy and mean average precision.

    Where a clip can be of several classes, the last alone; and all of them a
    second time, of the clips that have conjugates, if the part tells which.

    Args:
        part: The clips.
        task: What was to be learned.
        scores: Their scores, `(clips, classes)`.
    """
    row = figures_of_scores(part.labels, scores, task.scored)
    if part.paired is not None and part.paired.any():
        paired = figures_of_scores(
            part.labels[part.paired], scores[part.paired], task.scored
        )
        row |= {f"{name} (paired)": value for name, value in paired.items()}
    return row


def figures_of_scores(
    labels: np.ndarray, scores: np.ndarray, scored: np.ndarray
) -> dict[str, float]:
    """Returns accuracy, mean class accuracy and mean average precision.

    Where a clip can be of several classes, the last alone.

    Args:
        labels: `(clips,)`, or `(clips, classes)`: see `Part`.
        scores: `(clips, classes)`.
        scored: Booleans `(classes,)`: see `Task`.
    """
    once = np.ones((1, len(scores)), int)
    figures = weighted_figures(labels, scores, scored, once)
    return {name: float(value) for name, (value,) in figures.items()}


def evaluate(
    name: str, model: keras.Model, part: Part, task: Task
) -> tuple[np.ndarray, dict[str, float], dict[str, np.ndarray]]:
    """Runs a trained method on a part of the data.

    Args:
        name: Name of the method, one of `METHODS`.
        model: The trained model.
        part: The clips.
        task: What was to be learned.

    Returns:
        The scores; the figures, with the localization AUC where the true
        voxels are known; and all outputs by name.
    """
    method = METHODS[name]
    dataset = pick_inputs(part.make_dataset(), method.inputs)
    outputs = model.predict(dataset, verbose=0)
    if not isinstance(outputs, dict):
        outputs = {"logits": outputs}
    scores = class_scores(outputs["logits"], task.activation)
    row = figures_of(part, task, scores)
    if part.voxels is not None and method.localize is not None:
        batches = [inputs for inputs, _ in dataset.as_numpy_iterator()]
        maps = [method.localize(model, inputs) for inputs in batches]
        auc = metrics.localization_auc(part.voxels, np.concatenate(maps))
        row["localization AUC"] = float(auc)
    return scores, row, outputs
