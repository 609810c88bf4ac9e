import keras
import numpy as np
import pytest
from keras import ops

from actx_tf import losses
from tests import reference
from tests.harness import PairLosses
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import gradients
from tests.harness import to_numpy

FEATURES = clips(2, 3, 2, 4, 5)
CONJUGATE = 3.0 * clips(2, 5, 3, 2, 5, seed=1)  # another length and size
ACTION_MAP = np.abs(clips(2, 3, 2, 4, seed=2))
CONTEXT_MAP = np.abs(clips(2, 3, 2, 4, seed=3))


@pytest.mark.parametrize("gamma", [0, 1.0, 10.0, 100.0])
def test_match_features_equals_eq_2(gamma):
    expected = [
        reference.match_features(*pair, gamma)
        for pair in zip(FEATURES, CONJUGATE, strict=True)
    ]
    assert_close(losses.match_features(FEATURES, CONJUGATE, gamma), expected)


def test_gamma_zero_is_the_mean_of_the_reference():
    mean = CONJUGATE.mean(axis=(1, 2, 3))[:, None, None, None]
    assert_close(
        losses.match_features(FEATURES, CONJUGATE, gamma=0.0),
        np.broadcast_to(mean, FEATURES.shape),
    )


def test_large_gamma_is_the_nearest_vector():
    matched = losses.match_features(FEATURES, CONJUGATE, gamma=1e5)
    for clip, conjugate, actual in zip(
        FEATURES, CONJUGATE, matched, strict=True
    ):
        vectors = conjugate.reshape(-1, 5)
        cosine = clip @ (vectors.T / np.linalg.norm(vectors, axis=1))
        assert_close(actual, vectors[np.argmax(cosine, axis=-1)])


def test_a_clip_finds_itself_with_large_gamma():
    matched = losses.match_features(FEATURES, FEATURES, gamma=1e5)
    assert_close(matched, FEATURES)


@pytest.mark.parametrize("gamma", [0.0, 10.0, 40.0])
@pytest.mark.parametrize("xi", [0.0, 0.4])
def test_losses_equal_eqs_3_and_4(gamma, xi):
    similarity = losses.conjugate_similarity(FEATURES, CONJUGATE, gamma)
    expected = [
        reference.similarity(*pair, gamma)
        for pair in zip(FEATURES, CONJUGATE, strict=True)
    ]
    assert_close(similarity, expected)
    assert_close(
        losses.action_similarity(ACTION_MAP, similarity, xi),
        [
            reference.action_similarity(*maps, xi)
            for maps in zip(ACTION_MAP, expected, strict=True)
        ],
    )
    assert_close(
        losses.context_difference(CONTEXT_MAP, similarity),
        [
            reference.context_difference(*maps)
            for maps in zip(CONTEXT_MAP, expected, strict=True)
        ],
    )


def test_a_clip_that_is_its_own_conjugate_is_all_context():
    similarity = losses.conjugate_similarity(FEATURES, FEATURES)
    assert_close(similarity, np.ones(FEATURES.shape[:-1]))
    l_s = losses.action_similarity(ACTION_MAP, similarity, xi=0.25)
    assert_close(l_s, np.full(2, 0.75))
    l_d = to_numpy(losses.context_difference(CONTEXT_MAP, similarity))
    np.testing.assert_allclose(l_d, 0, atol=1e-6)


def test_what_is_only_in_the_clip_is_least_similar():
    # Orthogonal vectors: four of context in both, the last one of action.
    vectors = np.eye(5, dtype="float32")
    features = vectors.reshape(1, 5, 1, 1, 5)
    conjugate = vectors[[2, 0, 3, 1]].reshape(1, 2, 2, 1, 5)
    similarity = losses.conjugate_similarity(features, conjugate, gamma=50.0)
    similarity = to_numpy(similarity).ravel()
    np.testing.assert_allclose(similarity, [1, 1, 1, 1, 0], atol=1e-6)


