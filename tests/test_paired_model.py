"""The training step, on ActX as the model."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from actx_tf import losses
from actx_tf.backbones import make_backbone
from actx_tf.backbones.description import Axis
from actx_tf.backbones.description import BackboneDescription
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.models import PairedModel
from actx_tf.models import load_model
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import run_fresh
from tests.harness import to_numpy

PAIRS = {
    "features": clips(6, 3, 2, 4, 5),
    "conjugate": clips(6, 4, 3, 2, 5, seed=1),  # another length and size
}
LABELS = np.array([0, 2, 1, 1, 0, 2])
LOSSES = ("classification_loss", "similarity_loss", "difference_loss")

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow"
)


def compiled(compile_kwargs=None, input_shape=(3, 2, 4, 5), of=ActX, **kwargs):
    """A small model; all that Eq. 1 could hide has an unusual value."""
    keras.utils.set_random_seed(0)
    defaults = {
        "similarity_weight": 0.5,
        "difference_weight": 2.0,
        "xi": 0.2,
        **({"gamma": 3.0} if of is ActX else {}),
    }
    model = of(3, **{**defaults, **kwargs})
    model.compile(
        **{
            "optimizer": keras.optimizers.SGD(0.1),
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True
            ),
            "jit_compile": False,
            **(compile_kwargs or {}),
        }
    )
    model.build((None, *input_shape))  # while the seed holds
    if keras.backend.backend() == "tensorflow":
        # In the first step it would make Keras trace that a second time.
        model.optimizer.build(model.trainable_variables)
    return model


def eager(**kwargs):
    """The same, whose steps are not traced: for what no graph can change."""
    return compiled({"run_eagerly": True}, **kwargs)


def fit(model, pairs, labels=LABELS, **kwargs):
    """The logs of one epoch; a single step unless told otherwise."""
    kwargs = {"batch_size": len(labels), "verbose": 0, **kwargs}
    history = model.fit(pairs, labels, shuffle=False, **kwargs).history
    return {name: values[-1] for name, values in history.items()}


def expected_logs(model, pairs, has_conjugate=None):
    """Eq. 1 by the reference, from the model's own logits and maps."""
    outputs = model(pairs["features"], training=False)
    outputs = {name: to_numpy(value) for name, value in outputs.items()}
    l_c, l_s, l_d = [], [], []
    for i, label in enumerate(LABELS):
        l_c.append(reference.cross_entropy(outputs["logits"][i], label))
        if has_conjugate is None or has_conjugate[i]:
            similarity = reference.similarity(
                pairs["features"][i], pairs["conjugate"][i], model.gamma
            )
            action_map = outputs["action_map"][i]
            l_s.append(
                reference.action_similarity(action_map, similarity, model.xi)
            )
            context_map = outputs["context_map"][i]
            l_d.append(reference.context_difference(context_map, similarity))
    weights = model.similarity_weight, model.difference_weight
    parts = [np.mean(part) if part else np.nan for part in (l_c, l_s, l_d)]
    return {
        "loss": reference.objective(l_c, l_s, l_d, *weights),
        **dict(zip(LOSSES, parts, strict=True)),
    }


def assert_same_logs(actual, expected, rel=2e-5):
    # A mean over nothing is NaN, or not there.
    actual = {name: actual.get(name, np.nan) for name in expected}
    assert actual == pytest.approx(expected, rel=rel, nan_ok=True)


def test_fit_and_evaluate_log_eq_1():
    model = compiled()
    expected = expected_logs(model, PAIRS)
    assert_same_logs(
        model.evaluate(PAIRS, LABELS, return_dict=True, verbose=0), expected
    )
    assert_same_logs(fit(model, PAIRS), expected)


def test_each_epoch_logs_the_mean_of_its_own_batches():
    model = compiled({"optimizer": keras.optimizers.SGD(0.0)})
    logs = fit(model, PAIRS, batch_size=4, epochs=2)  # 4 and 2 clips
    assert_same_logs(logs, expected_logs(model, PAIRS))


