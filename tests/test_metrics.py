import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import roc_auc_score

from actx_tf import metrics

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(4, size=60)
# One decimal: many ties.
SCORES = np.round(RANDOM.normal(size=(60, 4)), 1).astype("float32")


def test_mean_average_precision_equals_scikit_learn():
    expected = average_precision_score(np.eye(4)[LABELS], SCORES)
    actual = float(metrics.mean_average_precision(LABELS, SCORES))
    assert actual == pytest.approx(expected, rel=1e-5)


def test_mean_average_precision_of_several_labels_a_clip():
    labels = RANDOM.random((60, 4)) < [0.1, 0.3, 0.6, 0.9]
    expected = average_precision_score(labels, SCORES)
    actual = float(metrics.mean_average_precision(labels, SCORES))
    assert actual == pytest.approx(expected, rel=1e-5)


def test_a_perfect_order_is_one_and_constant_scores_are_the_share():
    perfect = np.eye(4)[LABELS]
    assert float(metrics.mean_average_precision(LABELS, perfect)) == 1
    share = np.mean(np.bincount(LABELS) / 60)
    constant = metrics.mean_average_precision(LABELS, np.ones((60, 4)))
    assert float(constant) == pytest.approx(share, rel=1e-5)


def test_classes_without_a_positive_clip_are_left_out():
    wide = np.concatenate([SCORES, SCORES[:, :2]], axis=1)
    for metric in (metrics.mean_average_precision, metrics.mean_class_accuracy):
        if metric is metrics.mean_class_accuracy:
            wide[:, 4:] = SCORES.min() - 1
        assert float(metric(LABELS, wide)) == pytest.approx(
            float(metric(LABELS, SCORES)), rel=1e-6
        )
    nothing = np.zeros((60, 4), "bool")
    assert np.isnan(float(metrics.mean_average_precision(nothing, SCORES)))


def test_mean_class_accuracy_equals_scikit_learn():
    labels = np.minimum(LABELS, RANDOM.integers(4, size=60))  # unbalanced
    scores = SCORES + RANDOM.random((60, 4))  # no ties
    expected = balanced_accuracy_score(labels, scores.argmax(axis=1))
    actual = float(metrics.mean_class_accuracy(labels, scores))
    assert actual == pytest.approx(expected, rel=1e-5)


def test_localization_auc_equals_scikit_learn():
    voxels = RANDOM.random((5, 3, 4, 2)) < 0.3
    scores = RANDOM.integers(8, size=voxels.shape) + 2.0 * voxels  # ties
    expected = np.mean(
        [
            roc_auc_score(inside.ravel(), score.ravel())
            for inside, score in zip(voxels, scores, strict=True)
        ]
    )
    actual = float(metrics.localization_auc(voxels, scores))
    assert actual == pytest.approx(expected, rel=1e-5)

    # Clips without an action, or with nothing else, do not count.
    voxels = np.concatenate(
        [voxels, np.zeros_like(voxels[:1]), np.ones_like(voxels[:1])]
    )
    scores = np.concatenate([scores, scores[:2]])
    actual = float(metrics.localization_auc(voxels, scores))
    assert actual == pytest.approx(expected, rel=1e-5)
    assert np.isnan(float(metrics.localization_auc(voxels[5:], scores[5:])))
