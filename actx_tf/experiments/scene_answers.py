"""What classifiers answer to clips: a trained model, or a table of scores."""

import csv
import dataclasses
import functools
import io
import math
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from keras import ops

from actx_tf.data.clip_index import Clip
from actx_tf.data.feature_store import FeatureStore
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import check_features
from actx_tf.export.trained_model import class_names_of
from actx_tf.export.trained_model import load_trained
from actx_tf.models.actx import ActX
from actx_tf.models.paired_model import PairedModel
from actx_tf.ops.activations import scores as scores_of

_SCORE = "score_"


@dataclasses.dataclass(frozen=True)
class ContextSwitched:
    """What an `ActX` answers to clips with another context.

    Attributes:
        context: What its `context` is then, `"mean"` or `"keep"`.
        scores: The scores then, `(classes,)` of each clip, by its name.
        swap: Function from the names of two clips to the scores of the first
            with the F_c of the second.
    """

    context: str
    scores: Mapping[str, np.ndarray]
    swap: Callable[[str, str], np.ndarray]


@dataclasses.dataclass(frozen=True)
class SceneAnswers:
    """What a classifier answers to clips.

    Attributes:
        class_names: Names of its classes.
        scores: `(classes,)` of each clip, by its name.
        where: Where the clips are, to say that one is not.
        switched: With another context; `None` if it has no switch.
    """

    class_names: list[str]
    scores: Mapping[str, np.ndarray]
    where: str
    switched: ContextSwitched | None = None


def open_classifier(
    model: str | os.PathLike | None = None,
    features: str | os.PathLike | None = None,
    scores: str | os.PathLike | Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[tuple[str, ...], Callable[[Iterable[str]], SceneAnswers]]:
    """Opens a trained model, or a table of scores.

    Args:
        model: See `scene_report`.
        features: See `scene_report`.
        scores: See `scene_report`.

    Returns:
        The labels that it knows as its background; and a function from the
        names of clips to what it answers to them.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the arguments do not go together, or a file is wrong.
    """
    if scores is not None and model is None and features is None:
        answers = given_answers(scores)
        return (), lambda names: answers
    if scores is None and model is not None and features is not None:
        trained = load_trained(model)
        return tuple(trained.background), functools.partial(
            answers_of_model, trained, features
        )
    raise ValueError(
        "`model` and `features` must be given, or `scores` alone. "
        f"Received: model={model}, features={features}, "
        f"scores={'given' if isinstance(scores, Mapping) else scores}"
    )


def labels_of(clip: Clip, answers: SceneAnswers) -> tuple[str, ...]:
    """The classes of a clip: its label is one's name, or several with `|`."""
    if clip.label in answers.class_names:
        return (clip.label,)
    return clip.labels


def answers_of_model(
    model: PairedModel | ExportedModel,
    features: str | os.PathLike,
    names: Iterable[str],
) -> SceneAnswers:
    """Runs a trained model on clips of a feature store.

    Args:
        model: The model. An `ActX` that is trained is also run with another
            context.
        features: Path of the feature store.
        names: Names of the clips; those that are not in the store are passed
            over.

    Raises:
        FileNotFoundError: If there is no store.
        ValueError: If the features are not as the model knows them, or the
            store has none of the clips.
    """
    switched = None
    with FeatureStore(features) as store:
        check_features(model, store.description, store.path)
        stored = [name for name in names if name in store]
        if not stored:
            raise ValueError(
                "`features` must hold clips of the index that have conjugates. "
                f"Received: {store.path}, without any of them"
            )
        if isinstance(model, ActX) and model.context_switch.is_known():
            scores, switched = _answers_of_actx(model, store, stored)
        else:
            scores = {x: answer(model, store[x])["scores"] for x in stored}
        where = str(store.path)
    class_names = class_names_of(model, len(scores[stored[0]]))
    return SceneAnswers(class_names, scores, where, switched)


def _answers_of_actx(model, store, names):
    """The scores as the model is, and with another context."""

    def head(vector, context=None):
        vector = model.context_switch(vector, context=context)
        scores = scores_of(model.head(vector), model.activation)
        return ops.convert_to_numpy(scores)[0]

    pooled = {}  # F_s and F_c
    for name in names:
        clip = ops.convert_to_tensor(store[name][np.newaxis], "float32")
        pooled[name] = ops.convert_to_numpy(model.pooling(clip))

    def swap(name, other):
        action, _ = np.split(pooled[name], 2, axis=-1)
        _, of_context = np.split(pooled[other], 2, axis=-1)
        return head(np.concatenate([action, of_context], axis=-1))

    context = "mean" if model.context == "keep" else "keep"
    scores = {name: head(pooled[name]) for name in names}
    others = {name: head(pooled[name], context) for name in names}
    return scores, ContextSwitched(context, others, swap)


def given_answers(
    scores: str | os.PathLike | Mapping[str, Mapping[str, float]],
) -> SceneAnswers:
    """Takes scores that were made elsewhere.

    Args:
        scores: See `scene_report`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not understood.
    """
    if not isinstance(scores, Mapping):
        return _read(Path(scores))
    if not scores:
        raise ValueError("`scores` must hold clips. Received: none")
    class_names = list(next(iter(scores.values())))
    arrays = {}
    for name, of_clip in scores.items():
        values = np.array(list(of_clip.values()), float)
        if list(of_clip) != class_names or not np.isfinite(values).all():
            raise ValueError(
                "`scores` must hold finite scores of the same classes, in the "
                f"same order, of each clip, such as {class_names}. Received: "
                f"{dict(of_clip)} of clip {name!r}"
            )
        arrays[name] = values
    _check_classes(class_names)
    return SceneAnswers(class_names, arrays, "`scores`")


def _read(path):
    """Reads a table of scores."""
    if not path.is_file():
        raise FileNotFoundError(f"no table of scores at {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    scores: dict[str, np.ndarray] = {}
    try:
        header = next(rows, [])
        places = [
            place
            for place, name in enumerate(header)
            if name.startswith(_SCORE)
        ]
        if "clip" not in header or len(set(header)) < len(header):
            raise ValueError(
                "expected the columns clip and score_<class> of each class, "
                f"each once. Received: {header}"
            )
        class_names = [header[place][len(_SCORE) :] for place in places]
        _check_classes(class_names)
        for fields in rows:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"expected {len(header)} fields. Received: {len(fields)}"
                )
            name = fields[header.index("clip")]
            if name in scores:
                raise ValueError(f"clip {name!r} is there twice")
            values = [_number(fields[place]) for place in places]
            if not all(map(math.isfinite, values)):
                raise ValueError(
                    "scores must be finite numbers. "
                    f"Received: {[fields[place] for place in places]}"
                )
            scores[name] = np.array(values)
        if not scores:
            raise ValueError("the table has no clip")
    except (ValueError, csv.Error) as error:
        line = max(rows.line_num, 1)
        raise ValueError(f"{path}:{line}: {error}") from error
    return SceneAnswers(class_names, scores, str(path))


def _check_classes(class_names):
    if len(class_names) < 2:
        raise ValueError(
            "`scores` must be of two classes or more, each in a column "
            f"{_SCORE}<class>. Received: {class_names}"
        )


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
