"""Metrics over a whole evaluation.

Plain functions of `keras.ops` for one who holds all the scores, and Keras
metrics that gather them batch by batch.
"""

import warnings

import keras
import numpy as np
from keras import ops

from actx_tf.ops.masks import broadcast_mask
from actx_tf.utils.checks import check_positive


def mean_average_precision(labels, scores):
    """Mean over the classes of the average precision.

    Equal to scikit-learn's `average_precision_score`, ties included: the mean,
    over a class's positive clips, of the precision at their score.

    Args:
        labels: integers `(clips,)`, or zeros and ones `(clips, classes)` where
            a clip can be of several classes.
        scores: floats `(clips, classes)`, larger for more likely. Only their
            order within a class counts: logits and probabilities that order
            the clips alike give the same.

    Returns:
        Scalar in [0, 1], float32. Classes without a positive clip are left
        out; NaN if there is none at all, or a score is NaN.

    Raises:
        ValueError: if the shapes are others.
    """
    scores = _scores(scores=scores)
    member = _membership(scores.shape[1], labels=labels)
    weight = ops.ones_like(scores[:, 0], dtype="float32")
    return _mean_average_precision(member, scores, weight)


def mean_class_accuracy(labels, scores):
    """Mean over the classes of the share of their clips that are right.

    Args:
        labels: integers `(clips,)`.
        scores: floats `(clips, classes)`; the largest is the answer.

    Returns:
        Scalar in [0, 1], float32. Classes without a clip are left out; NaN if
        there is no clip at all.

    Raises:
        ValueError: if the shapes are others.
    """
    scores = _scores(scores=scores)
    member = _membership(scores.shape[1], multi_label=False, labels=labels)
    weight = ops.ones_like(scores[:, 0], dtype="float32")
    return _mean_of_ratios(*_right_and_total(member, scores, weight))


def localization_auc(voxels, scores, mask=None):
    """Mean over the clips of the area under the ROC curve of a map.

    For each clip, the probability that a true voxel scores higher than
    another one; ties count one half (Mann and Whitney). 0.5 is chance.

    Args:
        voxels: booleans `(clips, time, height, width)`, True where the action
            is; or `(clips, time)`, when it is.
        scores: floats of the same shape.
        mask: optional booleans, True where a location is real: of the same
            shape, or `(clips, time)`. Defaults to `None`: all are.

    Returns:
        Scalar in [0, 1], float32. Clips with no true voxel, or with nothing
        else, are left out; NaN if there is no other clip, or a score is NaN.

    Raises:
        ValueError: if the shapes do not fit.
    """
    return _mean_of_known(*_localization_auc(voxels, scores, mask))


def pointing_game(voxels, scores, mask=None, tolerance=0.0, each_step=True):
    """Share of the maxima of a map that hit the action.

    Of each step that shows action, the largest score is a hit if it lies in a
    true voxel, or at most `tolerance` away from one of its step; a clip's
    value is the share of its steps that are hits. Where several locations
    share the largest score, the share of these that hit counts, so that a
    constant map has the value of chance: the share of the step that is true
    (with a tolerance, of what is near to it).

    Args:
        voxels: booleans `(clips, time, height, width)`, True where the action
            is.
        scores: floats of the same shape.
        mask: optional booleans, True where a location is real: of the same
            shape, or `(clips, time)`. Defaults to `None`: all are.
        tolerance: float >= 0, in voxels of height and width (Euclidean). The
            reference takes 15 pixels. Defaults to `0.0`.
        each_step: boolean. If False, the single largest score of the clip
            counts, wherever it is. Defaults to `True`.

    Returns:
        Scalar in [0, 1], float32: the mean over the clips. Clips with no true
        voxel are left out; NaN if there is no other clip, or a score is NaN.

    Raises:
        ValueError: if the shapes do not fit, or `tolerance` is negative.

    Reference:

    - Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV
      2016, of images and boxes or masks of objects.
    """
    return _mean_of_known(
        *_pointing_game(voxels, scores, mask, tolerance, each_step)
    )


