"""How well a trained model does on clips of a feature store."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.feature_store import FeatureStore
from actx_tf.experiments.evaluation import figures_of_scores
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import class_names_of
from actx_tf.export.trained_model import load_trained
from actx_tf.models.paired_model import PairedModel


def evaluate_stored(
    model: str | os.PathLike,
    *,
    features: str | os.PathLike,
    index: str | os.PathLike,
    split: str = "test",
    conjugates_column: str = "conjugates",
) -> tuple[dict[str, float], list[dict[str, Any]], list[tuple[str, str]]]:
    """Runs a trained model on the stored features of a split.

    Mean average precision leaves out the classes that the model knows as its
    background, as in training.

    Args:
        model: Path of the model: see `load_trained`.
        features: Path of the feature store.
        index: Path of the clip index.
        split: Of the clips. Defaults to `"test"`.
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.

    Returns:
        The figures by name, as of `figures_of_scores`; rows of a clip each,
        with its `clip`, `label`, `answer` and `score_<class>`; and the clips
        left out, as (name, reason).

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is wrong, they do not fit together, or no clip is
            left.
    """
    trained = load_trained(model)
    clips = clips_of_split(read_clip_index(index, conjugates_column), split)
    rows, left_out, members, scores = [], [], [], []
    with FeatureStore(features) as store:
        check_features(trained, store)
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
            "`features` must hold clips of classes that `model` knows. "
            f"Received: {len(clips)} clips of the split {split!r}, left out "
            f"for {sorted({reason for _, reason in left_out})[:3]}"
        )
    truth = np.array(members, np.int32)
    if trained.activation != "sigmoid":
        truth = np.argmax(truth, axis=-1)
    scored = np.array([name not in trained.background for name in names])
    figures = figures_of_scores(truth, np.stack(scores), scored)
    return figures, rows, left_out


def clips_of_split(clips: Sequence[Clip], split: str) -> list[Clip]:
    """Returns the clips of a split; raises `ValueError` if there is none."""
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        raise ValueError(
            "`split` must be one of "
            f"{sorted({clip.split for clip in clips})}. "
            f"Received: split={split!r}"
        )
    return chosen


def check_features(
    model: PairedModel | ExportedModel, store: FeatureStore
) -> None:
    """Raises `ValueError` if the features are not as the model knows them.

    Where one of the two does not say what made the features, nothing is known.
    """
    if None in (model.description, store.description):
        return
    if differences := model.description.differences(store.description):
        raise ValueError(
            "`features` must be made as those that `model` was trained on. "
            f"Received: {store.path}, with {', '.join(differences)}"
        )
