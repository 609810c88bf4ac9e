"""Training, taken up again or on two devices, is what one run would be."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

from actx_tf import training
from actx_tf.data import Clip
from actx_tf.data import make_evaluation_dataset
from actx_tf.data import make_pair_dataset
from actx_tf.models import ActX
from tests.harness import assert_close
from tests.harness import clips as random_maps
from tests.harness import run_fresh

CLASSES = ("run", "jump", "none")
LENGTHS = (5, 3, 1, 6, 4, 5, 2)  # 7 clips: the last batch is smaller


def make_clips():
    """Some with conjugates, of which one is longer than the action clip."""
    conjugates = (("6",), (), ("3", "4"), ("1",), (), (), ("5",))
    return [
        Clip(str(i), f"{i}.mp4", CLASSES[i % 3], "train", names)
        for i, names in enumerate(conjugates)
    ]


def make_features():
    return {
        str(i): random_maps(steps, 2, 3, 4, seed=i)
        for i, steps in enumerate(LENGTHS)
    }


def make_data(features=None, **settings):
    """What `fit` takes: the training pairs, and the same clips whole."""
    arguments = (features or make_features(), make_clips(), CLASSES)
    pairs = functools.partial(
        make_pair_dataset,
        *arguments,
        **{"crop_steps": 4, "batch_size": 4, "seed": 5, **settings},
    )
    whole = functools.partial(make_evaluation_dataset, *arguments, batch_size=4)
    return pairs, whole


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    model = ActX(3, gamma=3.0, difference_weight=5.0)
    model.compile(
        optimizer=keras.optimizers.Adam(0.05),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.build((None, 4, 2, 3, 4))  # while the seed holds
    return model


@pytest.fixture(scope="module")
def traced():
    """A model whose steps are traced once, for all tests: see `renew`."""
    return make_model()


def renew(model, seed=0):
    """Makes it as new as one of `make_model`, but for its traced steps."""
    new = make_model(seed)
    new.optimizer.build(new.trainable_variables)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(
        variables_of(model), variables_of(new), strict=True
    ):
        variable.assign(value)
    model.stop_training = False
    return model


def variables_of(model):
    return [*model.variables, *model.optimizer.variables]


def values_of(model):
    return list(map(keras.ops.convert_to_numpy, variables_of(model)))


def fit(model, epochs, **arguments):
    """The history; validates on the training clips."""
    pairs, whole = make_data()
    return training.fit(
        model, pairs, epochs, validation_data=whole, **arguments
    )


def assert_same_training(one, other, tolerance=0.0):
    """Of pairs of (values of the variables, history)."""
    (values, history), (expected_values, expected) = one, other
    assert set(history) == set(expected)
    for name, of_epochs in expected.items():
        np.testing.assert_allclose(history[name], of_epochs, rtol=tolerance)
    for value, expected in zip(values, expected_values, strict=True):
        assert_close(value, expected, tolerance)


def test_goes_on_from_the_checkpoint_as_if_never_interrupted(traced, tmp_path):
    whole = renew(traced)
    history = fit(whole, 4)
    expected = values_of(whole), history
    assert {len(values) for values in history.values()} == {4}
    assert "val_accuracy" in history and "similarity_loss" in history
    path = tmp_path / "folder" / "checkpoint.npz"
    for epochs in (1, 4, 4):
        # What it goes on from takes the place of its own weights.
        model = renew(traced, seed=epochs - 1)
        resumed = fit(model, epochs, checkpoint=path)
        assert {len(values) for values in resumed.values()} == {epochs}
    assert_same_training((values_of(model), resumed), expected)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_new_model_goes_on_and_its_step_is_traced_once(traced, tmp_path):
    path = tmp_path / "checkpoint.npz"
    fit(renew(traced), 1, checkpoint=path)
    model = make_model(seed=7)
    step, traces = model.train_step, []

    def counted(batch):
        traces.append(batch)
        return step(batch)

    model.train_step = counted
    resumed = fit(model, 2, checkpoint=path)
    assert len(traces) == 1  # each takes seconds
    history = fit(renew(traced), 2)
    assert_same_training(
        (values_of(model), resumed), (values_of(traced), history)
    )


class KeepWeights(keras.callbacks.Callback):
    """Remembers the weights of each epoch, and what can break in between."""

    def __init__(self, until=None):
        super().__init__()
        self.epochs = []
        self.until = until

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.until:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(self.model.get_weights())


def make_overfitting(model, seed=0):
    """A loss on the validation clips that falls and rises again."""
    renew(model, seed)
    model.optimizer.learning_rate.assign(0.3)
    return model


def fit_with_patience(model, epochs, patience, **arguments):
    """Validates on clips of other labels than those of the training."""
    pairs, _ = make_data()
    other = [
        dataclasses.replace(clip, label=CLASSES[int(clip.clip) % 2])
        for clip in make_clips()
    ]
    whole = functools.partial(
        make_evaluation_dataset, make_features(), other, CLASSES, 4
    )
    return training.fit(
        model,
        pairs,
        epochs,
        validation_data=whole,
        patience=patience,
        **arguments,
    )


def test_patience_ends_it_and_takes_the_best_epoch(traced):
    for epochs, patience in ((30, 2), (3, 30)):
        kept, model = KeepWeights(), make_overfitting(traced)
        history = fit_with_patience(model, epochs, patience, callbacks=[kept])
        losses = history["val_classification_loss"]
        best = int(np.argmin(losses))
        assert len(losses) == min(epochs, best + 1 + patience)
        assert best + 1 < len(losses)  # it is not simply the last
        for weight, expected in zip(
            model.get_weights(), kept.epochs[best], strict=True
        ):
            np.testing.assert_array_equal(weight, expected)


def test_patience_goes_on_as_if_never_interrupted(traced, tmp_path):
    model = make_overfitting(traced)
    history = fit_with_patience(model, 30, 3)
    weights = model.get_weights()
    ends = len(history["loss"])
    best = int(np.argmin(history["val_classification_loss"]))
    path = tmp_path / "checkpoint.npz"
    # Before the best epoch, while it waits, and after it has ended.
    for seed, until in enumerate((best, best + 2, None, None)):
        make_overfitting(model, seed)
        stop = KeepWeights(until)
        with contextlib.suppress(KeyboardInterrupt):
            resumed = fit_with_patience(
                model, 30, 3, checkpoint=path, callbacks=[stop]
            )
    assert not stop.epochs and len(resumed["loss"]) == ends < 30
    assert resumed == history
    for weight, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_patience_that_cannot_be_had(traced, tmp_path):
    model = renew(traced)
    pairs, _ = make_data()
    with pytest.raises(ValueError, match="`validation_data` must be given"):
        training.fit(model, pairs, 2, patience=1)
    with pytest.raises(ValueError, match="`patience` must be a positive"):
        fit(model, 2, patience=0)
    fit(model, 1, checkpoint=tmp_path / "checkpoint.npz")
    with pytest.raises(ValueError, match="`patience` must be None.*Received"):
        fit(model, 2, patience=1, checkpoint=tmp_path / "checkpoint.npz")
    broken = {name: np.nan * x for name, x in make_features().items()}
    whole = make_data(broken)[1]
    with pytest.raises(FloatingPointError, match="val_.*=nan in epoch 1"):
        training.fit(model, pairs, 2, validation_data=whole, patience=1)


def test_two_devices_equal_one(traced, tmp_path):
    history = fit(renew(traced), 3)
    np.savez(tmp_path / "one.npz", *values_of(traced))
    (tmp_path / "one.json").write_text(json.dumps(history))
    code = """