def energy_inside(voxels, scores, mask=None):
    """Share of a map's sum that falls inside the action.

    ```
    sum_k voxels_k scores_k / sum_k scores_k
    ```

    A constant map has the share of the clip's volume that is action: chance.

    Args:
        voxels: booleans `(clips, time, height, width)`, True where the action
            is.
        scores: floats >= 0 of the same shape.
        mask: optional booleans, True where a location is real: of the same
            shape, or `(clips, time)`. Defaults to `None`: all are.

    Returns:
        Scalar in [0, 1], float32: the mean over the clips. Clips with no true
        voxel are left out; NaN if there is no other clip, or the scores of a
        clip sum to zero, or one is negative or NaN.

    Raises:
        ValueError: if the shapes do not fit.

    Reference:

    - Wang et al., Score-CAM, CVPR Workshops 2020: the energy-based pointing
      game.
    """
    return _mean_of_known(*_energy_inside(voxels, scores, mask))


def temporal_overlap(steps, scores, mask=None, threshold=0.5):
    """Overlap in time of the action and of where a score is high.

    ```
    IoU = |A and B| / |A or B|
    ```

    A are the steps that show action, B those whose score is at least
    `threshold` of the way from the clip's smallest to its largest; either may
    be several stretches. A constant score has the share of the clip that is
    action.

    Args:
        steps: booleans `(clips, time)`, True while the action lasts.
        scores: floats of the same shape, such as the mean of an action map
            over each step.
        mask: optional booleans of the same shape, True where a step is real.
            Defaults to `None`: all are.
        threshold: float in [0, 1]. Defaults to `0.5`.

    Returns:
        Scalar in [0, 1], float32: the mean over the clips. Clips without
        action are left out; NaN if there is no other clip, or a score is NaN.

    Raises:
        ValueError: if the shapes do not fit, or `threshold` is not in [0, 1].

    Reference:

    - Caba Heilbron et al., ActivityNet, CVPR 2015, for the temporal IoU.
      A threshold relative to a map's own values is that of Zhou et al.,
      Learning Deep Features for Discriminative Localization, CVPR 2016, who
      take 0 for the smallest.
    """
    return _mean_of_known(*_temporal_overlap(steps, scores, mask, threshold))


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
        num_classes: integer. Number of classes of labels and scores.
        classes: optional sequence of integers. The classes over which the
            mean is taken, for instance all but a background class, whose clips
            still count as negative ones. Defaults to `None`: all.
        capacity: integer. The number of clips there is room for between two
            resets. With more the result is NaN, and a warning says so where
            it is not computed inside of a graph. Defaults to `10_000`.
        name: string. Defaults to `"mean_average_precision"`.
        dtype: as for any metric of Keras; without effect.

    Call arguments:
        y_true: integers `(batch,)`, or zeros and ones `(batch, classes)` where
            a clip can be of several classes. An integer that is no class makes
            a clip that is of none.
        y_pred: floats `(batch, classes)`, larger for more likely: logits or
            probabilities.
        sample_weight: optional floats `(batch,)`, not negative: what a clip
            counts, as in scikit-learn. Zero leaves a clip out, which then
            takes no room. Keras gives it to `weighted_metrics` alone, not to
            `metrics`.

    Returns:
        Scalar in [0, 1], float32. Classes without a positive clip are left
        out; NaN if there is none at all, as before the first batch, or a score
        is NaN, or a weight is negative or NaN.

    Raises:
        ValueError: if an argument is not as above, or a shape is another.

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
        num_classes,
        classes=None,
        capacity=10_000,
        name="mean_average_precision",
        dtype=None,
    ):
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

    def update_state(self, y_true, y_pred, sample_weight=None):
        scores = ops.cast(_scores(self.num_classes, y_pred=y_pred), "float32")
        member = _membership(self.num_classes, y_true=y_true)
        if self.classes is not None:
            scores = ops.take(scores, self.classes, axis=1)
            member = ops.take(member, self.classes, axis=1)
        weight = _weight(sample_weight, scores)
        clips = ops.concatenate(
            [weight[:, None], ops.cast(member, "float32"), scores], axis=1
        )
        clips = _of_all_replicas(clips)
        counts = ops.cast(clips[:, 0] != 0, self._count.dtype)
        row = self._count + ops.cumsum(counts) - 1
        # What does not count, or has no room, goes to the last row.
        row = ops.where(counts > 0, row, self.capacity)
        row = ops.clip(row, 0, self.capacity)
        self._clips.assign(ops.scatter_update(self._clips, row[:, None], clips))
        self._count.assign(self._count + ops.sum(counts))

    def result(self):
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

    def get_config(self):
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
        num_classes: integer. Number of classes of labels and scores.
        name: string. Defaults to `"mean_class_accuracy"`.
        dtype: as for any metric of Keras; without effect, the counts are
            float32.

    Call arguments:
        y_true: integers `(batch,)`. A clip of an integer that is no class is
            left out.
        y_pred: floats `(batch, classes)`; the largest is the answer.
        sample_weight: optional floats `(batch,)`, not negative: what a clip
            counts; zero leaves it out. Keras gives it to `weighted_metrics`
            alone, not to `metrics`.

    Returns:
        Scalar in [0, 1], float32. Classes without a clip are left out; NaN if
        there is no clip at all, as before the first batch, or a weight is
        negative or NaN.

    Raises:
        ValueError: if `num_classes` is not positive, or a shape is another.

    Example:

    >>> metric = actx_tf.metrics.MeanClassAccuracy(num_classes=2)
    >>> metric.update_state([0, 0, 1], [[9, 1], [1, 9], [1, 9]])
    >>> float(metric.result())
    0.75
    """

    def __init__(self, num_classes, name="mean_class_accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)
        check_positive("num_classes", num_classes)
        self.num_classes = num_classes
        # Callbacks with `mode="auto"` ask for this.
        self._direction = "up"
        state = {"initializer": "zeros", "dtype": "float32"}
        self._right = self.add_variable((num_classes,), name="right", **state)
        self._total = self.add_variable((num_classes,), name="total", **state)

    def update_state(self, y_true, y_pred, sample_weight=None):
        scores = _scores(self.num_classes, y_pred=y_pred)
        member = _membership(self.num_classes, multi_label=False, y_true=y_true)
        weight = _weight(sample_weight, scores)
        right, total = _right_and_total(member, scores, weight)
        self._right.assign(self._right + right)
        self._total.assign(self._total + total)

    def result(self):
        return _mean_of_ratios(self._right, self._total)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(package="actx_tf")
class MeanLocalization(keras.metrics.Metric):
    """One of the figures of localization, over the clips of all batches.

    Batches may differ in length and size, and are padded under a mask. Under
    `tf.distribute` it is summed over the replicas as `MeanClassAccuracy` is.

    Args:
        figure: `"localization_auc"`, `"pointing_game"`, `"energy_inside"` or
            `"temporal_overlap"`: the function of this name.
        options: optional dictionary of that function's further arguments, such
            as `{"tolerance": 1.0}`. Defaults to `None`.
        name: string. Defaults to the name of the figure.
        dtype: as for any metric of Keras; without effect, sums are float32.

    Call arguments:
        y_true: booleans, where the action is; see the function.
        y_pred: floats of the same shape, a map.
        sample_weight: optional floats `(batch,)`: what a clip counts.
        mask: optional booleans, True where a location is real.

    Attributes:
        left_out: how many clips, of those that weigh anything, were left out,
            as the function says.

    Returns:
        Scalar in [0, 1], float32; NaN if there is no clip but those left out.

    Raises:
        ValueError: if an argument is not as above, or a shape is another.

    Example:

    >>> metric = actx_tf.metrics.MeanLocalization("energy_inside")
    >>> metric.update_state([[[[True, False]]]], [[[[3.0, 1.0]]]])
    >>> metric.update_state([[[[False, False]]]], [[[[3.0, 1.0]]]])
    >>> float(metric.result()), int(metric.left_out)
    (0.75, 1)
    """

    def __init__(self, figure, options=None, name=None, dtype=None):
        if figure not in _FIGURES:
            raise ValueError(
                f"`figure` must be one of {sorted(_FIGURES)}. "
                f"Received: figure={figure!r}"
            )
        super().__init__(name=name or figure, dtype=dtype)
        self.figure = figure
        self.options = dict(options or {})
        # Callbacks with `mode="auto"` ask for this.
        self._direction = "up"
        state = {"shape": (), "initializer": "zeros", "dtype": "float32"}
        self._total = self.add_variable(name="total", **state)
        self._count = self.add_variable(name="count", **state)
        self.left_out = self.add_variable(name="left_out", **state)

    def update_state(self, y_true, y_pred, sample_weight=None, mask=None):
        values, known = _FIGURES[self.figure](
            y_true, y_pred, mask, **self.options
        )
        weight = _weight(sample_weight, values[:, None])
        counts = ops.where(known, weight, 0.0)
        values = ops.where(counts == 0, 0.0, values)
        unknown = ops.logical_and(weight != 0, ops.logical_not(known))
        self._total.assign(self._total + ops.sum(counts * values))
        self._count.assign(self._count + ops.sum(counts))
        self.left_out.assign(
            self.left_out + ops.sum(ops.cast(unknown, "float32"))
        )

    def result(self):
        count = ops.convert_to_tensor(self._count)
        mean = self._total / ops.where(count == 0, 1.0, count)
        return ops.where(count == 0, float("nan"), mean)

    def get_config(self):
        return {
            **super().get_config(),
            "figure": self.figure,
            "options": self.options,
        }


def _mean_average_precision(member, scores, weight):
    """Of booleans and floats `(clips, classes)` and of weights `(clips,)`."""
    weight = weight[:, None]
    # A NaN has no place in the order.
    scores = ops.where(weight != 0, scores, 0.0)
    unordered = ops.any(ops.isnan(scores))
    # The sign tells a positive clip.
    signed = ops.where(member, weight, -weight)
    gains = _gains_by_score(ops.transpose(scores), ops.transpose(signed))
    found, seen = ops.unstack(ops.cumsum(gains, axis=1), axis=-1)
    precision = found / ops.where(seen == 0, 1.0, seen)
    gained = gains[..., 0]
    value = _mean_of_ratios(
        ops.sum(gained * precision, axis=1), ops.sum(gained, axis=1)
    )
    return ops.where(unordered, float("nan"), value)


def _gains_by_score(scores, signed):
    """Sums up what has the same score, from the largest score on.

    Args:
        scores: floats `(rows, count)`.
        signed: floats of the same shape, weights: positive ones gain.

    Returns:
        `(rows, count, 2)`: the positive weights of each distinct score of a
        row, and all of its weights without their sign. Zeros behind these.
    """
    rows, count = ops.shape(scores)
    ranked, order = ops.top_k(scores, count)
    # One gather brings both.
    signed = ops.take_along_axis(signed, order, axis=1)
    gains = ops.stack([ops.relu(signed), ops.abs(signed)], axis=-1)
    new = ops.concatenate(
        [
            ops.zeros_like(ranked[:, :1], dtype="bool"),
            ranked[:, 1:] < ranked[:, :-1],
        ],
        axis=1,
    )
    step = ops.cumsum(ops.cast(new, "int32"), axis=1)
    step += count * ops.arange(rows, dtype="int32")[:, None]
    gains = ops.scatter_update(
        ops.zeros((rows * count, 2), dtype="float32"),
        ops.reshape(step, (-1, 1)),
        ops.reshape(gains, (-1, 2)),
        reduction="add",
    )
    return ops.reshape(gains, (rows, count, 2))


def _localization_auc(voxels, scores, mask=None):
    """Values and which are known, `(clips,)` each; as the next ones."""
    inside, scores, keep = _maps(voxels, scores, mask)
    outside = ops.logical_and(keep, ops.logical_not(inside))
    signed = ops.cast(inside, "float32") - ops.cast(outside, "float32")
    signed, flat = (
        ops.reshape(x, (ops.shape(x)[0], -1))
        for x in (signed, ops.where(keep, scores, 0.0))
    )
    gained, seen = ops.unstack(_gains_by_score(flat, signed), axis=-1)
    lost = seen - gained
    # Of the true voxels of a score: the others below, and half of the equal.
    totals = ops.sum(lost, axis=1, keepdims=True)
    below = totals - ops.cumsum(lost, axis=1) + 0.5 * lost
    # Shares, for the product of the counts can be beyond a float32.
    true = ops.sum(gained, axis=1, keepdims=True)
    won = gained / ops.maximum(true, 1.0) * (below / ops.maximum(totals, 1.0))
    known = ops.logical_and(true > 0, totals > 0)[:, 0]
    return _or_nan(ops.sum(won, axis=1), scores, keep), known


def _pointing_game(voxels, scores, mask=None, tolerance=0.0, each_step=True):
    if not tolerance >= 0:
        raise ValueError(
            "`tolerance` must be a number >= 0. "
            f"Received: tolerance={tolerance}"
        )
    inside, scores, keep = _maps(voxels, scores, mask, rank=4)
    axes = (2, 3) if each_step else (1, 2, 3)
    ranked = ops.where(keep, scores, -float("inf"))
    largest = ops.max(ranked, axis=axes, keepdims=True)
    largest = ops.logical_and(keep, ranked == largest)
    hit = ops.logical_and(largest, _within(inside, tolerance))
    count, hits = (
        ops.sum(ops.cast(x, "float32"), axis=axes) for x in (largest, hit)
    )
    known = ops.any(inside, axis=axes)
    values = ops.where(known, hits / ops.maximum(count, 1.0), 0.0)
    if each_step:
        steps = ops.sum(ops.cast(known, "float32"), axis=1)
        values = ops.sum(values, axis=1) / ops.maximum(steps, 1.0)
        known = steps > 0
    return _or_nan(values, scores, keep), known


def _within(inside, distance):
    """Where a step's true voxels are at most so far away."""
    reach = int(distance)
    if not reach:
        return inside
    offsets = np.arange(-reach, reach + 1)
    disc = np.hypot(offsets[:, None], offsets) <= distance
    batch, time, height, width = ops.shape(inside)
    steps = ops.reshape(
        ops.cast(inside, "float32"), (batch * time, height, width, 1)
    )
    near = ops.conv(
        steps,
        ops.convert_to_tensor(disc[..., None, None].astype("float32")),
        padding="same",
        data_format="channels_last",
    )
    return ops.reshape(near > 0.5, (batch, time, height, width))


