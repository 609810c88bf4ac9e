import keras
import numpy as np
import pytest

from actx_tf.layers import FactorizedAttentionPooling
from actx_tf.layers import factorized_attention_pooling
from tests import reference
from tests.harness import assert_close
from tests.harness import assert_shapes_are_known_before
from tests.harness import clips
from tests.harness import gradients
from tests.harness import to_numpy

LOCATIONS = 10 * 4 * 3


def maps_of(features, **kwargs):
    """F_s, F_c, S and C of a layer with new weights."""
    keras.utils.set_random_seed(0)
    layer = FactorizedAttentionPooling(**kwargs)
    outputs = layer(features, return_attention_maps=True)
    pooled, action_map, context_map = map(to_numpy, outputs)
    return *np.split(pooled, 2, axis=-1), action_map, context_map


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"rho": 70.0, "alpha": 3.0, "beta": 0.5},
        {"kernel_size": 3},
        {"kernel_size": (1, 2, 3)},
        {"use_attention_map": False},
    ],
    ids=str,
)
def test_equals_the_paper_for_each_clip(kwargs):
    features = clips(2, 4, 3, 5, 6)
    layer = FactorizedAttentionPooling(**kwargs)
    layer.build(features.shape)
    layer.theta.bias.assign(clips(6, seed=1))
    outputs = layer(features, return_attention_maps=True)

    phi = to_numpy(layer.phi.kernel)
    psi = to_numpy(layer.psi.kernel) if layer.use_attention_map else None
    theta = to_numpy(layer.theta.kernel), to_numpy(layer.theta.bias)
    for i, clip in enumerate(features):
        action_map, context_map = reference.attention_maps(
            clip, phi, psi, layer.rho, layer.alpha, layer.beta
        )
        pooled = [
            reference.pool(clip, weights, *theta)
            for weights in (action_map, context_map)
        ]
        expected = np.concatenate(pooled), action_map, context_map
        for actual, wanted in zip(outputs, expected, strict=True):
            assert_close(actual[i], wanted)
    assert_close(layer(features), outputs[0], tolerance=0)


def test_without_a_transformation_it_pools_the_features():
    features = clips(2, 4, 3, 5, 6)
    layer = FactorizedAttentionPooling(transformation="identity", alpha=3.0)
    pooled, *maps = layer(features, return_attention_maps=True)
    names = {weight.path.split("/")[-2] for weight in layer.weights}
    assert names == {"phi", "psi"}
    for part, weights in zip(
        np.split(to_numpy(pooled), 2, axis=-1), maps, strict=True
    ):
        weights = to_numpy(weights)
        mean = np.einsum("bthwc,bthw->bc", features, weights)
        assert_close(part, mean / weights.sum(axis=(1, 2, 3))[:, None])


def test_a_theta_of_low_rank_begins_as_the_identity():
    features = np.abs(clips(2, 4, 3, 5, 6))
    begun = FactorizedAttentionPooling(transformation="low_rank", theta_rank=2)
    begun.build(features.shape)
    without = FactorizedAttentionPooling(transformation="identity")
    without.build(features.shape)
    for name in ("phi", "psi"):
        kernel = getattr(begun, name).kernel
        getattr(without, name).kernel.assign(kernel)
    assert_close(begun(features), without(features))


@pytest.mark.parametrize("kernel_size", [1, (1, 3, 3)])
def test_a_theta_of_low_rank_is_a_theta(kernel_size):
    features = clips(2, 4, 3, 5, 6)
    narrow = FactorizedAttentionPooling(
        transformation="low_rank", theta_rank=2, kernel_size=kernel_size
    )
    narrow.build(features.shape)
    kernel = np.random.default_rng(0).normal(size=(1, 1, 1, 2, 6))
    narrow.theta.kernel.assign(kernel)
    narrow.theta.bias.assign(np.arange(6) / 10)
    full = FactorizedAttentionPooling(kernel_size=kernel_size)
    full.build(features.shape)
    for name in ("phi", "psi"):
        getattr(full, name).kernel.assign(getattr(narrow, name).kernel)
    first = to_numpy(narrow.theta_narrow.kernel)
    assert first.shape[-1] == 2 and len(narrow.weights) == 5
    full.theta.kernel.assign(first @ kernel[0, 0, 0])
    full.theta.bias.assign(np.arange(6) / 10)
    assert_close(narrow(features), full(features))