@pytest.mark.parametrize(
    "has_conjugate", [[1, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 0], [0] * 6]
)
def test_clips_without_a_conjugate_count_in_the_classification_alone(
    has_conjugate,
):
    has_conjugate = np.array(has_conjugate, "bool")
    model = compiled() if has_conjugate.sum() == 3 else eager()
    expected = expected_logs(model, PAIRS, has_conjugate)
    # What stands in the place of a conjugate that is not there is no matter.
    conjugate = PAIRS["conjugate"].copy()
    conjugate[~has_conjugate] = np.nan
    pairs = {
        **PAIRS,
        "conjugate": conjugate,
        "has_conjugate": has_conjugate,
    }
    with contextlib.ExitStack() as stack:
        if not has_conjugate.any():
            stack.enter_context(pytest.warns(UserWarning, match="conjugate"))
        assert_same_logs(fit(model, pairs), expected)
    for weight in model.weights:
        assert np.all(np.isfinite(to_numpy(weight)))


def test_padding_of_either_clip_changes_no_loss():
    longer = {
        name: np.concatenate([clip, np.full_like(clip[:, :2], np.nan)], axis=1)
        for name, clip in PAIRS.items()
    }
    masks = {
        "mask": np.arange(5) < np.full((6, 1), 3),
        "conjugate_mask": np.arange(6) < np.full((6, 1), 4),
    }
    model, padded = eager(), compiled()
    for _ in range(2):
        assert_same_logs(fit(padded, {**longer, **masks}), fit(model, PAIRS))


def test_a_similarity_given_beforehand_takes_the_place_of_the_conjugate():
    model, stored = eager(), compiled()
    similarity = losses.conjugate_similarity(
        PAIRS["features"], PAIRS["conjugate"], gamma=3.0
    )
    pairs = {
        "features": PAIRS["features"],
        "conjugate_similarity": ops.convert_to_numpy(similarity),
    }
    for _ in range(2):
        assert_same_logs(fit(stored, pairs), fit(model, PAIRS))


def test_a_stored_similarity_may_be_missing_too():
    has_conjugate = np.array([1, 0, 0, 1, 1, 0], "bool")
    similarity = np.full((6, 3, 2, 4), np.nan, "float32")
    similarity[has_conjugate] = 0.5
    model = compiled()
    logs = fit(
        model,
        {
            "features": PAIRS["features"],
            "conjugate_similarity": similarity,
            "has_conjugate": has_conjugate,
        },
    )
    # S and C are weights: the means of 0.5 - xi and of 1 - 0.5.
    assert_same_logs(logs, {"similarity_loss": 0.3, "difference_loss": 0.5})
    for weight in model.weights:
        assert np.all(np.isfinite(to_numpy(weight)))


def conjugate_logits(model):
    return to_numpy(model(PAIRS["conjugate"], training=False)["logits"])


def test_a_weight_of_conjugates_adds_what_they_are_named_to_eq_1():
    plain, model = eager(), compiled(conjugate_weight=0.3)
    expected = expected_logs(plain, PAIRS)
    l_n = np.mean(to_numpy(losses.named_action(conjugate_logits(plain))))
    expected |= {
        "loss": expected["loss"] + 0.3 * l_n,
        "conjugate_loss": l_n,
    }
    assert_same_logs(fit(model, PAIRS), expected)
    assert "conjugate_loss" not in fit(plain, PAIRS)


def test_clips_without_a_conjugate_have_nothing_to_be_named():
    has_conjugate = np.array([1, 0, 0, 1, 1, 0], "bool")
    conjugate = PAIRS["conjugate"].copy()
    conjugate[~has_conjugate] = np.nan
    model = eager(conjugate_weight=1.0)
    l_n = to_numpy(losses.named_action(conjugate_logits(model)))
    pairs = {
        **PAIRS,
        "conjugate": conjugate,
        "conjugate_mask": np.repeat(has_conjugate[:, None], 4, axis=1),
        "has_conjugate": has_conjugate,
    }
    logs = fit(model, pairs)
    assert_same_logs(logs, {"conjugate_loss": l_n[has_conjugate].mean()})
    for weight in model.weights:
        assert np.all(np.isfinite(to_numpy(weight)))