def test_the_order_of_the_conjugate_does_not_matter():
    order = np.random.default_rng(0).permutation(30)
    shuffled = CONJUGATE.reshape(2, 30, 5)[:, order].reshape(2, 6, 1, 5, 5)
    assert_close(
        losses.conjugate_similarity(FEATURES, shuffled),
        losses.conjugate_similarity(FEATURES, CONJUGATE),
    )


def test_the_length_of_the_features_does_not_matter_to_the_matching():
    lengths = np.exp(clips(2, 3, 2, 4, 1, seed=4))
    assert_close(
        losses.match_features(lengths * FEATURES, CONJUGATE),
        losses.match_features(FEATURES, CONJUGATE),
    )


def test_small_features_are_as_similar_as_large_ones():
    assert_close(
        losses.conjugate_similarity(1e-5 * FEATURES, 1e-5 * CONJUGATE),
        losses.conjugate_similarity(FEATURES, CONJUGATE),
    )


@pytest.mark.parametrize("fill", [1e4, np.nan])
@pytest.mark.parametrize("spatial", [False, True])
def test_what_is_masked_is_as_if_cut_off(fill, spatial):
    def pad(clip):
        pads = [(0, 0), (0, 2)] + [(0, 1 if spatial else 0)] * 2 + [(0, 0)]
        padded = np.pad(clip, pads[: clip.ndim], constant_values=fill)
        mask = np.pad(np.ones(clip.shape[:4], "bool"), pads[:4])
        return padded, mask if spatial else mask[:, :, 0, 0]

    features, mask = pad(FEATURES)
    conjugate, conjugate_mask = pad(CONJUGATE)
    matched = losses.match_features(features, conjugate, mask=conjugate_mask)
    assert_close(
        matched[:, :3, :2, :4], losses.match_features(FEATURES, CONJUGATE)
    )
    similarity = losses.conjugate_similarity(
        features, conjugate, mask=mask, conjugate_mask=conjugate_mask
    )
    cut = losses.conjugate_similarity(FEATURES, CONJUGATE)
    assert_close(similarity[:, :3, :2, :4], cut)
    assert np.all(to_numpy(similarity)[:, 3:] == 0)
    # A similarity that was stored can be padded with anything.
    similarity = pad(ops.convert_to_numpy(cut))[0]
    assert_close(
        losses.action_similarity(pad(ACTION_MAP)[0], similarity, mask=mask),
        losses.action_similarity(ACTION_MAP, cut),
    )
    assert_close(
        losses.context_difference(pad(CONTEXT_MAP)[0], similarity, mask=mask),
        losses.context_difference(CONTEXT_MAP, cut),
    )


def test_an_empty_conjugate_matches_nothing():
    nothing = np.zeros((2, 5), "bool")
    matched = losses.match_features(FEATURES, CONJUGATE, mask=nothing)
    assert not np.any(to_numpy(matched))
    similarity = losses.conjugate_similarity(
        FEATURES, CONJUGATE, conjugate_mask=nothing
    )
    assert not np.any(to_numpy(similarity))


def test_a_map_of_one_place_is_judged_by_that_place():
    similarity = np.abs(clips(2, 3, 2, 2))
    alone = np.zeros(similarity.shape, "float32")
    alone[:, 1, 0, 1] = 0.3
    expected = similarity[:, 1, 0, 1]
    assert_close(losses.action_similarity(alone, similarity), expected)
    assert_close(losses.context_difference(alone, similarity), 1 - expected)


def test_a_map_of_zeros_loses_nothing():
    zeros = np.zeros(ACTION_MAP.shape, "float32")
    assert not np.any(to_numpy(losses.action_similarity(zeros, ACTION_MAP)))
    assert not np.any(to_numpy(losses.context_difference(zeros, ACTION_MAP)))


