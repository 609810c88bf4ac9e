import keras
import numpy as np
import pytest

from actx_tf.layers import AttentionalPooling
from tests import reference
from tests.harness import assert_close
from tests.harness import assert_shapes_are_known_before
from tests.harness import clips
from tests.harness import to_numpy


@pytest.mark.parametrize("sizes", [(5, 4, 3), (1, 1, 1)])
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_equals_the_bilinear_form_for_each_clip(rank, sizes):
    features = clips(3, *sizes, 6)
    layer = AttentionalPooling(4, rank)
    logits = layer(features)
    assert len(layer.weights) == 2
    top_down = to_numpy(layer.top_down.kernel).reshape(6, rank, 4)
    bottom_up = to_numpy(layer.bottom_up.kernel)
    expected = [
        reference.attentional_pooling(clip, top_down, bottom_up)
        for clip in features
    ]
    assert_close(logits, expected)


@pytest.mark.parametrize("rank", [1, 3])
def test_maps_explain_the_logits(rank):
    features = clips(2, 5, 4, 3, 6)
    layer = AttentionalPooling(4, rank)
    outputs = layer(features, return_attention_maps=True)
    logits, class_maps, bottom_up = map(to_numpy, outputs)
    assert_close(layer(features), logits, tolerance=0)
    assert_close(class_maps.mean(axis=(1, 2, 3)), logits)
    top_down = to_numpy(layer.top_down(features)).reshape(2, 5, 4, 3, rank, 4)
    if rank == 1:
        assert bottom_up.shape == (2, 5, 4, 3)
        bottom_up = bottom_up[..., None]
    assert_close(class_maps, np.sum(top_down * bottom_up[..., None], axis=-2))
    assert_close(bottom_up, features @ to_numpy(layer.bottom_up.kernel))


def test_a_bottom_up_map_of_one_is_a_linear_classifier_on_average_pooling():
    features = clips(2, 5, 4, 3, 6)
    features[..., 0] = 1.0  # b = (1, 0, ...) then is a map of ones
    layer = AttentionalPooling(4)
    layer.build(features.shape)
    layer.bottom_up.kernel.assign(np.eye(6)[:, :1])
    mean = features.mean(axis=(1, 2, 3))
    assert_close(layer(features), mean @ to_numpy(layer.top_down.kernel))


def test_logits_do_not_depend_on_where_or_how_often_things_are():
    features = clips(1, 5, 4, 3, 6)
    layer = AttentionalPooling(4, rank=2)
    logits = layer(features)
    order = np.random.default_rng(0).permutation(60)
    shuffled = features.reshape(1, 60, 6)[:, order].reshape(features.shape)
    assert_close(layer(shuffled), logits)
    assert_close(layer(np.concatenate([features, features], axis=1)), logits)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_shapes_are_known_before(rank, maps):
    assert_shapes_are_known_before(
        AttentionalPooling(9, rank, dtype="mixed_bfloat16"),
        clips(7, 5, 4, 3, 6),
        return_attention_maps=maps,
    )


def test_padding_changes_nothing_and_has_no_attention():
    features = clips(1, 4, 3, 2, 6)
    layer = AttentionalPooling(4, rank=2)
    alone = layer(features, return_attention_maps=True)
    pad = ((0, 0), (0, 2), (0, 1), (0, 3))
    mask = np.pad(np.ones((1, 4, 3, 2), "bool"), pad)
    padded = np.pad(features, (*pad, (0, 0)), constant_values=np.nan)
    batched = layer(padded, mask=mask, return_attention_maps=True)
    assert_close(batched[0], alone[0])
    for cut, whole in zip(alone[1:], batched[1:], strict=True):
        assert_close(whole[:, :4, :3, :2], cut)
        assert np.all(to_numpy(whole)[~mask] == 0)


@pytest.mark.parametrize("rank", [1, 2])
def test_learns_what_average_pooling_cannot_see(rank):
    """The class is which of two channels goes along with a third."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=64)
    features = rng.normal(size=(64, 4, 3, 2, 6)).astype("float32")
    for i, label in enumerate(labels):
        features[i, ..., label] += 2.0 * features[i, ..., 2]
    features -= features.mean(axis=(1, 2, 3), keepdims=True)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, None, 6))
    model = keras.Model(inputs, AttentionalPooling(2, rank)(inputs))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss, metrics=["accuracy"])
    model.fit(features, labels, batch_size=16, epochs=30, verbose=0)
    assert model.evaluate(features, labels, verbose=0)[1] > 0.95


def test_logits_and_maps_stay_float32_under_a_half_policy():
    layer = AttentionalPooling(4, rank=2, dtype="mixed_bfloat16")
    for output in layer(clips(2, 3, 4, 5, 6), return_attention_maps=True):
        assert keras.backend.standardize_dtype(output.dtype) == "float32"


@pytest.mark.parametrize("name", ["num_classes", "rank"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_rejects_numbers_below_one(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must .* {name}={value}"):
        AttentionalPooling(**{"num_classes": 2, name: value})


def test_rejects_what_is_no_feature_map():
    with pytest.raises(ValueError, match="`features` must have the shape"):
        AttentionalPooling(2)(clips(2, 4, 3, 6))
    with pytest.raises(ValueError, match="known number of channels"):
        AttentionalPooling(2).build((None, 4, 3, 3, None))


def test_rejects_another_number_of_channels_than_it_was_built_for():
    layer = AttentionalPooling(2)
    layer(clips(2, 4, 3, 3, 6))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(clips(2, 4, 3, 3, 7))