def test_conjugates_are_taught_to_be_background_where_there_is_one():
    names = {"class_names": ["run", "none", "jump"], "background": ["none"]}
    model = eager(conjugate_weight=3.0, **names)
    l_n = to_numpy(losses.named_action(conjugate_logits(model), background=[1]))
    logs = fit(model, PAIRS)
    assert_same_logs(logs, {"conjugate_loss": l_n.mean()})
    before = l_n.mean()
    fit(model, PAIRS, epochs=20)
    l_n = to_numpy(losses.named_action(conjugate_logits(model), background=[1]))
    assert l_n.mean() < 0.5 * before


def test_naming_needs_the_conjugates_themselves():
    model = compiled(conjugate_weight=1.0)
    pairs = {
        "features": PAIRS["features"],
        "conjugate_similarity": np.full((6, 3, 2, 4), 0.5, "float32"),
    }
    with pytest.raises(ValueError, match='the key "conjugate"'):
        model.fit(pairs, LABELS, verbose=0)
    with pytest.raises(ValueError, match="conjugate_weight"):
        compiled(conjugate_weight=-1.0)


def test_evaluate_and_predict_need_no_conjugate():
    # The metrics of `compile` get the logits.
    metric = keras.metrics.SparseCategoricalCrossentropy(
        from_logits=True, name="metric"
    )
    model = compiled({"metrics": [metric]})
    fit(model, PAIRS)
    features = PAIRS["features"]
    l_c = expected_logs(model, PAIRS)["classification_loss"]
    for x in (features, {"features": features}):
        logs = model.evaluate(x, LABELS, return_dict=True, verbose=0)
        assert_same_logs(
            logs, {"loss": l_c, "classification_loss": l_c, "metric": l_c}
        )
    outputs = model.predict({"features": features}, verbose=0)
    assert set(outputs) == {"logits", "action_map", "context_map"}
    for name, expected in model.predict(features, verbose=0).items():
        assert_close(outputs[name], expected)


def test_several_labels_a_clip():
    labels = np.eye(3)[LABELS] + np.eye(3)[::-1][LABELS]
    model = compiled(
        {"loss": keras.losses.BinaryCrossentropy(from_logits=True)},
        activation="sigmoid",
    )
    logits = to_numpy(model(PAIRS["features"], training=False)["logits"])
    l_c = np.mean(np.log(1 + np.exp(logits)) - labels * logits)
    logs = fit(model, PAIRS, labels)
    assert_same_logs(logs, {"classification_loss": l_c})


def test_sample_weights_apply_to_the_classification():
    model = eager()
    expected = expected_logs(model, PAIRS)
    logs = fit(model, PAIRS, sample_weight=np.full(6, 3.0))
    for name in LOSSES:
        factor = 3 if name == "classification_loss" else 1
        assert_same_logs(logs, {name: factor * expected[name]})


def test_regularization_is_part_of_the_loss():
    model = eager()
    logs = fit(eager(), PAIRS)
    model.head.kernel.regularizer = keras.regularizers.L2(0.1)
    penalty = 0.1 * np.sum(to_numpy(model.head.kernel) ** 2)
    assert_same_logs(fit(model, PAIRS), {"loss": logs["loss"] + penalty})


def test_batches_may_differ_in_length():
    def batches():
        for steps in (3, 5, 2):
            pairs = {
                "features": clips(2, steps, 2, 4, 5),
                "conjugate": clips(2, 7 - steps, 2, 4, 5),
            }
            yield pairs, np.array([0, 1])

    spec = tf.TensorSpec((None, None, 2, 4, 5))
    dataset = tf.data.Dataset.from_generator(
        batches,
        output_signature=(
            {"features": spec, "conjugate": spec},
            tf.TensorSpec((None,), "int64"),
        ),
    )
    logs = compiled().fit(dataset, verbose=0).history
    assert np.all(np.isfinite(logs["loss"]))


@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="torch.compile takes a minute; by default nothing is compiled",
)
def test_xla_trains_the_same():
    models = [eager(), compiled({"jit_compile": True})]
    logs = [fit(model, PAIRS, epochs=3) for model in models]
    assert_same_logs(logs[1], logs[0])
    for exact, xla in zip(models[0].weights, models[1].weights, strict=True):
        assert_close(xla, exact, tolerance=1e-4)


