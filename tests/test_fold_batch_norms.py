import keras
import numpy as np
import pytest
from keras import layers

from actx_tf import backbones
from actx_tf.backbones import fold_batch_norms
from actx_tf.data.compute_dtype import _multiplies_bfloat16
from tests.harness import clips


def with_random_statistics(network):
    """Gives a network's batch normalization something to do."""
    rng = np.random.default_rng(1)
    for layer in network._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
            for variable in (layer.moving_variance, layer.gamma):
                if variable is not None:
                    variable.assign(rng.uniform(0.5, 2, variable.shape))
            if layer.beta is not None:
                layer.beta.assign(rng.normal(size=layer.beta.shape))
    return network


def normalizations(network):
    return sum(
        isinstance(layer, layers.BatchNormalization)
        for layer in network._flatten_layers()
    )


def outputs(network, inputs):
    made = network(inputs, training=False)
    return keras.ops.convert_to_numpy(keras.ops.cast(made, "float32"))


def assert_same(network, folded, inputs, tolerance=1e-5):
    expected = outputs(network, inputs)
    error = np.abs(outputs(folded, inputs) - expected).max()
    assert error <= tolerance * np.abs(expected).max()


PRODUCTS = {
    "conv1d": (layers.Conv1D(5, 3, strides=2), (9, 4)),
    "conv2d": (layers.Conv2D(6, 3, groups=2, use_bias=False), (9, 8, 4)),
    "conv3d": (layers.Conv3D(5, 3, padding="same"), (3, 5, 6, 2)),
    "depthwise 1d": (layers.DepthwiseConv1D(3, depth_multiplier=2), (9, 4)),
    "depthwise 2d": (layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 8, 4)),
    "dense": (layers.Dense(5), (7, 4)),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("affine", [True, False])
def test_products_take_in_what_follows(name, affine):
    product, shape = PRODUCTS[name]
    product = type(product).from_config(product.get_config())
    network = keras.Sequential(
        [
            keras.Input(shape),
            product,
            layers.BatchNormalization(scale=affine, center=affine),
            layers.ReLU(),
        ]
    )
    with_random_statistics(network)
    if product.use_bias:
        product.bias.assign(np.linspace(-1, 1, *product.bias.shape))
    folded = fold_batch_norms(network)
    assert normalizations(folded) == 0
    assert_same(network, folded, clips(2, *shape))


def test_is_exact_in_float64():
    clip = keras.Input((3, 6, 7, 2), dtype="float64")
    x = layers.Conv3D(4, 3, use_bias=False, dtype="float64")(clip)
    x = layers.BatchNormalization(dtype="float64")(x)
    network = with_random_statistics(keras.Model(clip, x))
    folded = fold_batch_norms(network)
    inputs = np.random.default_rng(0).normal(size=(2, 3, 6, 7, 2))
    np.testing.assert_allclose(folded(inputs), network(inputs), rtol=1e-12)


def of_an_activation(x):
    return layers.BatchNormalization()(
        layers.Conv2D(4, 3, activation="relu")(x)
    )


def of_the_input(x):
    return layers.BatchNormalization()(x)


def seen_by_another(x):
    y = layers.Conv2D(4, 3)(x)
    return layers.Concatenate()([layers.BatchNormalization()(y), y])


def of_a_layer_used_twice(x):
    convolution = layers.Conv2D(4, 3, padding="same")
    return convolution(layers.BatchNormalization()(convolution(x)))


def used_twice(x):
    normalization = layers.BatchNormalization()
    y, z = layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3)(x)
    return layers.Add()([normalization(y), normalization(z)])


def of_another_axis(x):
    return layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(x))


@pytest.mark.parametrize(
    "graph",
    [
        *(of_an_activation, of_the_input, seen_by_another),
        *(of_a_layer_used_twice, used_twice, of_another_axis),
    ],
    ids=lambda graph: graph.__name__,
)
def test_stays_where_it_does_not_follow_a_product_alone(graph):
    image = keras.Input((8, 9, 4))
    network = with_random_statistics(keras.Model(image, graph(image)))
    # Something to fold beside it.
    x = layers.BatchNormalization()(layers.Conv2D(3, 1)(network.outputs[0]))
    network = with_random_statistics(keras.Model(image, x))
    before = normalizations(network)
    folded = fold_batch_norms(network)
    assert normalizations(folded) == before - 1
    assert_same(network, folded, clips(2, 8, 9, 4))


def test_an_output_is_not_folded_away():
    image = keras.Input((8, 9, 4))
    x = layers.Conv2D(4, 3)(image)
    network = keras.Model(image, [x, layers.BatchNormalization()(x)])
    assert fold_batch_norms(network) is network


def test_statistics_of_the_batch_stay():
    image = keras.Input((8, 9, 4))
    x = layers.Conv2D(4, 3)(image)
    network = keras.Model(image, layers.BatchNormalization()(x, training=True))
    assert fold_batch_norms(network) is network


@keras.saving.register_keras_serializable(package="test_folding")
class Halved(layers.Layer):
    def call(self, x):
        return x / 2


