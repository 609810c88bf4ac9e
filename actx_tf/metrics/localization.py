"""How well maps localize an action in space and time, clip by clip."""

import keras
import numpy as np
from keras import ops

from actx_tf.metrics.classification import _weight
from actx_tf.metrics.ranking import gains_by_score
from actx_tf.ops.masks import broadcast_mask


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


def _localization_auc(voxels, scores, mask=None):
    """Values and which are known, `(clips,)` each; as the next ones."""
    inside, scores, keep = _maps(voxels, scores, mask)
    outside = ops.logical_and(keep, ops.logical_not(inside))
    signed = ops.cast(inside, "float32") - ops.cast(outside, "float32")
    signed, flat = (
        ops.reshape(x, (ops.shape(x)[0], -1))
        for x in (signed, ops.where(keep, scores, 0.0))
    )
    gained, seen = ops.unstack(gains_by_score(flat, signed), axis=-1)
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
