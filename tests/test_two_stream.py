import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf.models import ActX
from actx_tf.models import TwoStream
from tests.harness import clips
from tests.harness import run_fresh

NUM_CLASSES = 3
LABELS = np.arange(6) % NUM_CLASSES
INPUTS = {
    "rgb": {
        "features": clips(6, 4, 3, 3, 8),
        "mask": np.arange(4) < np.array([[4], [4], [2], [3], [4], [1]]),
    },
    "flow": clips(6, 5, 2, 2, 7, seed=1),
}


def make_flow_model(num_classes=NUM_CLASSES, dtype=None):
    model = keras.Sequential(
        [
            keras.layers.GlobalAveragePooling3D(dtype=dtype),
            keras.layers.Dropout(0.5, seed=0, dtype=dtype),
            keras.layers.Dense(num_classes, dtype=dtype),
        ]
    )
    model.build((None, None, 2, 2, 7))
    return model


@pytest.fixture
def streams():
    """ActX, which takes and returns dictionaries, and a plain classifier."""
    keras.utils.set_random_seed(0)
    rgb = ActX(NUM_CLASSES)
    rgb(INPUTS["rgb"])
    return rgb, make_flow_model()


def expected_scores(streams, flow_weight, activation="softmax"):
    rgb, flow = streams
    probabilities = []
    for logits in (rgb(INPUTS["rgb"])["logits"], flow(INPUTS["flow"])):
        logits = np.asarray(logits, "float64")
        if activation == "sigmoid":
            probabilities.append(1 / (1 + np.exp(-logits)))
        else:
            powers = np.exp(logits)
            probabilities.append(powers / powers.sum(-1, keepdims=True))
    return np.average(probabilities, axis=0, weights=(1, flow_weight))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("flow_weight", [0, 1.0, 1.5, 1e9])
def test_scores(streams, flow_weight, activation):
    model = TwoStream(*streams, flow_weight, activation)
    scores = model(INPUTS)["scores"]
    assert scores.shape == (6, NUM_CLASSES)
    expected = expected_scores(streams, flow_weight, activation)
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    if activation == "softmax":
        np.testing.assert_allclose(np.sum(scores, -1), 1, atol=1e-6)


def test_evaluate_and_predict(streams):
    model = TwoStream(*streams)
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    scores = expected_scores(streams, 1.0)
    of_label = scores[np.arange(6), LABELS]
    expected = {
        "loss": -np.mean(np.log(of_label)),
        "accuracy": np.mean(np.argmax(scores, -1) == LABELS),
    }
    dataset = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(4)
    for data in ((INPUTS, LABELS), (dataset,)):
        results = model.evaluate(*data, verbose=0, return_dict=True)
        assert results == pytest.approx(expected, abs=1e-5)
    predicted = model.predict(dataset, verbose=0)["scores"]
    np.testing.assert_allclose(predicted, scores, atol=1e-6)


def test_several_classes_a_clip(streams):
    model = TwoStream(*streams, activation="sigmoid")
    model.compile(loss="binary_crossentropy", metrics=["binary_accuracy"])
    labels = np.random.default_rng(0).integers(0, 2, (6, NUM_CLASSES))
    results = model.evaluate(INPUTS, labels, verbose=0, return_dict=True)
    scores = expected_scores(streams, 1.0, "sigmoid")
    correct = np.mean((scores > 0.5) == labels)
    assert results["binary_accuracy"] == pytest.approx(correct)


@pytest.mark.filterwarnings("ignore:The model does not have any trainable")
def test_it_trains_nothing_and_the_streams_stay_trainable(streams):
    model = TwoStream(*streams)
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    before = [np.array(weight) for weight in model.get_weights()]
    model.fit(INPUTS, LABELS, epochs=2, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for stream in streams:
        assert stream.trainable_variables
    # What one stream learns later counts.
    streams[1].set_weights([0 * weight for weight in streams[1].get_weights()])
    np.testing.assert_allclose(
        model(INPUTS)["scores"], expected_scores(streams, 1.0), atol=1e-6
    )


def test_streams_run_as_at_test(streams):
    scores = TwoStream(*streams)(INPUTS, training=True)["scores"]
    np.testing.assert_allclose(scores, expected_scores(streams, 1.0), atol=1e-6)


def test_scores_are_float32(streams):
    model = TwoStream(streams[0], make_flow_model(dtype="mixed_float16"))
    assert model(INPUTS)["scores"].dtype == "float32"


def test_round_trip_through_a_fresh_process(streams, tmp_path):
    model = TwoStream(*streams, flow_weight=1.5, name="fusion")
    model.compile(loss="sparse_categorical_crossentropy")
    model.evaluate(INPUTS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "in.npz", flow=INPUTS["flow"], **INPUTS["rgb"])
    run_fresh(
        """
import sys, keras, numpy as np, actx_tf
folder = sys.argv[1]
model = keras.saving.load_model(folder + "/model.keras")
assert type(model) is actx_tf.models.TwoStream and model.name == "fusion"
assert type(model.rgb) is actx_tf.models.ActX and not model.trainable
with np.load(folder + "/in.npz") as arrays:
    rgb = {"features": arrays["features"], "mask": arrays["mask"]}
    inputs = {"rgb": rgb, "flow": arrays["flow"]}
np.save(folder + "/out.npy", model.predict(inputs, verbose=0)["scores"])
""",
        tmp_path,
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"),
        expected_scores(streams, 1.5),
        atol=1e-6,
    )


def test_round_trip_of_a_fusion_that_was_never_called(streams, tmp_path):
    model = TwoStream(*streams, activation="sigmoid")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded(INPUTS)["scores"],
        expected_scores(streams, 1.0, "sigmoid"),
        atol=1e-6,
    )


def test_wrong_arguments(streams):
    rgb, flow = streams
    with pytest.raises(TypeError, match="`flow` must be.*flow=flow.keras"):
        TwoStream(rgb, "flow.keras")
    for weight in (-1, np.inf, np.nan):
        with pytest.raises(ValueError, match="`flow_weight`.*flow_weight="):
            TwoStream(rgb, flow, flow_weight=weight)
    with pytest.raises(ValueError, match="`activation`.*activation='relu'"):
        TwoStream(rgb, flow, activation="relu")


def test_wrong_inputs(streams):
    model = TwoStream(*streams)
    with pytest.raises(ValueError, match=r"`inputs` must be.*\['rgb'\]"):
        model({"rgb": INPUTS["rgb"]})
    with pytest.raises(ValueError, match="`inputs` must be.*Tensor"):
        model(INPUTS["flow"])
    model = TwoStream(streams[0], make_flow_model(num_classes=4))
    with pytest.raises(ValueError, match="equally many.*3 and 4"):
        model.predict(INPUTS, verbose=0)
