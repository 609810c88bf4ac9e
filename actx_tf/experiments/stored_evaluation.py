"""How well a trained model does on clips of a feature store."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf import metrics
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.feature_store import FeatureStore
from actx_tf.experiments.evaluation import figures_of_scores
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import check_features
from actx_tf.export.trained_model import class_names_of
from actx_tf.export.trained_model import load_trained


@dataclasses.dataclass(frozen=True)
class StoredEvaluation:
    """What a trained model answers to clips.

    Attributes:
        class_names: Names of the classes, in the order of the scores.
        background: Those of them that show no action.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes.
        labels: Booleans `(clips, classes)`: what each clip is.
        scores: Floats `(clips, classes)`.
        rows: A row a clip: its `clip`, `label`, `answer`, the class of the
            largest score, and `score_<class>`.
        left_out: The clips that are not among them, as (name, reason).
    """

    class_names: tuple[str, ...]
    background: tuple[str, ...]
    activation: str
    labels: np.ndarray
    scores: np.ndarray
    rows: list[dict[str, Any]]
    left_out: list[tuple[str, str]]

    @property
    def is_multi_label(self) -> bool:
        """Whether a clip can be of several classes."""
        return self.activation == "sigmoid"

    @property
    def scored(self) -> np.ndarray:
        """Booleans `(classes,)`: those that show an action."""
        return np.array([x not in self.background for x in self.class_names])

    @property
    def answers(self) -> np.ndarray:
        """Booleans `(clips, classes)`: what each clip is taken for.

        The class of the largest score; where a clip can be of several, those
        of a score of 0.5 or more.
        """
        if self.is_multi_label:
            return self.scores >= 0.5
        largest = np.argmax(self.scores, axis=-1)
        return largest[:, None] == np.arange(len(self.class_names))

    @property
    def of_classes(self) -> metrics.ClassFigures:
        """What is right and wrong of each class."""
        return metrics.class_figures(self.labels, self.answers)

    @property
    def calibration(self) -> metrics.Calibration:
        """How sure the answers are, and how often they are right.

        Of the answer to each clip; where a clip can be of several classes, of
        the score of each clip and class that shows an action.
        """
        if self.is_multi_label:
            which = np.broadcast_to(self.scored, self.scores.shape)
        else:
            which = self.answers
        # A softmax can round to a little more than 1.
        scores = np.minimum(self.scores[which], 1.0)
        return metrics.calibration(scores, self.labels[which])

    @property
    def figures(self) -> dict[str, float]:
        """Figures over all clips, by name.

        `accuracy` and `mAcc`, mean class accuracy, where a clip is of one
        class. `mAP` and `mF1`, means over the classes that show an action and
        have clips. `ECE`, the expected calibration error.
        """
        truth = self.labels
        if not self.is_multi_label:
            truth = np.argmax(truth, axis=-1)
        known = self.scored & (self.of_classes.support > 0)
        f1 = self.of_classes.f1[known]
        return {
            **figures_of_scores(truth, self.scores, self.scored),
            "mF1": float(f1.mean()) if len(f1) else float("nan"),
            "ECE": self.calibration.error,
        }


def evaluate_stored(
    model: str | os.PathLike,
    *,
    features: str | os.PathLike,
    index: str | os.PathLike,
    split: str = "test",
    conjugates_column: str = "conjugates",
) -> StoredEvaluation:
    """Runs a trained model on the stored features of a split.

    Mean average precision and mean F1 leave out the classes that the model
    knows as its background, as in training.

    Args:
        model: Path of the model: see `load_trained`.
        features: Path of the feature store.
        index: Path of the clip index.
        split: Of the clips. Defaults to `"test"`.
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.

    Returns:
        A `StoredEvaluation`. Clips of which a score is not finite are left
        out, too.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is wrong, they do not fit together, or no clip is
            left.
    """
    trained = load_trained(model)
    clips = clips_of_split(read_clip_index(index, conjugates_column), split)
    rows, left_out, members, scores = [], [], [], []
    with FeatureStore(features) as store:
        check_features(trained, store.description, store.path)
        for clip in clips:
            if clip.clip not in store:
                left_out.append((clip.clip, f"not in {store.path}"))
                continue
            values = answer(trained, store[clip.clip])["scores"]
            names = class_names_of(trained, len(values))
            labels = [clip.label]
            if trained.activation == "sigmoid":
                labels = list(clip.labels)
            if unknown := sorted(set(labels) - set(names)):
                reason = f"the model does not know the class {unknown[0]!r}"
                left_out.append((clip.clip, reason))
                continue
            if not np.isfinite(values).all():
                left_out.append((clip.clip, "its scores are not finite"))
                continue
            members.append([name in labels for name in names])
            scores.append(values)
            rows.append(
                {
                    "clip": clip.clip,
                    "label": clip.label,
                    "answer": names[int(np.argmax(values))],
                    **{
                        f"score_{name}": float(value)
                        for name, value in zip(names, values, strict=True)
                    },
                }
            )
    if not rows:
        raise ValueError(
            "`features` must hold clips of classes that `model` knows, and "
            "scores finitely. "
            f"Received: {len(clips)} clips of the split {split!r}, left out "
            f"for {sorted({reason for _, reason in left_out})[:3]}"
        )
    return StoredEvaluation(
        class_names=tuple(names),
        background=tuple(trained.background),
        activation=trained.activation,
        labels=np.array(members),
        scores=np.stack(scores),
        rows=rows,
        left_out=left_out,
    )


def clips_of_split(clips: Sequence[Clip], split: str) -> list[Clip]:
    """Returns the clips of a split; raises `ValueError` if there is none."""
    if not clips:
        raise ValueError("`index` must hold a clip. Received: none")
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        raise ValueError(
            "`split` must be one of "
            f"{sorted({clip.split for clip in clips})}. "
            f"Received: split={split!r}"
        )
    return chosen
