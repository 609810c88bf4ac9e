"""Weights of classes, and patience, in a training from settings."""

import dataclasses

import keras
import numpy as np
import pytest

from actx_tf import experiments
from actx_tf.data import Clip
from actx_tf.experiments import DataSettings
from actx_tf.experiments import TrainingSettings
from actx_tf.experiments.class_weights import balanced_weights
from actx_tf.experiments.fitting import compile_model
from actx_tf.experiments.fitting import reproducible
from actx_tf.experiments.methods import METHODS
from actx_tf.experiments.run_data import pick_inputs
from tests.test_examples import make_store

BALANCED = TrainingSettings(epochs=2, class_weight="balanced")
SPLITS = 8 * ["train"] + 2 * ["validation"] + 2 * ["test"]


def make_data(folder, splits=SPLITS, **more):
    """Of the training clips two are of the class a, and six of b."""
    make_store(folder)
    lines = ["clip,file,label,split,conjugates"]
    for i, split in enumerate(splits):
        conjugates = f"c{i + 1}" if i % 2 == 0 else ""
        label = "a" if i in (2, 5, 9, 10) else "b"
        lines.append(f"c{i},c{i}.mp4,{label},{split},{conjugates}")
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    return DataSettings(
        features=str(folder / "store"),
        index=str(folder / "index.csv"),
        **{"batch_size": 4, **more},
    )


@pytest.mark.parametrize("seed", range(3))
def test_balanced_weights_are_those_of_scikit_learn(seed):
    weights = pytest.importorskip("sklearn.utils.class_weight")
    names = ["fall", "run", "sit", "none"]
    random = np.random.default_rng(seed)
    labels = random.choice(names[:3], size=40, p=[0.1, 0.2, 0.7])
    clips = [Clip(str(i), "", x, "train") for i, x in enumerate(labels)]
    found = dict(zip(names, balanced_weights(clips, names), strict=True))
    assert found.pop("none") == 0.0
    there = np.unique(labels)
    assert found == pytest.approx(
        dict(
            zip(
                there,
                weights.compute_class_weight(
                    "balanced", classes=there, y=labels
                ),
                strict=True,
            )
        )
    )


@pytest.mark.parametrize("name", ["average pooling", "ActX"])
def test_a_balanced_training_is_keras_own_with_class_weights(name, tmp_path):
    data = experiments.load_data(make_data(tmp_path))
    trained, _ = experiments.train_method(
        name, data, BALANCED, seed=3, output=tmp_path, run="a", validate=True
    )
    pairs = "conjugate" in METHODS[name].inputs
    with reproducible(BALANCED, 3):
        model = METHODS[name].build(data.task, BALANCED)
        compile_model(model, data.task, BALANCED, 8)
        for epoch in range(BALANCED.epochs):
            batches = data.make_training(3, pairs, epoch=epoch, conjugates=True)
            model.fit(
                pick_inputs(batches, METHODS[name].inputs),
                class_weight={0: 8 / (2 * 2), 1: 8 / (2 * 6)},
                shuffle=False,
                verbose=0,
            )
    for weight, expected in zip(
        trained.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)
    # What is watched is weighed too; what people compare is not.
    logs = experiments.read_rows(tmp_path / "history" / "a.csv")[-1]
    [(inputs, labels)] = data.validation.make_dataset()
    inputs, _ = next(
        iter(pick_inputs(data.validation.make_dataset(), METHODS[name].inputs))
    )
    outputs = trained.predict(inputs, verbose=0)
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs
    losses = keras.ops.convert_to_numpy(
        keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
    )
    weights = np.where(labels.numpy() == 0, 2.0, 2 / 3)
    assert logs["val_loss"] == pytest.approx(
        np.mean(weights * losses), rel=1e-4
    )
    right = logits.argmax(axis=-1) == labels.numpy()
    assert logs["val_accuracy"] == pytest.approx(np.mean(right))


def test_every_method_has_patience(tmp_path):
    """That of the eigen evolution too, which trains a classifier alone."""
    settings = TrainingSettings(
        epochs=40, patience=1, class_weight="balanced", learning_rate=0.5
    )
    rows = experiments.compare_methods(
        make_data(tmp_path),
        settings,
        output=tmp_path / "out",
        seeds=1,
        methods=["average pooling", "EEP + average"],
    )
    assert len(rows) == 2
    for path in (tmp_path / "out" / "history").iterdir():
        losses = [row["val_loss"] for row in experiments.read_rows(path)]
        assert len(losses) == np.argmin(losses) + 2 < 40


@pytest.mark.parametrize(
    ("splits", "more", "settings", "message"),
    [
        (SPLITS, {"multi_label": True}, BALANCED, "`class_weight` must"),
        (
            8 * ["train"] + 4 * ["test"],
            {},
            TrainingSettings(patience=2),
            "`patience` must.*no clip of validation",
        ),
        (
            8 * ["train"] + 4 * ["validation"],
            {},
            TrainingSettings(patience=2),
            "`patience` must.*figures of the validation clips",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path, splits, more, settings, message
):
    data = make_data(tmp_path, splits, **more)
    for train in (experiments.train_actx, experiments.compare_methods):
        with pytest.raises(ValueError, match=message):
            train(data, settings, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_that_are_not_understood():
    with pytest.raises(ValueError, match="`class_weight` must be None or one"):
        TrainingSettings(class_weight="equal")
    with pytest.raises(ValueError, match="`patience` must be a positive"):
        TrainingSettings(patience=0)


def test_the_epochs_that_are_compared_are_chosen_elsewhere(tmp_path):
    settings = dataclasses.replace(BALANCED, patience=1)
    with pytest.raises(ValueError, match="figures of the validation clips"):
        experiments.compare_methods(
            make_data(tmp_path),
            settings,
            output=tmp_path / "out",
            part="validation",
        )


def test_a_folder_of_videos_needs_clips_of_validation(tmp_path):
    for split in ("train", "test"):
        for label in ("run", "jump"):
            path = tmp_path / "videos" / split / label / f"{split}.mp4"
            path.parent.mkdir(parents=True)
            path.write_text("not read yet")
    with pytest.raises(ValueError, match="`patience` must.*no clip of valid"):
        experiments.train_on_videos(
            tmp_path / "videos",
            tmp_path / "out",
            lambda: None,
            background=None,
            conjugates="frozen",
            settings=TrainingSettings(patience=1),
        )
    assert not (tmp_path / "out").exists()
