"""How well maps localize an action in space and time.

Each function takes the maps of many clips and returns the mean over the clips
that have a value.
"""

from keras import ops

from actx_tf.metrics.ranking import gains_by_score
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_share


def localization_auc(
    voxels: Tensor, scores: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean over the clips of the area under the ROC curve of a map.

    For each clip, the probability that a true voxel scores higher than
    another one; ties count one half (Mann and Whitney). 0.5 is chance.

    Args:
        voxels: Booleans `(clips, time, height, width)`, True where the action
            is; or `(clips, time)`, True while it lasts.
        scores: Floats of the same shape.
        mask: Optional booleans, True where a location is real: of the same
            shape, or `(clips, time)`. Defaults to `None`: all are.

    Returns:
        Scalar in [0, 1], float32. Clips with no true voxel, or with nothing
        else, are left out; NaN if there is no other clip, or a score is NaN.

    Raises:
        ValueError: If the shapes do not fit.
    """
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
    return _mean_of_known(_or_nan(ops.sum(won, axis=1), scores, keep), known)


def pointing_game(
    voxels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    each_step: bool = True,
) -> Tensor:
    """Share of the maxima of a map that hit the action.

    Of each step that shows action, the largest score is a hit if it lies in a
    true voxel; a clip's value is the share of its steps that are hits. Where
    several locations share the largest score, the share of these that hit
    counts, so that a constant map has the value of chance: the share of the
    step that is true.

    Args:
        voxels: Booleans `(clips, time, height, width)`, True where the action
            is.
        scores: Floats of the same shape.
        mask: Optional booleans, True where a location is real: of the same
            shape, or `(clips, time)`. Defaults to `None`: all are.
        each_step: If False, the single largest score of the clip counts,
            wherever it is. Defaults to `True`.

    Returns:
        Scalar in [0, 1], float32: the mean over the clips. Clips with no true
        voxel are left out; NaN if there is no other clip, or a score is NaN.

    Raises:
        ValueError: If the shapes do not fit.

    Reference:
        - Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV
          2016, of images and boxes or masks of objects. There a maximum may
          miss by 15 pixels.
    """
    inside, scores, keep = _maps(voxels, scores, mask, rank=4)
    axes = (2, 3) if each_step else (1, 2, 3)
    ranked = ops.where(keep, scores, -float("inf"))
    largest = ops.max(ranked, axis=axes, keepdims=True)
    largest = ops.logical_and(keep, ranked == largest)
    hit = ops.logical_and(largest, inside)
    count, hits = (
        ops.sum(ops.cast(x, "float32"), axis=axes) for x in (largest, hit)
    )
    known = ops.any(inside, axis=axes)
    values = ops.where(known, hits / ops.maximum(count, 1.0), 0.0)
    if each_step:
        steps = ops.sum(ops.cast(known, "float32"), axis=1)
        values = ops.sum(values, axis=1) / ops.maximum(steps, 1.0)
        known = steps > 0
    return _mean_of_known(_or_nan(values, scores, keep), known)


def energy_inside(
    voxels: Tensor, scores: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Share of a map's sum that falls inside the action.

    ```
    sum_k voxels_k scores_k / sum_k scores_k
    ```

    A constant map has the share of the clip's volume that is action: chance.

    Args:
        voxels: Booleans `(clips, time, height, width)`, True where the action
            is; or `(clips, time)`, True while it lasts.
        scores: Floats >= 0 of the same shape.
        mask: Optional booleans, True where a location is real: of the same
            shape, or `(clips, time)`. Defaults to `None`: all are.

    Returns:
        Scalar in [0, 1], float32: the mean over the clips. Clips with no true
        voxel are left out; NaN if there is no other clip, or the scores of a
        clip sum to zero, or one is negative or NaN.

    Raises:
        ValueError: If the shapes do not fit.

    Reference:
        - Wang et al., Score-CAM, CVPR Workshops 2020: the energy-based
          pointing game.
    """
    inside, scores, keep = _maps(voxels, scores, mask)
    scores = ops.where(scores >= 0, scores, float("nan"))
    axes = tuple(range(1, len(scores.shape)))
    kept, shared = (
        ops.sum(ops.where(x, scores, 0.0), axis=axes) for x in (keep, inside)
    )
    return _mean_of_known(shared / kept, ops.any(inside, axis=axes))


def temporal_overlap(
    steps: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    threshold: float = 0.5,
) -> Tensor:
    """Overlap in time of the action and of where a score is high.

    ```
    IoU = |A and B| / |A or B|
    ```

    A are the steps that show action, B those whose score is at least
    `threshold` of the way from the clip's smallest to its largest; either may
    be several stretches. A constant score has the share of the clip that is
    action.

    Args:
        steps: Booleans `(clips, time)`, True while the action lasts.
        scores: Floats of the same shape, such as the mean of an action map
            over each step.
        mask: Optional booleans of the same shape, True where a step is real.
            Defaults to `None`: all are.
        threshold: Share in [0, 1]. Defaults to `0.5`.

    Returns:
        Scalar in [0, 1], float32: the mean over the clips. Clips without
        action are left out; NaN if there is no other clip, or a score is NaN.

    Raises:
        ValueError: If the shapes do not fit, or `threshold` is not in [0, 1].

    Reference:
        - Caba Heilbron et al., ActivityNet, CVPR 2015, for the temporal IoU.
        - Zhou et al., Learning Deep Features for Discriminative Localization,
          CVPR 2016, for a threshold relative to a map's own values; they take
          0 for the smallest.
    """
    check_share("threshold", threshold)
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
    values = _or_nan(both / ops.maximum(either, 1.0), scores, keep)
    return _mean_of_known(values, ops.any(inside, axis=1))


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