import json, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests import test_training as t
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = t.make_model()
history = t.fit(two, 3)
with np.load(sys.argv[1]) as file:
    one = list(file.values()), json.load(open(sys.argv[2]))
t.assert_same_training((t.values_of(two), history), one, 2e-5)
print("equal")
"""
    files = tmp_path / "one.npz", tmp_path / "one.json"
    assert run_fresh(code, *files) == "equal\n"


def test_repeats_itself_in_fresh_processes():
    code = """
import hashlib, keras, tensorflow as tf
from tests import test_training as t
tf.config.experimental.enable_op_determinism()
model = t.make_model()
history = t.fit(model, 3)
weights = [keras.ops.convert_to_numpy(v).tobytes() for v in model.weights]
print(hashlib.sha256(b"".join(weights)).hexdigest(), history)
"""
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        one, other = threads.map(run_fresh, [code] * 2)
    assert one == other
    assert "val_loss" in one


def test_odd_clips(traced):
    """Their losses and gradients are finite."""
    model = renew(traced)
    features = make_features()
    for name, odd, settings in (
        ("no conjugates at all", features, {"background": CLASSES}),
        ("one step", {k: x[:1] for k, x in features.items()}, {}),
        ("constant", {k: 0 * x + 2 for k, x in features.items()}, {}),
        ("zero", {k: 0 * x for k, x in features.items()}, {}),
    ):
        pairs, _ = make_data(odd, **settings)
        history = training.fit(model, pairs, 2)
        of_pairs = {"similarity_loss", "difference_loss"}
        for key, values in history.items():
            measured = key not in of_pairs or "background" not in settings
            assert np.all(np.isfinite(values) == measured), (name, key)
    for weight in model.weights:
        assert np.all(np.isfinite(keras.ops.convert_to_numpy(weight)))


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_batch(
    traced, tmp_path
):
    checkpoint, bad = tmp_path / "checkpoint.npz", tmp_path / "bad.npz"
    fit(renew(traced), 1, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    features = make_features()
    features["3"] = np.full_like(features["3"], np.nan)
    pairs, _ = make_data(features, names=True)
    with pytest.raises(FloatingPointError) as error:
        training.fit(
            renew(traced), pairs, 2, checkpoint=checkpoint, bad_batch=bad
        )
    message = str(error.value)
    assert "loss=nan in epoch 2, step " in message
    with np.load(bad) as batch:
        assert all(f"'{clip}'" in message for clip in batch["clip"])
        # The broken clip's, or those of one that it is the conjugate of.
        for name, key in (
            ("clip", "features"),
            ("conjugate_clip", "conjugate"),
        ):
            broken = np.isnan(batch[key]).any(axis=(1, 2, 3, 4))
            np.testing.assert_array_equal(batch[name] == "3", broken)
        assert "3" in [*batch["clip"], *batch["conjugate_clip"]]
        assert len(batch["label"]) == len(batch["clip"])
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_that_is_broken_or_another_s_is_refused(traced, tmp_path):
    path = tmp_path / "checkpoint.npz"
    fit(renew(traced), 1, checkpoint=path)
    content = path.read_bytes()
    keras.utils.set_random_seed(0)
    other = ActX(3, kernel_size=3)
    other.compile("adam", keras.losses.SparseCategoricalCrossentropy(True))
    with pytest.raises(ValueError, match="`checkpoint` must hold.*Received"):
        fit(other, 2, checkpoint=path)
    half = len(content) // 2
    flipped = bytearray(content)
    flipped[content.index(b"NUMPY") + 200] ^= 1  # one of the first values
    for broken in (content[:half], b"", flipped):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="not a whole checkpoint"):
            fit(renew(traced), 2, checkpoint=path)
        assert path.read_bytes() == broken


def test_stops_where_a_callback_says(traced, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    path = tmp_path / "checkpoint.npz"
    for _ in range(2):  # and stays so
        model = renew(traced)
        history = fit(model, 5, callbacks=[Stop()], checkpoint=path)
        assert len(history["loss"]) == 2


def test_a_dataset_of_unknown_length_is_refused():
    pairs, _ = make_data()
    with pytest.raises(ValueError, match="`make_dataset`.*cardinality=-1"):
        training.fit(make_model(), lambda **which: pairs(**which).repeat())