@pytest.mark.parametrize(
    "dtype, tolerance", [("float16", 0), ("bfloat16", 0.02)]
)
def test_half_precision(dtype, tolerance):
    # Products of bfloat16 round to 8 bits, all else is float32.
    half = ops.cast(FEATURES, dtype), ops.cast(CONJUGATE, dtype)
    similarity = losses.conjugate_similarity(*half)
    assert keras.backend.standardize_dtype(similarity.dtype) == "float32"
    exact = [ops.cast(clip, "float32") for clip in half]
    assert_close(similarity, losses.conjugate_similarity(*exact), tolerance)


def test_the_gradient_of_a_batch_is_that_of_its_clips():
    def similarity(features, conjugate):
        return losses.conjugate_similarity(features, conjugate)

    upstream = clips(*FEATURES.shape[:-1], seed=9)
    batch = gradients(similarity, (FEATURES, CONJUGATE), upstream)
    for i in range(len(FEATURES)):
        clip = slice(i, i + 1)
        alone = gradients(
            similarity, (FEATURES[clip], CONJUGATE[clip]), upstream[clip]
        )
        for whole, part in zip(batch, alone, strict=True):
            assert_close(whole[clip], part)


def test_what_made_the_features_learns():
    inputs = keras.Input((None, 2, 4, 5))
    backbone = keras.layers.Dense(8)
    model = keras.Model(inputs, PairLosses()(backbone(inputs)))
    before = to_numpy(backbone.kernel)
    model.compile("sgd", "mse")
    model.fit(FEATURES, np.zeros((2, 2)), verbose=0)
    assert np.all(np.isfinite(to_numpy(backbone.kernel)))
    assert np.any(to_numpy(backbone.kernel) != before)


@pytest.mark.parametrize(
    "function, name",
    [
        (losses.match_features, "reference"),
        (losses.conjugate_similarity, "conjugate"),
    ],
)
def test_rejects_what_does_not_fit(function, name):
    with pytest.raises(ValueError, match="`features` must have the shape"):
        function(FEATURES[0], CONJUGATE)
    with pytest.raises(ValueError, match=f"`{name}` must have the shape"):
        function(FEATURES, CONJUGATE[..., 0])
    with pytest.raises(ValueError, match="the same number of channels"):
        function(FEATURES, CONJUGATE[..., :4])
    for gamma in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`gamma` must be a finite number"):
            function(FEATURES, CONJUGATE, gamma=gamma)


def test_how_large_a_map_is_does_not_matter():
    similarity = clips(3, 2, 2, 2)
    weights = np.exp(clips(3, 2, 2, 2, seed=1))
    for loss in (losses.action_similarity, losses.context_difference):
        expected = loss(weights, similarity)
        assert_close(loss(1e-30 * weights, similarity), expected)


def softmax(logits):
    scores = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def test_named_action_is_the_distance_from_naming_none():
    logits = 3.0 * clips(4, 5)
    scores = softmax(logits)
    uniform = np.full(5, 0.2)
    assert_close(
        losses.named_action(logits),
        np.sum(uniform * np.log(uniform / scores), axis=-1),
    )
    assert_close(
        losses.named_action(logits, background=[1, 4]),
        -np.log(scores[:, 1] + scores[:, 4]),
    )
    of_actions = 1.0 / (1.0 + np.exp(-logits[:, [0, 2, 3]]))
    assert_close(
        losses.named_action(logits, "sigmoid", [1, 4]),
        -np.log(1.0 - of_actions).mean(axis=-1),
    )


def test_named_action_is_zero_where_none_is_named():
    assert_close(losses.named_action(np.full((2, 4), 7.0)), [0.0, 0.0])
    none = np.array([[-50.0, 50.0, -50.0]])
    assert_close(losses.named_action(none, background=[1]), [0.0])
    assert_close(losses.named_action(none, "sigmoid", [1]), [0.0])


def test_named_action_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="`activation` must be"):
        losses.named_action(clips(2, 3), "tanh")
    for place in (3, -1):
        with pytest.raises(ValueError, match="`background` must"):
            losses.named_action(clips(2, 3), background=[place])
    with pytest.raises(ValueError, match="`background` must"):
        losses.named_action(clips(2, 2), "sigmoid", background=[0, 1])