def test_an_unknown_transformation_is_refused():
    with pytest.raises(ValueError, match="must be one of .'convolution', 'low"):
        FactorizedAttentionPooling(transformation="linear")


def test_alpha_zero_makes_half_of_everything_action():
    features = clips(2, 10, 4, 3, 6)
    *_, action_map, context_map = maps_of(
        features, alpha=0.0, use_attention_map=False
    )
    assert np.all(action_map == 0.5)
    assert np.all(context_map == 0.5)


@pytest.mark.parametrize("rho", [0.0, 10.0, 30.0, 75.0, 100.0])
def test_large_alpha_makes_rho_percent_action_and_the_rest_context(rho):
    features = clips(2, 10, 4, 3, 6)
    *_, action_map, context_map = maps_of(
        features, rho=rho, alpha=1e6, use_attention_map=False
    )
    ones = np.mean(action_map == 1, axis=(1, 2, 3))
    zeros = np.mean(action_map == 0, axis=(1, 2, 3))
    np.testing.assert_allclose(ones, rho / 100, atol=1 / LOCATIONS)
    # The location at the percentile itself is on the border.
    assert np.all(ones + zeros >= 1 - 1 / LOCATIONS)
    np.testing.assert_array_equal(context_map, 1 - action_map)


def test_the_attention_map_sums_to_one():
    features = clips(2, 10, 4, 3, 6)
    for beta in (0.0, 1.0, 30.0):
        *_, action_map, context_map = maps_of(features, beta=beta)
        attention_map = action_map / (1 - context_map)
        np.testing.assert_allclose(
            attention_map.sum(axis=(1, 2, 3)), 1, rtol=1e-5
        )


def test_beta_zero_is_average_pooling():
    features = clips(2, 10, 4, 3, 6)
    f_s, f_c, *_ = maps_of(features, alpha=0.0, beta=0.0)
    layer = FactorizedAttentionPooling()
    layer.build(features.shape)
    # With theta the identity, what is averaged is relu(F).
    layer.theta.kernel.assign(np.zeros((1, 1, 1, 6, 6)))
    layer.alpha = layer.beta = 0.0
    mean = np.maximum(features, 0).mean(axis=(1, 2, 3))
    assert_close(layer(features), np.concatenate([mean, mean], axis=-1))
    assert_close(f_s, f_c)


def test_large_beta_is_max_pooling():
    features = np.abs(clips(2, 10, 4, 3, 6))
    layer = FactorizedAttentionPooling(beta=1e4)
    layer.build(features.shape)
    layer.theta.kernel.assign(np.zeros((1, 1, 1, 6, 6)))
    pooled, action_map, _ = layer(features, return_attention_maps=True)
    confidence = features @ to_numpy(layer.psi.kernel)[0, 0, 0, :, 0]
    for i in range(2):
        best = np.unravel_index(np.argmax(confidence[i]), (10, 4, 3))
        assert np.flatnonzero(to_numpy(action_map)[i]).size == 1
        assert to_numpy(action_map)[i][best] > 0
        assert_close(pooled[i, :6], features[i][best])


@pytest.mark.parametrize("keep_time", [False, True])
@pytest.mark.parametrize("maps", [False, True])
def test_shapes_are_known_before(keep_time, maps):
    assert_shapes_are_known_before(
        FactorizedAttentionPooling(dtype="mixed_bfloat16"),
        clips(7, 5, 4, 3, 6),
        keep_time=keep_time,
        return_attention_maps=maps,
    )


