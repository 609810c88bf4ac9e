"""Precision, recall and F1 of each class, and the confusion matrix."""

import numpy as np
import pytest

from actx_tf.metrics import class_figures
from actx_tf.metrics import confusion_matrix

sklearn = pytest.importorskip("sklearn.metrics")
CLASSES = 5


def random_labels(seed, clips=60):
    """Of the last class there is no clip; the one before is never answered."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES - 1, clips)
    answers = np.where(
        random.random(clips) < 0.5, labels, random.integers(0, CLASSES, clips)
    )
    return labels, np.where(answers == CLASSES - 2, 0, answers)


def assert_same_figures(found, labels, answers):
    expected = sklearn.precision_recall_fscore_support(
        labels,
        answers,
        labels=list(range(CLASSES)),
        average=None,
        zero_division=np.nan,
    )
    for values, name in zip(
        expected, ("precision", "recall", "f1", "support"), strict=True
    ):
        np.testing.assert_allclose(getattr(found, name), values, err_msg=name)


@pytest.mark.parametrize("seed", range(5))
def test_figures_of_one_class_a_clip(seed):
    labels, answers = random_labels(seed)
    rows = np.eye(CLASSES, dtype=bool)
    found = class_figures(rows[labels], rows[answers])
    assert_same_figures(found, labels, answers)
    assert np.isnan(found.precision[CLASSES - 2])
    assert found.f1[CLASSES - 2] == 0.0
    assert np.isnan(found.recall[CLASSES - 1])


@pytest.mark.parametrize("clips", [2, 40])
@pytest.mark.parametrize("seed", range(5))
def test_figures_of_several_classes_a_clip(seed, clips):
    random = np.random.default_rng(seed)
    labels = random.random((clips, CLASSES)) < 0.3
    answers = labels ^ (random.random((clips, CLASSES)) < 0.2)
    found = class_figures(labels, answers)
    assert_same_figures(found, labels, answers)
    counts = sklearn.multilabel_confusion_matrix(labels, answers)
    np.testing.assert_array_equal(found.right, counts[:, 1, 1])
    np.testing.assert_array_equal(found.answered, counts[:, :, 1].sum(axis=1))
    assert found.clips == clips


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_the_truth(seed):
    labels, answers = random_labels(seed)
    np.testing.assert_array_equal(
        confusion_matrix(labels, answers, CLASSES),
        sklearn.confusion_matrix(labels, answers, labels=range(CLASSES)),
    )


def test_what_is_refused():
    with pytest.raises(ValueError, match="one shape.*Received"):
        class_figures(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="`answers` must.*Received: 2"):
        confusion_matrix([0, 1, 1], [0, 2, 3], 2)
    with pytest.raises(ValueError, match="`labels` must.*Received: -1"):
        confusion_matrix([0, -1], [0, 1], 2)
    with pytest.raises(ValueError, match=r"\(clips,\). Received"):
        confusion_matrix([0, 1], [0], 2)