@pytest.mark.parametrize("as_global", [False, True])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_nearly_the_same(policy, as_global):
    exact = eager()
    if as_global:
        keras.config.set_dtype_policy(policy)
        try:
            model = eager()
        finally:
            keras.config.set_dtype_policy("float32")
    else:
        model = compiled(dtype=policy)
    assert model.pooling.compute_dtype == policy.removeprefix("mixed_")
    for _ in range(3):
        assert_same_logs(fit(model, PAIRS), fit(exact, PAIRS), rel=0.02)
    # Keras scales the loss of float16 by 2^15, and has to undo it.
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    for weight, expected in zip(model.weights, exact.weights, strict=True):
        assert weight.dtype == "float32"
        error = to_numpy(weight) - to_numpy(expected)
        assert np.max(np.abs(error)) < 5e-3  # of steps up to 2e-2
    for output in model(PAIRS["features"]).values():
        assert keras.backend.standardize_dtype(output.dtype) == "float32"


@only_tensorflow
def test_two_replicas_equal_one_process():
    code = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests import test_paired_model as t
one = t.eager()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = t.compiled()
has_conjugates = None, [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0] * 6
for has_conjugate in has_conjugates:
    pairs = dict(t.PAIRS)
    if has_conjugate:
        # Each replica gets one half of it. Keras takes no booleans here.
        pairs["has_conjugate"] = np.array(has_conjugate, "int32")
        pairs["mask"] = np.ones((6, 3), "int32")
    two.set_weights(one.get_weights())
    t.assert_same_logs(
        t.fit(two, pairs, epochs=3), t.fit(one, pairs, epochs=3), rel=1e-5
    )
    for mirrored, weight in zip(two.weights, one.weights, strict=True):
        t.assert_close(mirrored, weight, tolerance=1e-5)
    print("equal")
"""
    assert run_fresh(code).split() == ["equal"] * 4


VIDEOS = {
    "features": clips(6, 3, 4, 8, 2),
    "conjugate": clips(6, 5, 4, 8, 2, seed=1),
}


def with_backbone(trainable=True, make=compiled, **kwargs):
    """A model that takes `VIDEOS`."""
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential(
        [
            keras.Input((None, 4, 8, 2)),
            keras.layers.Conv3D(5, 3, strides=(1, 2, 2), padding="same"),
        ]
    )
    backbone.trainable = trainable
    return make(input_shape=(3, 4, 8, 2), backbone=backbone, **kwargs)


def test_a_backbone_comes_before_everything():
    model = with_backbone()
    pairs = {
        name: to_numpy(model.backbone(clip)).astype("float32")
        for name, clip in VIDEOS.items()
    }
    assert_same_logs(fit(model, VIDEOS), fit(eager(), pairs))


@pytest.mark.parametrize(
    "kwargs, sample_weight",
    [
        # L_c alone.
        ({"similarity_weight": 0.0, "difference_weight": 0.0}, 1.0),
        # L_s and L_d alone, each through eta alone, as the maps are constant.
        (
            {
                "alpha": 0.0,
                "use_attention_map": False,
                "difference_weight": 0.0,
            },
            0.0,
        ),
        (
            {
                "alpha": 0.0,
                "use_attention_map": False,
                "similarity_weight": 0.0,
            },
            0.0,
        ),
    ],
    ids=["L_c", "L_s", "L_d"],
)
def test_each_loss_trains_the_backbone(kwargs, sample_weight):
    for trainable in (True, False):
        model = with_backbone(trainable, eager, **kwargs)
        kernel = model.backbone.weights[0]
        before = to_numpy(kernel)
        fit(model, VIDEOS, sample_weight=np.full(6, sample_weight))
        moved = np.max(np.abs(to_numpy(kernel) - before))
        assert moved > 1e-5 if trainable else moved == 0


def test_the_backbone_knows_whether_it_is_training():
    model = compiled(backbone=keras.layers.Dropout(0.5))
    still = model(PAIRS["features"], training=False)["logits"]
    assert_close(model(PAIRS["features"])["logits"], still)
    noisy = model(PAIRS["features"], training=True)["logits"]
    assert np.any(to_numpy(noisy) != to_numpy(still))


def test_keras_file_in_a_fresh_process(tmp_path):
    models = {
        "features": (eager(), PAIRS),
        "mixed": (eager(dtype="mixed_bfloat16"), PAIRS),
        "backbone": (with_backbone(make=eager), VIDEOS),
        "other_arguments": (
            eager(kernel_size=(1, 3, 3), use_attention_map=False, rho=50.0),
            PAIRS,
        ),
        "acf": (
            compiled(of=ACF, units=4, xi=0.3, similarity_weight=2.0),
            PAIRS,
        ),
    }
    for name, (model, pairs) in models.items():
        fit(model, pairs)
        model.run_eagerly = False  # nor is the one that is loaded
        model.save(tmp_path / f"{name}.keras")
        model.run_eagerly = True
        logits = to_numpy(model(pairs["features"], training=False)["logits"])
        logs = fit(model, pairs)
        np.savez(tmp_path / name, logits=logits, loss=logs["loss"], **pairs)
    code = """
