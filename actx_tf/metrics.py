"""Metrics over a whole evaluation, as plain functions of `keras.ops`."""

from keras import ops


def mean_average_precision(labels, scores):
    """Mean over the classes of the average precision.

    Equal to scikit-learn's `average_precision_score`, ties included: the mean,
    over a class's positive clips, of the precision at their score.

    Args:
        labels: integers `(clips,)`, or booleans `(clips, classes)` where a
            clip can be of several classes.
        scores: floats `(clips, classes)`, larger for more likely.

    Returns:
        Scalar in [0, 1], float32. Classes without a positive clip are left
        out; NaN if there is none at all.
    """
    scores = ops.convert_to_tensor(scores)
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 1:
        labels = ops.one_hot(labels, scores.shape[1], dtype="bool")
    positive = ops.cast(labels, "float32")
    average_precision = []
    for k in range(scores.shape[1]):
        # at_least[i, j]: clip j scores at least as high as clip i.
        at_least = ops.cast(scores[None, :, k] >= scores[:, None, k], "float32")
        precision = ops.sum(at_least * positive[None, :, k], axis=1) / ops.sum(
            at_least, axis=1
        )
        average_precision.append(
            ops.sum(precision * positive[:, k]) / ops.sum(positive[:, k])
        )
    average_precision = ops.stack(average_precision)
    known = ops.cast(ops.any(positive > 0, axis=0), "float32")
    average_precision = ops.where(known > 0, average_precision, 0.0)
    return ops.sum(average_precision) / ops.sum(known)


def mean_class_accuracy(labels, scores):
    """Mean over the classes of the share of their clips that are right.

    Args:
        labels: integers `(clips,)`.
        scores: floats `(clips, classes)`; the largest is the answer.

    Returns:
        Scalar in [0, 1], float32. Classes without a clip are left out.
    """
    scores = ops.convert_to_tensor(scores)
    labels = ops.convert_to_tensor(labels)
    member = ops.one_hot(labels, scores.shape[1], dtype="float32")
    right = ops.cast(
        ops.cast(labels, "int32") == ops.cast(ops.argmax(scores, -1), "int32"),
        "float32",
    )
    count = ops.sum(member, axis=0)
    known = ops.cast(count > 0, "float32")
    accuracy = ops.sum(member * right[:, None], axis=0) / ops.maximum(
        count, 1.0
    )
    return ops.sum(accuracy * known) / ops.sum(known)


def localization_auc(voxels, scores):
    """Mean over the clips of the area under the ROC curve of a map.

    For each clip, the probability that a true voxel scores higher than
    another one; ties count one half (Mann and Whitney).

    Args:
        voxels: booleans `(clips, time, height, width)`, True where the action
            is.
        scores: floats of the same shape.

    Returns:
        Scalar in [0, 1], float32. Clips with no true voxel, or with nothing
        else, are left out; NaN if there is no other clip.
    """
    scores = ops.convert_to_tensor(scores)
    shape = (scores.shape[0], -1)
    scores = ops.reshape(scores, shape)
    inside = ops.reshape(ops.cast(voxels, "float32"), shape)
    outside = 1.0 - inside
    above = scores[:, :, None] - scores[:, None, :]
    wins = ops.cast(0.5 * (ops.sign(above) + 1.0), "float32")
    won = ops.einsum("bi,bij,bj->b", inside, wins, outside)
    pairs = ops.sum(inside, axis=1) * ops.sum(outside, axis=1)
    known = ops.cast(pairs > 0, "float32")
    return ops.sum(won / ops.maximum(pairs, 1.0)) / ops.sum(known)