def _energy_inside(voxels, scores, mask=None):
    inside, scores, keep = _maps(voxels, scores, mask)
    scores = ops.where(scores >= 0, scores, float("nan"))
    axes = tuple(range(1, len(scores.shape)))
    kept, shared = (
        ops.sum(ops.where(x, scores, 0.0), axis=axes) for x in (keep, inside)
    )
    return shared / kept, ops.any(inside, axis=axes)


def _temporal_overlap(steps, scores, mask=None, threshold=0.5):
    if not 0 <= threshold <= 1:
        raise ValueError(
            f"`threshold` must be in [0, 1]. Received: threshold={threshold}"
        )
    inside, scores, keep = _maps(steps, scores, mask, rank=2)
    infinite = float("inf")
    smallest, largest = (
        pick(ops.where(keep, scores, end), axis=1, keepdims=True)
        for pick, end in ((ops.min, infinite), (ops.max, -infinite))
    )
    high = scores >= smallest + threshold * (largest - smallest)
    high = ops.logical_and(keep, high)
    both, either = (
        ops.sum(ops.cast(x, "float32"), axis=1)
        for x in (ops.logical_and(inside, high), ops.logical_or(inside, high))
    )
    values = both / ops.maximum(either, 1.0)
    return _or_nan(values, scores, keep), ops.any(inside, axis=1)


