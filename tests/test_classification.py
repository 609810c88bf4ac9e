import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics import balanced_accuracy_score

from actx_tf import metrics
from tests.harness import run_fresh

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(4, size=60)
# One decimal: many ties.
SCORES = np.round(RANDOM.normal(size=(60, 4)), 1).astype("float32")

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow"
)


def membership(labels):
    return labels if labels.ndim == 2 else labels[:, None] == np.arange(4)


def expected_precision(labels, scores, weight=None, classes=range(4)):
    """scikit-learn, over the classes that have a positive clip."""
    if weight is not None:  # scikit-learn counts what weighs nothing as there
        labels, scores = labels[weight > 0], scores[weight > 0]
        weight = weight[weight > 0]
    member = membership(labels)
    known = [k for k in classes if member[:, k].any()]
    return average_precision_score(
        member[:, known], scores[:, known], sample_weight=weight
    )


def random_case(seed):
    """Labels, scores, weights of 60 clips and 4 classes."""
    random = np.random.default_rng(seed)
    if seed % 2:
        labels = random.integers(3, size=60)  # none of the last class
    else:
        labels = random.random((60, 4)) < [0.0, 0.1, 0.6, 1.0]
    # From "nearly all are tied" to "hardly any is".
    scores = np.round(random.normal(size=(60, 4)), seed % 3)
    weight = random.integers(4, size=60) * random.choice([1.0, 0.3])
    return labels, scores.astype("float32"), weight.astype("float32")


def stream(metric, *case, seed=0):
    """The result after uneven batches, one of them empty, in another order."""
    order = np.random.default_rng(seed).permutation(len(case[0]))
    for batch in np.split(order, [7, 7, 20, 59]):
        metric.update_state(*(value[batch] for value in case))
    return float(metric.result())


@pytest.mark.parametrize("seed", range(8))
def test_mean_average_precision_equals_scikit_learn(seed):
    labels, scores, weight = random_case(seed)
    exactly = {"abs": 1e-6}
    expected = pytest.approx(expected_precision(labels, scores), **exactly)
    assert float(metrics.mean_average_precision(labels, scores)) == expected
    metric = metrics.MeanAveragePrecision(4, capacity=60)
    assert stream(metric, labels, scores) == expected
    metric.reset_state()
    expected = expected_precision(labels, scores, weight)
    actual = stream(metric, labels, scores, weight, seed=seed)
    assert actual == pytest.approx(expected, **exactly)


def test_a_perfect_order_is_one_and_constant_scores_are_the_share():
    perfect = np.eye(4)[LABELS]
    assert float(metrics.mean_average_precision(LABELS, perfect)) == 1
    share = np.mean(np.bincount(LABELS) / 60)
    constant = metrics.mean_average_precision(LABELS, np.ones((60, 4)))
    assert float(constant) == pytest.approx(share, rel=1e-5)


def test_neither_order_nor_batches_matter():
    at_once = float(metrics.mean_average_precision(LABELS, SCORES))
    for seed in range(4):
        metric = metrics.MeanAveragePrecision(4, capacity=60)
        streamed = stream(metric, LABELS, SCORES, seed=seed)
        assert streamed == pytest.approx(at_once, rel=1e-6)
    # Logits and probabilities are in the same order.
    metric.reset_state()
    probabilities = 1 / (1 + np.exp(-SCORES))
    streamed = stream(metric, LABELS, probabilities)
    assert streamed == pytest.approx(at_once, rel=1e-6)


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
    empty = metrics.mean_average_precision(LABELS[:0], SCORES[:0])
    assert np.isnan(float(empty))


def test_clips_of_classes_that_do_not_count_are_negative():
    labels, scores, _ = random_case(1)
    for classes in ([2, 0], range(1, 4)):
        metric = metrics.MeanAveragePrecision(4, classes, capacity=60)
        expected = expected_precision(labels, scores, classes=classes)
        assert stream(metric, labels, scores) == pytest.approx(expected)
        again = metrics.MeanAveragePrecision.from_config(metric.get_config())
        assert stream(again, labels, scores) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_mean_class_accuracy_equals_scikit_learn(seed):
    labels, scores, weight = random_case(2 * seed + 1)
    scores += np.random.default_rng(seed).random(scores.shape)  # no ties
    scores[:, 3] = -9.0  # scikit-learn warns of answers no clip has
    answers = scores.argmax(axis=1)
    expected = pytest.approx(balanced_accuracy_score(labels, answers))
    assert float(metrics.mean_class_accuracy(labels, scores)) == expected
    metric = metrics.MeanClassAccuracy(4)
    assert stream(metric, labels, scores) == expected
    metric.reset_state()
    kept = weight > 0
    expected = balanced_accuracy_score(
        labels[kept], answers[kept], sample_weight=weight[kept]
    )
    actual = stream(metric, labels, scores, weight)
    assert actual == pytest.approx(expected)