@pytest.mark.parametrize("use_attention_map", [False, True])
def test_padding_changes_nothing_and_has_no_attention(use_attention_map):
    clip = clips(1, 4, 4, 3, 6)
    padded = np.concatenate([clip, np.full((1, 2, 4, 3, 6), np.nan)], axis=1)
    mask = np.arange(6)[None] < 4
    layer = FactorizedAttentionPooling(
        kernel_size=3, use_attention_map=use_attention_map
    )
    alone = layer(clip, return_attention_maps=True)
    batched = layer(padded, mask=mask, return_attention_maps=True)
    assert_close(batched[0], alone[0])
    for cut, whole in zip(alone[1:], batched[1:], strict=True):
        assert_close(whole[:, :4], cut)
        assert np.all(to_numpy(whole)[:, 4:] == 0)


@pytest.mark.parametrize("masked", [False, True])
def test_every_weight_learns(masked):
    features = clips(8, 4, 3, 2, 6)
    inputs = [keras.Input((None, 3, 2, 6)), keras.Input((4,), dtype="bool")]
    layer = FactorizedAttentionPooling()
    pooled = layer(inputs[0], mask=inputs[1] if masked else None)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    before = [to_numpy(weight) for weight in layer.weights]
    model.compile("sgd", "mse")
    mask = np.arange(4) < np.full((8, 1), 3)
    model.fit([features, mask], np.ones(8), verbose=0)
    assert len(before) == 4
    for old, new in zip(before, layer.weights, strict=True):
        assert np.all(np.isfinite(to_numpy(new)))
        assert np.any(to_numpy(new) != old)


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_rejects_a_sharpness_that_is_negative_or_not_finite(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must .* {name}={value}"):
        FactorizedAttentionPooling(**{name: value})


@pytest.mark.parametrize("rho", [-1, 101, float("nan")])
def test_rejects_rho_that_is_no_percentage(rho):
    with pytest.raises(ValueError, match="`rho` must be a percentage"):
        FactorizedAttentionPooling(rho=rho)


def test_rejects_what_is_no_feature_map():
    with pytest.raises(ValueError, match="`features` must have the shape"):
        FactorizedAttentionPooling()(clips(2, 4, 3, 6))
    with pytest.raises(ValueError, match="known number of channels"):
        FactorizedAttentionPooling().build((None, 4, 3, 3, None))


def test_rejects_another_number_of_channels_than_it_was_built_for():
    layer = FactorizedAttentionPooling()
    layer(clips(2, 4, 3, 3, 6))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(clips(2, 4, 3, 3, 7))


@pytest.mark.parametrize("padding", [0, 2])
def test_steps_have_the_clip_s_features_as_their_mean(padding):
    layer = FactorizedAttentionPooling(kernel_size=3)
    x = clips(2, 5, 3, 4, 6)
    expected = layer(x)
    x = np.pad(x, ((0, 0), (0, padding), *[(0, 0)] * 3), constant_values=7.0)
    mask = np.arange(5 + padding)[None] < [[5], [5]] if padding else None
    steps = to_numpy(layer(x, mask=mask, keep_time=True))
    assert steps.shape == (2, 5 + padding, 12)
    assert_close(steps[:, :5].mean(axis=1), expected)
    assert not steps[:, 5:].any()


def test_a_step_s_feature_is_its_share_of_the_weighted_mean():
    layer = FactorizedAttentionPooling()
    x = clips(1, 4, 3, 2, 6)
    _, action, context = layer(x, return_attention_maps=True)
    steps = to_numpy(layer(x, keep_time=True))
    theta = to_numpy(layer.theta(x))
    for weights, part in ((action, steps[..., :6]), (context, steps[..., 6:])):
        weights = to_numpy(weights)
        transformed = np.maximum(0.0, x + theta)
        for t in range(4):
            step = np.sum(weights[0, t, ..., None] * transformed[0, t], (0, 1))
            assert_close(part[0, t], 4 * step / weights.sum())


@pytest.mark.parametrize("sharpness", [30.0, 100.0])
def test_a_sharp_map_loses_no_action(sharpness):
    """S is tiny where its two maps are large at different places."""
    features = clips(16, 4, 3, 3, 6)
    keras.utils.set_random_seed(0)
    layer = FactorizedAttentionPooling(alpha=sharpness, beta=sharpness)
    pooled = to_numpy(layer(features))
    theta = to_numpy(layer.theta.kernel), to_numpy(layer.theta.bias)
    phi, psi = to_numpy(layer.phi.kernel), to_numpy(layer.psi.kernel)
    sums = []
    for clip, actual in zip(features, pooled, strict=True):
        maps = reference.attention_maps(
            clip, phi, psi, layer.rho, layer.alpha, layer.beta
        )
        expected = [reference.pool(clip, weights, *theta) for weights in maps]
        assert_close(actual, np.concatenate(expected), tolerance=2e-3)
        sums.append(maps[0].sum())
    assert min(sums) < 1e-12  # it is tried


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("use_attention_map", [True, False])
def test_a_window_has_the_statistics_of_all_that_was_seen(
    use_attention_map, policy
):
    features = clips(2, 7, 3, 4, 8)
    layer = FactorizedAttentionPooling(
        rho=40.0, use_attention_map=use_attention_map, dtype=policy
    )
    layer.build(features.shape)
    earlier = np.zeros((2, 0, 3, 4, 1 + use_attention_map), "float32")
    maps = []
    for window in (features[:, :4], features[:, 4:]):
        pooled, *of_window, confidences = layer.attend_after(window, earlier)
        maps.append([to_numpy(x) for x in of_window])
        earlier = np.concatenate([earlier, to_numpy(confidences)], axis=1)
        earlier = earlier.astype("float32")
        # F_s and F_c are means over the window, by its maps.
        transformed = to_numpy(layer._transform(window, None))
        transformed = transformed.reshape(window.shape)
        for part, weights in zip(
            np.split(to_numpy(pooled), 2, axis=-1), maps[-1], strict=True
        ):
            total = np.einsum("bthw,bthwc->bc", weights, transformed)
            assert_close(part, total / weights.sum((1, 2, 3))[:, None], 1e-4)
    tolerance = 2e-5 if policy == "float32" else 1e-2
    first = layer(features[:, :4], return_attention_maps=True)
    whole = layer(features, return_attention_maps=True)
    for index in (0, 1):
        assert_close(maps[0][index], first[1 + index], tolerance)
    assert_close(maps[1][1], to_numpy(whole[2])[:, 4:], tolerance)
    # S_att is a share of the window.
    expected = to_numpy(whole[1])[:, 4:]
    if use_attention_map:
        shares = maps[1][0] / maps[1][0].sum((1, 2, 3), keepdims=True)
        expected = expected / expected.sum((1, 2, 3), keepdims=True)
        assert_close(shares, expected, tolerance)
    else:
        assert_close(maps[1][0], expected, tolerance)


def test_the_gradient_of_relu():
    x = np.array([-2.0, -0.0, 0.0, 1e-3, 1.0, 8.0], "float32")
    upstream = np.array([1.0, 2.0, 3.0, 4.0, -5.0, 0.5], "float32")
    relu = factorized_attention_pooling._relu
    np.testing.assert_array_equal(to_numpy(relu(x)), np.maximum(x, 0.0))
    (slope,) = gradients(relu, [x], upstream)
    np.testing.assert_array_equal(to_numpy(slope), upstream * (x > 0))


def test_in_float16_a_clip_is_scaled_to_at_most_8():
    features = clips(3, 4, 3, 2, 6)
    features /= np.abs(features).max(axis=(1, 2, 3, 4), keepdims=True)
    features *= np.reshape([4.0, 8.5, -1600.0], (3, 1, 1, 1, 1))
    scale = to_numpy(factorized_attention_pooling._scale(features))
    assert scale.shape == (3, 1, 1, 1, 1)
    np.testing.assert_allclose(scale.ravel(), [1.0, 8.5 / 8, 200.0], rtol=1e-6)
