import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from actx_tf import metrics

RANDOM = np.random.default_rng(0)


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


@pytest.mark.parametrize(
    "scores, auc", [((2, 1), 1), ((1, 1), 0.5), ((1, 2), 0)]
)
def test_one_location_is_enough(scores, auc):
    inside = np.reshape([True, False], (1, 1, 1, 2))
    scores = np.reshape(scores, inside.shape).astype("float32")
    assert float(metrics.localization_auc(inside, scores)) == auc
    assert float(metrics.pointing_game(inside, scores)) == auc
    share = float(metrics.energy_inside(inside, scores))
    assert share == pytest.approx(scores[0, 0, 0, 0] / scores.sum())
    below_zero = scores - [[[[0, 2.5]]]]
    assert np.isnan(float(metrics.energy_inside(inside, below_zero)))


def random_maps(*shape, seed=0):
    """Voxels, scores with ties, and a mask; a step without and one all true."""
    random = np.random.default_rng(seed)
    voxels = random.random(shape) < 0.3
    voxels[:, 0] = False
    voxels[0, 1] = True
    scores = random.integers(6, size=shape) + 2 * voxels
    return voxels, scores.astype("float32"), random.random(shape) < 0.8


LOCALIZATION = {
    "localization_auc": {},
    "pointing_game": {},
    "energy_inside": {},
    "temporal_overlap": {"threshold": 0.7},
}


def maps_for(name, seed=0):
    shape = (5, 8) if name == "temporal_overlap" else (5, 4, 3, 6)
    return random_maps(*shape, seed=seed)


def expected_localization(name, voxels, scores, keep, **options):
    """Of one clip, location by location; None if it does not count."""
    true = [k for k in np.ndindex(voxels.shape) if keep[k] and voxels[k]]
    real = [k for k in np.ndindex(voxels.shape) if keep[k]]
    if not true or (name == "localization_auc" and len(true) == len(real)):
        return None
    if name == "localization_auc":
        return roc_auc_score(voxels[keep], scores[keep])
    if name == "energy_inside":
        return sum(scores[k] for k in true) / sum(scores[k] for k in real)
    if name == "temporal_overlap":
        least, most = (pick(scores[k] for k in real) for pick in (min, max))
        border = least + options["threshold"] * (most - least)
        high = {k for k in real if scores[k] >= border}
        return len(high & set(true)) / len(high | set(true))

    def share_of_hits(among):
        most = max(scores[k] for k in among)
        maxima = [k for k in among if scores[k] == most]
        return np.mean([k in true for k in maxima])

    if not options.get("each_step", True):
        return share_of_hits(real)
    steps = sorted({k[0] for k in true})
    return np.mean(
        [share_of_hits([k for k in real if k[0] == step]) for step in steps]
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *LOCALIZATION.items(),
        ("pointing_game", {"each_step": False}),
    ],
)
def test_localization_equals_its_definition(name, options):
    function = getattr(metrics, name)
    for seed in range(3):
        voxels, scores, mask = maps_for(name, seed)
        voxels[3] = False  # does not count
        scores[:, 0] += 3  # so the largest of a clip is not always true
        for keep in (np.ones_like(mask), mask):
            expected = [
                expected_localization(name, *clip, **options)
                for clip in zip(voxels, scores, keep, strict=True)
            ]
            assert expected[3] is None
            expected = np.mean([x for x in expected if x is not None])
            mask_argument = {} if keep.all() else {"mask": keep}
            actual = function(voxels, scores, **mask_argument, **options)
            assert float(actual) == pytest.approx(expected, rel=1e-5)
            # What is masked may be anything, and steps can be masked whole.
            anything = np.where(keep, scores, np.nan)
            actual = function(voxels | ~keep, anything, keep, **options)
            assert float(actual) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOCALIZATION)
def test_localization_of_padded_clips(name):
    """Clips of different lengths, one by one and padded."""
    options, function = LOCALIZATION[name], getattr(metrics, name)
    voxels, scores, _ = maps_for(name)
    voxels[3] = False
    lengths = [4, 2, 3, 4, 3]
    single = [
        float(function(voxels[[i], :n], scores[[i], :n], **options))
        for i, n in enumerate(lengths)
    ]
    assert np.isnan(single[3])
    expected = np.nanmean(single)
    mask = np.arange(voxels.shape[1]) < np.array(lengths)[:, None]
    actual = function(voxels, scores, mask, **options)
    assert float(actual) == pytest.approx(expected, rel=1e-5)


def test_localization_of_a_constant_map_is_chance():
    voxels, _, _ = random_maps(5, 4, 3, 6)
    constant = np.ones(voxels.shape)
    share = np.mean(voxels)
    assert float(metrics.localization_auc(voxels, constant)) == 0.5
    actual = float(metrics.energy_inside(voxels, constant))
    assert actual == pytest.approx(share)
    actual = float(metrics.pointing_game(voxels, constant, each_step=False))
    assert actual == pytest.approx(share)
    each = [v[v.any(axis=(1, 2))].mean() for v in voxels]
    actual = float(metrics.pointing_game(voxels, constant))
    assert actual == pytest.approx(np.mean(each))
    steps = voxels.any(axis=(2, 3))
    actual = float(metrics.temporal_overlap(steps, np.ones(steps.shape)))
    assert actual == pytest.approx(np.mean(steps))
    # And the truth itself is perfect.
    for figure in (metrics.pointing_game, metrics.energy_inside):
        assert float(figure(voxels, voxels)) == 1
    assert float(metrics.temporal_overlap(steps, steps)) == 1


def test_a_long_map_takes_little_memory():
    # All pairs of its locations would be 40 GB.
    voxels = np.arange(100_000).reshape(1, 100, 25, 40) % 3 == 0
    scores = voxels + np.linspace(0, 1.5, 100_000).reshape(voxels.shape)
    expected = roc_auc_score(voxels.ravel(), scores.ravel())
    actual = float(metrics.localization_auc(voxels, scores))
    assert actual == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.pointing_game(np.ones((2, 3)), np.ones((2, 3))),
            r"one shape, \(clips, time, height, width\). Received: voxels.sh",
        ),
        (
            lambda: metrics.energy_inside(np.ones((2, 3)), np.ones((2, 4))),
            r"`scores` must have one shape.*scores.shape=\(2, 4\)",
        ),
        (
            lambda: metrics.temporal_overlap([[1]], [[1.0]], threshold=2),
            r"`threshold` must be in \[0, 1\]. Received: threshold=2",
        ),
    ],
)
def test_localization_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", LOCALIZATION)
def test_what_is_not_a_number_is_no_number(name):
    voxels, scores, _ = maps_for(name)
    scores[2, 2] = np.nan
    assert np.isnan(float(getattr(metrics, name)(voxels, scores)))