@pytest.mark.parametrize(
    "metric", [metrics.MeanAveragePrecision(4), metrics.MeanClassAccuracy(4)]
)
def test_what_has_no_value_is_nan(metric):
    assert np.isnan(float(metric.result()))
    for weight in (-1.0, np.nan):
        metric.reset_state()
        metric.update_state(LABELS, SCORES)
        assert float(metric.result()) > 0
        metric.update_state(LABELS[:1], SCORES[:1], [weight])
        assert np.isnan(float(metric.result()))


def test_a_score_that_is_nan():
    metric = metrics.MeanAveragePrecision(4)
    metric.update_state(LABELS, SCORES)
    expected = float(metric.result())
    metric.update_state([0], np.full((1, 4), np.nan), [0])
    assert float(metric.result()) == expected
    metric.update_state([0], [[0, 0, 0, np.nan]])
    assert np.isnan(float(metric.result()))


@pytest.mark.filterwarnings("ignore:__array__")  # NumPy's, of Keras
def test_more_clips_than_there_is_room_for():
    metric = metrics.MeanAveragePrecision(4, capacity=60)
    metric.update_state(LABELS, SCORES)
    metric.update_state(LABELS, -SCORES, np.zeros(60))  # takes no room
    at_once = float(metrics.mean_average_precision(LABELS, SCORES))
    assert float(metric.result()) == pytest.approx(at_once, rel=1e-6)
    metric.update_state(LABELS[:3], SCORES[:3])
    with pytest.warns(UserWarning, match="got 63 clips .* capacity=60"):
        assert np.isnan(float(metric.result()))
    metric.reset_state()
    metric.update_state(LABELS, SCORES)
    assert float(metric.result()) == pytest.approx(at_once, rel=1e-6)

    model = compiled(capacity=59)
    with pytest.warns(UserWarning, match="got 60 clips .* capacity=59"):
        logs = model.evaluate(SCORES, LABELS, verbose=0, return_dict=True)
    assert np.isnan(logs["mean_average_precision"])


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: metrics.MeanAveragePrecision(0),
            "`num_classes` must be",
        ),
        (lambda: metrics.MeanClassAccuracy(2.5), "`num_classes` must be"),
        (
            lambda: metrics.MeanAveragePrecision(4, capacity=0),
            "`capacity` must be a positive integer. Received: capacity=0",
        ),
        *(
            (
                lambda c=c: metrics.MeanAveragePrecision(4, c),
                r"`classes` must be distinct integers in \[0, 4\)",
            )
            for c in ([], [4], [-1], [1, 1], [0.5])
        ),
        *(
            (
                lambda make=make: make(3).update_state(LABELS, SCORES),
                r"`y_pred` must have the shape \(clips, 3\). Received: "
                r"y_pred.shape=\(60, 4\)",
            )
            for make in (
                metrics.MeanAveragePrecision,
                metrics.MeanClassAccuracy,
            )
        ),
        (
            lambda: metrics.MeanAveragePrecision(4).update_state(
                LABELS[:, None], SCORES
            ),
            r"`y_true` must be integers \(clips,\), or zeros and ones "
            r"\(clips, 4\). Received: y_true.shape=\(60, 1\)",
        ),
        (
            lambda: metrics.MeanClassAccuracy(4).update_state(
                np.eye(4)[LABELS], SCORES
            ),
            r"`y_true` must be integers \(clips,\). Received: y_true.shape="
            r"\(60, 4\)",
        ),
        (
            lambda: metrics.MeanAveragePrecision(4).update_state(
                LABELS, SCORES, np.ones((60, 1))
            ),
            r"`sample_weight` must have the shape \(clips,\). Received: sample",
        ),
        (
            lambda: metrics.mean_average_precision(LABELS, SCORES[:, 0]),
            r"`scores` must have the shape \(clips, classes\). Received: ",
        ),
        (
            lambda: metrics.mean_average_precision(LABELS[None], SCORES),
            "`labels` must be integers",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def compiled(multi_label=False, dtype=None, capacity=60, **kwargs):
    """A model of `SCORES` that does not learn."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(4, dtype=dtype)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if multi_label:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    both = [metrics.MeanAveragePrecision(4, capacity=capacity)]
    both += [] if multi_label else [metrics.MeanClassAccuracy(4)]
    model.compile(keras.optimizers.SGD(0.0), loss, **{"metrics": both} | kwargs)
    model.build((None, 4))
    return model


def expected_logs(model, labels, clips=slice(None)):
    scores = model.predict(SCORES, verbose=0)[clips].astype("float32")
    labels = labels[clips]
    logs = {
        "mean_average_precision": metrics.mean_average_precision(labels, scores)
    }
    if labels.ndim == 1:
        accuracy = metrics.mean_class_accuracy(labels, scores)
        logs["mean_class_accuracy"] = accuracy
    return {name: pytest.approx(float(value)) for name, value in logs.items()}


@pytest.mark.parametrize(
    "multi_label, dtype, jit_compile",
    [
        (False, "float32", False),
        (True, "mixed_bfloat16", False),
        (False, "mixed_float16", True),
    ],
)
def test_in_fit_and_evaluate(multi_label, dtype, jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("passes, but torch.compile takes minutes")
    labels = np.eye(4)[LABELS] if multi_label else LABELS
    model = compiled(multi_label, dtype=dtype, jit_compile=jit_compile)
    expected = expected_logs(model, labels)
    history = model.fit(
        SCORES,
        labels,
        batch_size=30 if jit_compile else 16,  # XLA compiles for each size
        epochs=2,
        verbose=0,
        validation_data=(SCORES, labels),
        callbacks=[keras.callbacks.EarlyStopping("val_mean_average_precision")],
    ).history
    for name, value in expected.items():
        # The second epoch starts from nothing: there is room for one alone.
        assert history[name] == [value, value]
        assert history[f"val_{name}"] == [value, value]
    logs = model.evaluate(SCORES, labels, 30, verbose=0, return_dict=True)
    assert {name: logs[name] for name in expected} == expected


def test_clips_of_weight_zero_are_left_out_of_weighted_metrics():
    weighted = [
        metrics.MeanAveragePrecision(4, capacity=40),
        metrics.MeanClassAccuracy(4),
    ]
    model = compiled(metrics=None, weighted_metrics=weighted)
    logs = model.evaluate(
        SCORES,
        LABELS,
        sample_weight=np.arange(60) < 40,
        batch_size=16,
        verbose=0,
        return_dict=True,
    )
    expected = expected_logs(model, LABELS, slice(40))
    assert {name: logs[name] for name in expected} == expected


def test_a_compiled_model_in_a_fresh_process(tmp_path):
    model = compiled()
    expected = model.evaluate(SCORES, LABELS, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    assert path.stat().st_size < 100_000  # without the clips
    code = """
import sys, keras, actx_tf
from tests import test_classification as t
model = keras.models.load_model(sys.argv[1])
print(*model.evaluate(t.SCORES, t.LABELS, verbose=0))
assert model.metrics[1].metrics[0].capacity == 60
"""
    actual = [float(value) for value in run_fresh(code, path).split()]
    assert actual == pytest.approx(expected)


@only_tensorflow
def test_two_replicas_equal_one_process():
    code = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from actx_tf import metrics
from tests import test_classification as t

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one = t.compiled()
with strategy.scope():
    two = t.compiled()
expected = t.expected_logs(one, t.LABELS)
history = two.fit(t.SCORES, t.LABELS, batch_size=16, epochs=2, verbose=0)
# Of the last 2 clips a replica gets none.
logs = two.evaluate(t.SCORES, t.LABELS, 58, verbose=0, return_dict=True)
for name, value in expected.items():
    assert history.history[name] == [value, value], name
    assert logs[name] == value, name

with strategy.scope():
    precision = metrics.MeanAveragePrecision(4, capacity=60)
    accuracy = metrics.MeanClassAccuracy(4)

def step(labels, scores):
    precision.update_state(labels, scores)
    accuracy.update_state(labels, scores)
    return precision.result()

dataset = tf.data.Dataset.from_tensor_slices((t.LABELS, t.SCORES)).batch(16)
for run in step, tf.function(step):
    precision.reset_state()
    accuracy.reset_state()
    seen = 0
    for batch in strategy.experimental_distribute_dataset(dataset):
        results = strategy.experimental_local_results(
            strategy.run(run, args=batch)
        )
        seen = min(seen + 16, 60)
        so_far = t.LABELS[:seen], t.SCORES[:seen]
        value = float(metrics.mean_average_precision(*so_far))
        # Inside of each replica and outside of them.
        for result in (*results, precision.result()):
            assert float(result) == t.pytest.approx(value)
        value = float(metrics.mean_class_accuracy(*so_far))
        assert float(accuracy.result()) == t.pytest.approx(value)
print("equal")
"""
    assert run_fresh(code).split() == ["equal"]
