"""How well clips are classified, over a whole evaluation.

Plain functions of `keras.ops` for those who hold all the scores, and Keras
metrics that gather them batch by batch.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from actx_tf.metrics.ranking import gains_by_score
from actx_tf.ops.replicas import gather_from_replicas
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_positive


def mean_average_precision(labels: Tensor, scores: Tensor) -> Tensor:
    """Mean over the classes of the average precision.

    Equal to scikit-learn's `average_precision_score`, ties included: the mean,
    over a class's positive clips, of the precision at their score.

    Args:
        labels: Integers `(clips,)`, or zeros and ones `(clips, classes)` where
            a clip can be of several classes.
        scores: Floats `(clips, classes)`, larger for more likely. Only their
            order within a class counts: logits and probabilities that order
            the clips alike give the same.

    Returns:
        Scalar in [0, 1], float32. Classes without a positive clip are left
        out; NaN if there is none at all, or a score is NaN.

    Raises:
        ValueError: If the shapes are others.
    """
    scores = _scores(scores=scores)
    member = _membership(scores.shape[1], labels=labels)
    weight = ops.ones_like(scores[:, 0], dtype="float32")
    return _mean_average_precision(member, scores, weight)


def mean_class_accuracy(labels: Tensor, scores: Tensor) -> Tensor:
    """Mean over the classes of the share of their clips that are right.

    Args:
        labels: Integers `(clips,)`.
        scores: Floats `(clips, classes)`; the largest is the answer.

    Returns:
        Scalar in [0, 1], float32. Classes without a clip are left out; NaN if
        there is no clip at all.

    Raises:
        ValueError: If the shapes are others.
    """
    scores = _scores(scores=scores)
    member = _membership(scores.shape[1], multi_label=False, labels=labels)
    weight = ops.ones_like(scores[:, 0], dtype="float32")
    return _mean_of_ratios(*_right_and_total(member, scores, weight))


@keras.saving.register_keras_serializable(package="actx_tf")
class MeanAveragePrecision(keras.metrics.Metric):
    """`mean_average_precision` of the clips of all batches.

    Average precision needs all scores at once, so the metric keeps them, in
    float32 whatever the dtype policy: `4 * (2 * classes + 1)` bytes a clip of
    `capacity`, 2.5 MB for 10,000 clips of 31 classes. `result` sorts all of
    it, the rows still free too: O(capacity log(capacity)) a class, no more
    than scikit-learn takes for as many clips. `fit` and `evaluate` call it
    after every step, so give no more capacity than the larger data set needs.

    Under `tf.distribute` each replica gathers the clips of all of them, in
    replica context (`strategy.run`, `fit`, `evaluate`), and each result is
    that of a single process: also the one of a step. `capacity` is for all
    replicas together, and each holds that much.

    Args:
        num_classes: Number of classes of labels and scores.
        classes: Optional numbers of the classes over which the mean is taken,
            for instance all but a background class, whose clips still count
            as negative ones. Defaults to `None`: all.
        capacity: Number of clips that there is room for between two resets.
            With more the result is NaN, and a warning says so where it is not
            computed inside of a graph. Defaults to `10_000`.
        name: Name of the metric. Defaults to `"mean_average_precision"`.
        dtype: As for any metric of Keras; without effect. Defaults to `None`.

    Call arguments:
        y_true: Integers `(batch,)`, or zeros and ones `(batch, classes)` where
            a clip can be of several classes. A clip whose integer is not a
            class is of none.
        y_pred: Floats `(batch, classes)`, larger for more likely: logits or
            probabilities.
        sample_weight: Optional floats `(batch,)`, not negative: what a clip
            counts, as in scikit-learn. Zero leaves a clip out, which then
            takes no room. Keras gives it to `weighted_metrics` alone, not to
            `metrics`.

    Returns:
        Scalar in [0, 1], float32. Classes without a positive clip are left
        out; NaN if there is none at all, as before the first batch, or a score
        is NaN, or a weight is negative or NaN.

    Raises:
        ValueError: If an argument is not as above, or a shape is another.

    Example:

    >>> metric = actx_tf.metrics.MeanAveragePrecision(num_classes=2)
    >>> metric.update_state([0, 1], [[0.9, 0.1], [0.8, 0.2]])
    >>> metric.update_state([1], [[0.3, 0.7]])
    >>> float(metric.result())
    1.0

    In training: `model.compile(metrics=[MeanAveragePrecision(31)])`.
    """

    def __init__(
        self,
        num_classes: int,
        classes: Sequence[int] | None = None,
        capacity: int = 10_000,
        name: str = "mean_average_precision",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        check_positive("num_classes", num_classes)
        check_positive("capacity", capacity)
        if classes is not None:
            distinct = set(classes) & set(range(num_classes))
            if not distinct or len(distinct) != len(classes):
                raise ValueError(
                    "`classes` must be distinct integers in [0, "
                    f"{num_classes}), at least one. Received: classes={classes}"
                )
            classes = [int(k) for k in classes]  # JSON has no range
        self.num_classes = num_classes
        self.classes = classes
        self.capacity = capacity
        # Callbacks with `mode="auto"` ask for this.
        self._direction = "up"
        kept = num_classes if classes is None else len(classes)
        # The same on every replica, so that the first one speaks for all.
        state = {"initializer": "zeros", "aggregation": "only_first_replica"}
        # Weight, membership, scores of each clip. Free rows weigh nothing; the
        # last one is written and never read.
        self._clips = self.add_variable(
            (capacity + 1, 1 + 2 * kept), dtype="float32", name="clips", **state
        )
        self._count = self.add_variable((), dtype="int", name="count", **state)

    def update_state(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> None:
        scores = ops.cast(_scores(self.num_classes, y_pred=y_pred), "float32")
        member = _membership(self.num_classes, y_true=y_true)
        if self.classes is not None:
            scores = ops.take(scores, self.classes, axis=1)
            member = ops.take(member, self.classes, axis=1)
        weight = _weight(sample_weight, scores)
        clips = ops.concatenate(
            [weight[:, None], ops.cast(member, "float32"), scores], axis=1
        )
        clips = gather_from_replicas(clips)
        counts = ops.cast(clips[:, 0] != 0, self._count.dtype)
        row = self._count + ops.cumsum(counts) - 1
        # What does not count, or has no room, goes to the last row.
        row = ops.where(counts > 0, row, self.capacity)
        row = ops.clip(row, 0, self.capacity)
        self._clips.assign(ops.scatter_update(self._clips, row[:, None], clips))
        self._count.assign(self._count + ops.sum(counts))

    def result(self) -> Tensor:
        clips = self._clips[: self.capacity]
        member, scores = ops.split(clips[:, 1:], 2, axis=1)
        value = _mean_average_precision(member > 0, scores, clips[:, 0])
        count = ops.convert_to_tensor(self._count)
        self._warn_when_full(count)
        return ops.where(count > self.capacity, float("nan"), value)

    def _warn_when_full(self, count):
        try:
            count = int(ops.convert_to_numpy(count))
        except (NotImplementedError, TypeError):
            return  # no number yet, in a graph
        if count > self.capacity:
            warnings.warn(
                f"`{self.name}` is NaN: it got {count} clips and has room for "
                f"capacity={self.capacity}.",
                stacklevel=3,
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "classes": self.classes,
            "capacity": self.capacity,
        }


@keras.saving.register_keras_serializable(package="actx_tf")
class MeanClassAccuracy(keras.metrics.Metric):
    """`mean_class_accuracy` of the clips of all batches.

    Under `tf.distribute` the counts are summed over the replicas where the
    result is read outside of them, as for Keras' own metrics: at the end of an
    epoch of `fit`, of `evaluate`, or after `strategy.run`.

    Args:
        num_classes: Number of classes of labels and scores.
        name: Name of the metric. Defaults to `"mean_class_accuracy"`.
        dtype: As for any metric of Keras; without effect, the counts are
            float32. Defaults to `None`.

    Call arguments:
        y_true: Integers `(batch,)`. A clip whose integer is not a class is
            left out.
        y_pred: Floats `(batch, classes)`; the largest is the answer.
        sample_weight: Optional floats `(batch,)`, not negative: what a clip
            counts; zero leaves it out. Keras gives it to `weighted_metrics`
            alone, not to `metrics`.

    Returns:
        Scalar in [0, 1], float32. Classes without a clip are left out; NaN if
        there is no clip at all, as before the first batch, or a weight is
        negative or NaN.

    Raises:
        ValueError: If `num_classes` is not positive, or a shape is another.

    Example:

    >>> metric = actx_tf.metrics.MeanClassAccuracy(num_classes=2)
    >>> metric.update_state([0, 0, 1], [[9, 1], [1, 9], [1, 9]])
    >>> float(metric.result())
    0.75
    """

    def __init__(
        self,
        num_classes: int,
        name: str = "mean_class_accuracy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        check_positive("num_classes", num_classes)
        self.num_classes = num_classes
        # Callbacks with `mode="auto"` ask for this.
        self._direction = "up"
        state = {"initializer": "zeros", "dtype": "float32"}
        self._right = self.add_variable((num_classes,), name="right", **state)
        self._total = self.add_variable((num_classes,), name="total", **state)

    def update_state(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> None:
        scores = _scores(self.num_classes, y_pred=y_pred)
        member = _membership(self.num_classes, multi_label=False, y_true=y_true)
        weight = _weight(sample_weight, scores)
        right, total = _right_and_total(member, scores, weight)
        self._right.assign(self._right + right)
        self._total.assign(self._total + total)

    def result(self) -> Tensor:
        return _mean_of_ratios(self._right, self._total)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


def _mean_average_precision(member, scores, weight):
    """Of booleans and floats `(clips, classes)` and of weights `(clips,)`."""
    weight = weight[:, None]
    # A NaN has no place in the order.
    scores = ops.where(weight != 0, scores, 0.0)
    unordered = ops.any(ops.isnan(scores))
    # The weights of positive clips are positive.
    signed = ops.where(member, weight, -weight)
    gains = gains_by_score(ops.transpose(scores), ops.transpose(signed))
    found, seen = ops.unstack(ops.cumsum(gains, axis=1), axis=-1)
    precision = found / ops.where(seen == 0, 1.0, seen)
    gained = gains[..., 0]
    value = _mean_of_ratios(
        ops.sum(gained * precision, axis=1), ops.sum(gained, axis=1)
    )
    return ops.where(unordered, float("nan"), value)


def _right_and_total(member, scores, weight):
    """Weights of each class's clips: of those that are right, and of all."""
    answer = ops.argmax(scores, axis=-1)
    answer = ops.one_hot(answer, scores.shape[1], dtype="bool")
    right, total = (
        ops.sum(ops.where(which, weight[:, None], 0.0), axis=0)
        for which in (ops.logical_and(member, answer), member)
    )
    return right, total