import sys, pathlib, keras, numpy as np
import actx_tf.models
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path)
    data = np.load(path.with_suffix(".npz"))
    pairs = {"features": data["features"], "conjugate": data["conjugate"]}
    logits = model.predict(data["features"], verbose=0)["logits"]
    np.testing.assert_allclose(logits, data["logits"], rtol=1e-4, atol=1e-5)
    labels = np.array([0, 2, 1, 1, 0, 2])
    loss = model.fit(pairs, labels, shuffle=False, verbose=0).history
    np.testing.assert_allclose(loss["loss"], [data["loss"]], rtol=1e-3)
    print(path.stem)
"""
    assert run_fresh(code, tmp_path).split() == sorted(models)


@pytest.mark.parametrize(
    ("model", "kwargs"),
    [
        *((model, {"num_classes": 0}) for model in (ActX, ACF)),
        *((model, {"xi": float("nan")}) for model in (ActX, ACF)),
        (ActX, {"num_classes": -1}),
        (ActX, {"gamma": -1.0}),
        (ActX, {"gamma": float("inf")}),
        (ActX, {"rho": 101.0}),
        (ActX, {"alpha": -1.0}),
        (ActX, {"beta": float("nan")}),
        (ACF, {"units": 0}),
    ],
    ids=str,
)
def test_rejects_bad_arguments(model, kwargs):
    ((name, value),) = kwargs.items()
    with pytest.raises(ValueError, match=rf"`{name}` must be .*{name}={value}"):
        model(**{"num_classes": 3, **kwargs})


def test_rejects_what_it_cannot_take():
    model = compiled()
    with pytest.raises(ValueError, match='with the key "features"'):
        model({"conjugate": PAIRS["conjugate"]})
    model(PAIRS)
    with pytest.raises(ValueError, match="incompatible with the layer"):
        model(PAIRS["features"][..., :4])
    with pytest.raises(ValueError, match="the same number of channels"):
        model({**PAIRS, "conjugate": PAIRS["conjugate"][..., :4]})


@only_tensorflow
def test_rejects_a_label_that_is_no_class():
    # Of the loss or its gradient, whichever runs first.
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="label value of 3|SparseSoftmaxCrossEntropy",
    ):
        fit(compiled(), PAIRS, LABELS + 1)


@pytest.mark.parametrize("name", ["similarity_weight", "difference_weight"])
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_rejects_a_weight_that_is_negative_or_not_finite(name, weight):
    with pytest.raises(
        ValueError, match=rf"`{name}` must be .*{name}={weight}"
    ):
        compiled(**{name: weight})


def test_is_made_to_be_subclassed():
    with pytest.raises(NotImplementedError):
        PairedModel()(PAIRS["features"])


DESCRIPTION = BackboneDescription(
    name="net",
    channels=5,
    time=Axis(((8, 8, 0),)),
    height=Axis(((32, 32, None),)),
    width=Axis(((32, 32, None),)),
    frame_rate=16.0,
    size=(224, 224),
)


@only_tensorflow
def test_what_a_model_knows_of_its_answers_travels_with_it(tmp_path):
    model = ActX(
        3,
        description=DESCRIPTION,
        class_names=["run", "jump", "none"],
        activation="sigmoid",
        background=["none"],
    )
    model.build((None, None, None, None, 5))
    model.save(tmp_path / "actx.keras")
    loaded = load_model(tmp_path / "actx.keras")
    assert loaded.description == DESCRIPTION
    assert loaded.class_names == ["run", "jump", "none"]
    assert loaded.activation == "sigmoid"
    assert loaded.background == ["none"]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"class_names": ["a", "b"]}, "must name 3 classes"),
        ({"class_names": ["a", "b", "a"]}, "must be distinct"),
        ({"activation": "tanh"}, "`activation` must be one of"),
        ({"background": ["none"]}, "must be names of `class_names`, None"),
        (
            {"class_names": ["a", "b", "c"], "background": "a"},
            "must be names of `class_names`",
        ),
        ({"description": {"name": "net"}}, "must have the fields"),
    ],
)
def test_what_a_model_cannot_know_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ActX(3, **kwargs)


def test_a_misspelled_key_is_an_error_that_names_the_nearest():
    model = compiled()
    pairs = {"features": PAIRS["features"], "conjugates": PAIRS["conjugate"]}
    with pytest.raises(ValueError, match="did you mean 'conjugate'"):
        model.fit(pairs, LABELS, verbose=0)


def test_what_was_not_measured_is_not_logged():
    model = compiled()
    validation = (PAIRS["features"], LABELS)
    logs = fit(model, PAIRS, validation_data=validation, epochs=2)
    measured = {"loss", *LOSSES}
    assert set(logs) == measured | {"val_loss", "val_classification_loss"}
    logs = model.evaluate(*validation, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "classification_loss"}
    logs = model.evaluate(PAIRS, LABELS, verbose=0, return_dict=True)
    assert set(logs) == measured


def test_a_mean_over_no_pair_is_not_zero():
    has_conjugate = np.zeros(len(LABELS), bool)
    with pytest.warns(UserWarning, match="has a conjugate"):
        logs = fit(compiled(), {**PAIRS, "has_conjugate": has_conjugate})
    assert np.isnan(logs.get("similarity_loss", np.nan))
    assert logs["loss"] == pytest.approx(logs["classification_loss"])


def test_training_without_conjugates_warns():
    with pytest.warns(UserWarning, match="clips without conjugates"):
        fit(compiled(), PAIRS["features"])


@pytest.mark.parametrize(
    ("named", "loss", "activation"),
    [
        (
            "sparse_categorical_crossentropy",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "softmax",
        ),
        (
            "CategoricalCrossentropy",
            keras.losses.CategoricalCrossentropy(from_logits=True),
            "softmax",
        ),
        (
            keras.losses.binary_crossentropy,
            keras.losses.BinaryCrossentropy(from_logits=True),
            "sigmoid",
        ),
    ],
)
def test_a_loss_by_name_takes_logits(named, loss, activation):
    labels = LABELS if "sparse" in str(named) else np.eye(3)[LABELS]
    of_name, of_loss = (
        fit(
            compiled(
                {"loss": given, "run_eagerly": True}, activation=activation
            ),
            PAIRS,
            labels=labels,
        )
        for given in (named, loss)
    )
    assert of_name == pytest.approx(of_loss)


@pytest.mark.parametrize(
    ("loss", "activation", "message"),
    [
        (
            keras.losses.SparseCategoricalCrossentropy(),
            "softmax",
            r"`loss` must take logits.*from_logits=True",
        ),
        ("binary_crossentropy", "softmax", "must be that of activation='soft"),
        ("categorical_crossentropy", "sigmoid", "of activation='sigmoid'"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(loss, activation, message):
    with pytest.raises(ValueError, match=message):
        compiled({"loss": loss}, activation=activation)


def test_class_weights_of_several_classes_are_refused():
    model = compiled({"loss": "binary_crossentropy"}, activation="sigmoid")
    with pytest.raises(ValueError, match="`class_weight` must be None"):
        model.fit(PAIRS, np.eye(3)[LABELS], class_weight={0: 2.0})


def test_a_column_of_has_conjugate_is_no_square():
    has_conjugate = np.array([1, 0, 0, 1, 1, 0], "bool")
    expected = fit(eager(), {**PAIRS, "has_conjugate": has_conjugate})
    column = has_conjugate[:, None]
    logs = fit(compiled(), {**PAIRS, "has_conjugate": column})
    assert_same_logs(logs, expected)
    with pytest.raises(ValueError, match="`has_conjugate` must have the shape"):
        wide = np.stack([has_conjugate] * 2, axis=1)
        compiled()({**PAIRS, "has_conjugate": wide})


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (["sparse_categorical_crossentropy"], "must be one loss"),
        ({"logits": "sparse_categorical_crossentropy"}, "must be one loss"),
        ("kld", "which takes probabilities"),
        ("dice", "which takes probabilities"),
        (keras.losses.Tversky(), "which takes probabilities"),
        ("ce", "must say which cross-entropy"),
        ("crossentropy", "must say which cross-entropy"),
        ("BCE", "must be that of activation='softmax'"),
        ("kl_divergence", "which takes probabilities"),
        (keras.losses.Poisson(), "which takes probabilities"),
    ],
)
def test_losses_that_would_take_probabilities_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        compiled({"loss": loss})


@pytest.mark.parametrize(
    "metric",
    [
        "sparse_categorical_crossentropy",
        keras.metrics.categorical_crossentropy,
        "bce",
        "binary_accuracy",
        "AUC",
        keras.metrics.Precision(),
        keras.metrics.BinaryAccuracy(threshold=0.5),
    ],
)
def test_metrics_that_would_take_probabilities_are_refused(metric):
    for given in (metric, [metric], ["accuracy", [metric]]):
        for name in ("metrics", "weighted_metrics"):
            with pytest.raises(ValueError, match="`metrics` must take logits"):
                ActX(3).compile("adam", **{name: given})
    with pytest.raises(ValueError, match="`metrics` must take logits"):
        ActX(3).compile("adam", None, None, [metric])


def test_metrics_of_logits_are_right():
    metrics = [
        keras.metrics.BinaryAccuracy(threshold=0.0, name="binary"),
        keras.metrics.AUC(from_logits=True, name="auc"),
        keras.metrics.Recall(thresholds=0.0, name="recall"),
    ]
    model = ActX(3, activation="sigmoid")
    model.compile("adam", "binary_crossentropy", metrics=metrics)
    several = np.eye(3, dtype="float32")[LABELS]
    logs = model.evaluate(
        PAIRS["features"], several, verbose=0, return_dict=True
    )
    scores = model.predict(PAIRS["features"], verbose=0)["logits"] > 0
    assert logs["binary"] == pytest.approx(np.mean(scores == (several > 0)))


def test_training_in_which_no_clip_has_a_conjugate_warns():
    model = compiled()
    none = {**PAIRS, "has_conjugate": np.zeros(len(LABELS), bool)}
    with pytest.warns(UserWarning, match="no clip that .* has a conjugate"):
        fit(model, none)
    fit(model, PAIRS)  # and this does not


def test_a_misspelled_first_key_is_told_as_well():
    model = ActX(3)
    model.compile("sgd", "sparse_categorical_crossentropy")
    pairs = {"feature": PAIRS["features"], "conjugate": PAIRS["conjugate"]}
    with pytest.raises(ValueError, match='the key "features"'):
        model.fit(pairs, LABELS, verbose=0)


@only_tensorflow
@pytest.mark.parametrize("trainable", [True, False])
def test_a_backbone_that_was_trained_has_another_name(trainable, tmp_path):
    network = keras.Sequential(
        [keras.Input((None, 4, 8, 3)), keras.layers.Conv3D(5, (1, 2, 2))]
    )
    backbone = make_backbone(network, name="net")
    backbone.trainable = trainable
    before = backbone.description
    model = eager(input_shape=(3, 4, 8, 3), backbone=backbone)
    videos = {key: clips(6, 3, 4, 8, 3) for key in ("features", "conjugate")}
    names = [before.name]
    for _ in range(2):
        fit(model, videos)
        names.append(model.description.name)
        assert model.description == model.backbone.description
    assert len(set(names)) == (3 if trainable else 1)
    model.save(tmp_path / "actx.keras")
    assert load_model(tmp_path / "actx.keras").description.name == names[-1]