# Of `MeanLocalization`.
_FIGURES = {
    "localization_auc": _localization_auc,
    "pointing_game": _pointing_game,
    "energy_inside": _energy_inside,
    "temporal_overlap": _temporal_overlap,
}


def _maps(voxels, scores, mask, rank=None):
    """True and real voxels, float32 scores and what is real, as tensors."""
    inside = ops.cast(ops.convert_to_tensor(voxels), "bool")
    scores = ops.cast(ops.convert_to_tensor(scores), "float32")
    shape = tuple(scores.shape)
    if tuple(inside.shape) != shape or len(shape) not in (rank or 2, rank or 4):
        name = "steps" if rank == 2 else "voxels"
        expected = "(clips, time, height, width)"
        if rank != 4:
            expected = "(clips, time)" + f" or {expected}" * (rank is None)
        raise ValueError(
            f"`{name}` and `scores` must have one shape, {expected}. Received: "
            f"{name}.shape={tuple(inside.shape)}, scores.shape={shape}"
        )
    if mask is None:
        return inside, scores, ops.ones_like(inside)
    keep = broadcast_mask(ops.convert_to_tensor(mask), shape)
    return ops.logical_and(inside, keep), scores, keep


def _or_nan(values, scores, keep):
    """NaN for the clips that have a NaN where they are real."""
    axes = tuple(range(1, len(scores.shape)))
    unordered = ops.any(ops.logical_and(keep, ops.isnan(scores)), axis=axes)
    return ops.where(unordered, float("nan"), values)


def _mean_of_known(values, known):
    known = ops.cast(known, "float32")
    values = ops.where(known > 0, values, 0.0)
    return ops.sum(values) / ops.sum(known)


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


def _of_all_replicas(x):
    """The rows of all replicas, where one of several asks for them."""
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return x
    return replica.all_gather(x, axis=0)
