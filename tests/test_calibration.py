"""The expected calibration error, and the bins of the reliability diagram."""

import numpy as np
import pytest

from actx_tf.metrics import calibration


def test_a_case_by_hand():
    # (0, 0.5]: one of three is right, of mean score 0.4; (0.5, 1]: one of two,
    # of mean score 0.8.
    scores = [0.3, 0.4, 0.5, 0.7, 0.9]
    found = calibration(scores, [True, False, False, True, False], bins=2)
    np.testing.assert_array_equal(found.counts, [3, 2])
    np.testing.assert_allclose(found.confidences, [0.4, 0.8])
    np.testing.assert_allclose(found.accuracies, [1 / 3, 1 / 2])
    expected = 3 / 5 * abs(1 / 3 - 0.4) + 2 / 5 * abs(1 / 2 - 0.8)
    assert found.error == pytest.approx(expected)


def test_borders_belong_to_the_bin_below():
    found = calibration([0.0, 0.25, 0.5, 0.75, 1.0], [True] * 5, bins=4)
    np.testing.assert_array_equal(found.counts, [2, 1, 1, 1])


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_are_calibrated_and_boasting_is_not(seed):
    random = np.random.default_rng(seed)
    scores = random.uniform(0.5, 1.0, 20_000)
    right = random.random(20_000) < scores
    assert calibration(scores, right).error < 0.02
    # Who always says 1 is too sure by the share of what is wrong.
    boast = calibration(np.ones(20_000), right)
    assert boast.error == pytest.approx(1 - right.mean())
    # Of one bin, the mean score less the accuracy.
    one = calibration(scores, right, bins=1)
    assert one.error == pytest.approx(abs(scores.mean() - right.mean()))


@pytest.mark.parametrize("seed", range(3))
def test_the_diagram_is_that_of_scikit_learn(seed):
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    random = np.random.default_rng(seed)
    scores = random.random(500)
    right = random.random(500) < scores**2
    found = calibration(scores, right, bins=10)
    accuracies, confidences = curve(right, scores, n_bins=10)
    np.testing.assert_allclose(found.accuracies, accuracies)
    np.testing.assert_allclose(found.confidences, confidences)
    np.testing.assert_allclose(found.edges, np.arange(11) / 10)


def test_bins_without_an_answer():
    found = calibration([0.9], [True], bins=10)
    assert np.isnan(found.accuracies[:8]).all() and found.accuracies[8] == 1
    assert found.error == pytest.approx(0.1)
    assert np.isnan(calibration([], []).error)


@pytest.mark.parametrize("score", [np.nan, -0.1, 1.1, np.inf])
def test_scores_must_be_probabilities(score):
    with pytest.raises(ValueError, match=rf"in \[0, 1\]. Received: {score}"):
        calibration([0.5, score, 7.0], [True, True, True])
    with pytest.raises(ValueError, match="one shape"):
        calibration([0.5], [True, True])
    with pytest.raises(ValueError, match="`bins` must"):
        calibration([0.5], [True], bins=0)