def _mean_of_ratios(parts, totals):
    """Mean of `parts / totals` over the classes that have a total."""
    totals = ops.convert_to_tensor(totals)
    known = totals != 0
    ratios = ops.where(known, parts / ops.where(known, totals, 1.0), 0.0)
    return ops.sum(ratios) / ops.sum(ops.cast(known, "float32"))


def _scores(num_classes=None, **scores):
    ((name, scores),) = scores.items()
    scores = ops.convert_to_tensor(scores)
    shape = tuple(scores.shape)
    if len(shape) != 2 or num_classes not in (None, shape[1]):
        raise ValueError(
            f"`{name}` must have the shape (clips, "
            f"{num_classes or 'classes'}). Received: {name}.shape={shape}"
        )
    return scores


def _membership(num_classes, multi_label=True, **labels):
    """Booleans `(clips, classes)`."""
    ((name, labels),) = labels.items()
    labels = ops.convert_to_tensor(labels)
    shape = tuple(labels.shape)
    if len(shape) == 1:
        classes = ops.arange(num_classes, dtype="int32")
        return ops.cast(labels, "int32")[:, None] == classes
    if not multi_label or shape[1:] != (num_classes,):
        raise ValueError(
            f"`{name}` must be integers (clips,)"
            + f", or zeros and ones (clips, {num_classes})" * multi_label
            + f". Received: {name}.shape={shape}"
        )
    return ops.cast(labels, "float32") > 0.5


def _weight(sample_weight, scores):
    """Floats `(clips,)`, NaN instead of what is negative."""
    if sample_weight is None:
        return ops.ones_like(scores[:, 0], dtype="float32")
    weight = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    if len(weight.shape) > 1:
        raise ValueError(
            "`sample_weight` must have the shape (clips,). Received: "
            f"sample_weight.shape={tuple(weight.shape)}"
        )
    weight = ops.where(weight >= 0, weight, float("nan"))
    return ops.broadcast_to(weight, ops.shape(scores)[:1])