def own_network():
    """A model with a model inside, and a layer that is not Keras' own."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, 2, padding="same", use_bias=False)(image)
    inner = keras.Model(image, layers.BatchNormalization()(x))
    clip = keras.Input((4, 16, 16, 3))
    x = Halved()(keras.ops.reshape(clip, (-1, 16, 16, 3)))
    x = keras.ops.reshape(inner(x), (-1, 4, 8, 8, 4))
    x = layers.Conv3D(8, 1, use_bias=False)(x)
    return keras.Model(clip, layers.BatchNormalization()(x))


def i3d():
    return backbones.InceptionI3D(False, None, (None, 32, 32, 3))


def resnet():
    return backbones.I3DResNet34(None, (None, 32, 32, 3))


def mobilenet():
    return backbones.MobileNetV2Clip(
        weights=None, input_shape=(None, 32, 32, 3)
    )


def own():
    return backbones.make_backbone(own_network(), value_range=(-1, 1))


BACKBONES = {
    "i3d": (i3d, 16),
    "resnet": (resnet, 16),
    "mobilenet": (mobilenet, 8),
    "own": (own, 4),
}


@pytest.fixture(scope="module", params=BACKBONES)
def backbone_and_clip(request):
    make, frames = BACKBONES[request.param]
    keras.utils.set_random_seed(0)
    backbone = make()
    size = backbone.description.size
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (1, frames, *size, 3)).astype("float32")
    # Statistics of the clip, so that no deep layer's values fade or grow.
    norms = [
        layer
        for layer in backbone._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]
    for layer in norms:
        layer.momentum = 0.0
    backbone(clip, training=True)
    for layer in norms:  # a few values can all be alike
        variance = layer.moving_variance
        variance.assign(keras.ops.maximum(variance, 0.1))
    return backbone, clip


def test_backbones_make_the_same_features(backbone_and_clip):
    backbone, clip = backbone_and_clip
    folded = fold_batch_norms(backbone)
    assert normalizations(backbone) > normalizations(folded) == 0
    assert folded.description == backbone.description
    assert_same(backbone, folded, clip, 1e-4)


def test_bfloat16_is_no_farther_off_than_without_folding(
    backbone_and_clip, request
):
    backbone, clip = backbone_and_clip
    folded = fold_batch_norms(backbone, "mixed_bfloat16")
    products = [
        layer
        for layer in folded._flatten_layers()
        if isinstance(layer, (layers.Conv2D, layers.Conv3D))
    ]
    assert {layer.compute_dtype for layer in products} == {"bfloat16"}
    name = request.node.callspec.params["backbone_and_clip"]
    make, _ = BACKBONES[name]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        unfolded = make()
    finally:
        keras.config.set_dtype_policy("float32")
    unfolded.set_weights(backbone.get_weights())
    expected = outputs(backbone, clip)
    errors = [
        np.linalg.norm(outputs(network, clip) - expected)
        for network in (folded, unfolded)
    ]
    assert 0 < errors[0] < 1.1 * errors[1]
    # Other processors add up the products of 3D convolutions in bfloat16.
    if name != "resnet" or _multiplies_bfloat16():
        assert errors[0] < 0.3 * np.linalg.norm(expected)


def test_later_training_changes_nothing():
    network = own_network()
    inputs = clips(1, 4, 16, 16, 3)
    folded = fold_batch_norms(network)
    expected = outputs(folded, inputs)
    for variable in network.weights:
        variable.assign(variable + 1.0)
    assert (outputs(folded, inputs) == expected).all()


def test_leaves_the_network_as_it_is():
    network = own_network()
    inputs = clips(1, 4, 16, 16, 3)
    config, expected = network.get_config(), outputs(network, inputs)
    fold_batch_norms(network, "mixed_bfloat16")
    assert network.get_config() == config
    assert (outputs(network, inputs) == expected).all()


def doubled(x):
    return 2 * x


@pytest.mark.parametrize("policy", [None, "mixed_bfloat16"])
def test_layers_of_functions_stay_as_they_are(policy):
    image = keras.Input((8, 9, 4))
    x = layers.Conv2D(4, 3, kernel_regularizer=lambda kernel: 0.0)(image)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(4, 1, activation=lambda x: x / 3)(
        layers.Lambda(doubled)(x)
    )
    network = with_random_statistics(keras.Model(image, x))
    folded = fold_batch_norms(network, policy)
    assert normalizations(folded) == 0
    assert_same(network, folded, clips(2, 8, 9, 4), 0.02 if policy else 1e-5)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv3D(4, 3)
        self.normalization = layers.BatchNormalization()

    def call(self, clip):
        return self.normalization(self.convolution(clip))


def test_models_of_unknown_layers():
    network = Subclassed()
    network(clips(1, 4, 8, 8, 3))
    assert fold_batch_norms(network) is network
    assert fold_batch_norms(network, "float32") is network
    with pytest.raises(ValueError, match="mixed_bfloat16.*Received: network="):
        fold_batch_norms(network, "mixed_bfloat16")
