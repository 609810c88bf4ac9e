"""actx_tf.experiments: settings, data, runs and what they leave."""

import dataclasses
import functools
import math

import keras
import numpy as np
import pytest

from actx_tf import experiments
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import read_clip_index
from actx_tf.data import store_similarities
from actx_tf.data import write_clip_index
from actx_tf.experiments import DataSettings
from actx_tf.experiments import FineTuningSettings
from actx_tf.experiments import TrainingSettings
from actx_tf.experiments.methods import METHODS
from actx_tf.experiments.methods import check_methods
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_folder import keep_settings
from tests.described import describe
from tests.test_examples import make_store
from tests.test_examples import save_backbone

SHORT = TrainingSettings(epochs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stores as `make_store` makes them; the last two clips of validation."""
    folder = tmp_path_factory.mktemp("stores")
    make_store(folder, labels=("a|b", "b"))
    path = folder / "index.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[-2:] = [line.replace(",test,", ",validation,") for line in lines[-2:]]
    path.write_text("\n".join(lines), encoding="utf-8")
    return folder


def settings_of(folder, **more):
    return DataSettings(
        features=str(folder / "store"),
        index=str(folder / "index.csv"),
        **{"batch_size": 4, **more},
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataSettings(features="store"), "`features` and `index`"),
        (lambda: DataSettings(index="index.csv"), "`features` and `index`"),
        (lambda: DataSettings(batch_size=0), "`batch_size` must"),
        (lambda: DataSettings(crop_steps=1.5), "`crop_steps` must"),
        (lambda: DataSettings(multi_label=True), "`multi_label` must"),
        (lambda: DataSettings(background=["a"]), "`background` must"),
        (lambda: DataSettings(similarities="s"), "`similarities` must"),
        (lambda: DataSettings(backbone="b.keras"), "`backbone` must"),
        (lambda: TrainingSettings(epochs=0), "`epochs` must"),
        (lambda: TrainingSettings(learning_rate=-1), "`learning_rate` must"),
        (lambda: TrainingSettings(dtype_policy="f16"), "`dtype_policy` must"),
        (lambda: FineTuningSettings("i.csv", crop_frames=0), "`crop_frames`"),
        (lambda: FineTuningSettings("i.csv", seed=-1), "`seed` must"),
        (
            lambda: FineTuningSettings("i.csv", backbone_rate=math.nan),
            "`backbone_rate` must",
        ),
    ],
)
def test_settings_that_no_run_can_honour(make, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        make()


def test_a_folder_keeps_to_its_settings(tmp_path):
    index, store = tmp_path / "index.csv", tmp_path / "store"
    index.write_text("one")
    store.mkdir()
    (store / "part").write_text("some")
    settings = {"index": index, "store": str(store), "rho": 30.0, "seeds": 3}
    keep = functools.partial(
        keep_settings,
        tmp_path / "out",
        paths=["index", "store"],
        free=["seeds"],
    )
    keep(settings)
    keep(settings | {"seeds": 5})
    with pytest.raises(ValueError, match=r"`output`.*rho=20.0 \(then 30.0\)"):
        keep(settings | {"rho": 20.0})
    # What is in them counts, and not their names alone.
    index.write_text("two")
    with pytest.raises(ValueError, match="contents of index="):
        keep(settings)
    index.write_text("one")
    (store / "another part").write_text("more")
    with pytest.raises(ValueError, match="contents of store="):
        keep(settings)
    (store / "another part").unlink()
    keep(settings)


def test_results_of_unknown_settings_are_not_added_to(tmp_path):
    (tmp_path / "results.csv").write_text("method,seed\nActX,0\n")
    with pytest.raises(ValueError, match=r"rho=30.0 \(then not known\)"):
        keep_settings(tmp_path, {"rho": 30.0})


def test_rows_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "new folder" / "rows.csv"
    assert experiments.read_rows(path) == []
    rows = [
        {"method": "average, of all", "seed": 0, "mAP": 0.1 + 0.2},
        {"method": 'max "of" all', "seed": 1, "mAP": 1e-30, "mAcc": 1.0},
    ]
    experiments.write_rows(rows, path)
    assert experiments.read_rows(path) == rows
    assert [file.name for file in path.parent.iterdir()] == ["rows.csv"]


def test_a_table_has_means_and_sample_deviations():
    rows = [
        {"method": "A", "seed": 0, "mAP": 0.1},
        {"method": "B", "seed": 0, "mAP": math.nan, "mAcc": 0.5},
        {"method": "A", "seed": 1, "mAP": 0.4},
    ]
    table = experiments.summarize(rows)
    deviation = np.std([0.1, 0.4], ddof=1)
    assert table == [
        ["", "mAP", "mAcc"],
        ["A", f"0.250 ± {deviation:.3f}", ""],
        ["B", "", "0.500"],
    ]
    lines = experiments.format_table(table).splitlines()
    places = [lines[0].index("mAcc"), lines[2].index("0.500")]
    assert places[0] == places[1]


def test_stored_data_are_split_as_the_index_says(folder, caplog):
    data = experiments.load_data(
        settings_of(folder, multi_label=True, background=("b",)),
        [folder / "flow"],
    )
    assert data.task == Task(
        ("a", "b"),
        4,
        "sigmoid",
        describe("random", channels=4),
        ("b",),
        data.settings.crop_steps,
    )
    assert len(data.training) == 8
    # Of the last clip there is no flow.
    assert "1 of 12 clips are left out" in caplog.text
    np.testing.assert_array_equal(data.test.labels, [[1, 1], [0, 1]])
    np.testing.assert_array_equal(data.validation.labels, [[1, 1]])
    np.testing.assert_array_equal(data.task.scored, [True, False])
    np.testing.assert_array_equal(data.test.paired, [True, False])
    batches = list(data.test.make_dataset())
    np.testing.assert_array_equal(
        np.concatenate([label for _, label in batches]), data.test.labels
    )
    [inputs, *_] = [inputs for inputs, _ in data.make_training(0)]
    assert inputs["has_conjugate"].numpy().any()
    [inputs, *_] = [inputs for inputs, _ in data.make_training(0, pairs=False)]
    assert not inputs["has_conjugate"].numpy().any()


def test_a_forgotten_mining_is_warned_of(folder, tmp_path, caplog):
    experiments.load_data(settings_of(folder))
    assert "no training clip" not in caplog.text
    rows = (folder / "index.csv").read_text(encoding="utf-8").splitlines()
    bare = [rows[0], *(",".join([*row.split(",")[:4], ""]) for row in rows[1:])]
    index = tmp_path / "index.csv"
    index.write_text("\n".join(bare), encoding="utf-8")
    settings = dataclasses.replace(settings_of(folder), index=str(index))
    experiments.load_data(settings)
    assert "no training clip" in caplog.text and "actx mine" in caplog.text


def test_a_background_that_is_not_declared_is_warned_of(
    folder, tmp_path, caplog
):
    text = (folder / "index.csv").read_text(encoding="utf-8")
    index = tmp_path / "index.csv"
    index.write_text(text.replace("a|b", "a"), encoding="utf-8")
    settings = dataclasses.replace(settings_of(folder), index=str(index))
    experiments.load_data(settings)
    assert "b: its clips are conjugates of others" in caplog.text
    caplog.clear()
    experiments.load_data(dataclasses.replace(settings, background=("b",)))
    assert "are conjugates of others" not in caplog.text


def test_one_label_is_the_name_of_one_class(folder):
    data = experiments.load_data(settings_of(folder))
    assert data.task.class_names == ("a|b", "b")
    assert data.task.activation == "softmax"
    np.testing.assert_array_equal(data.test.labels, [0, 1])


def write_store(path, made_by):
    with FeatureStoreWriter(path, made_by) as writer:
        for i in range(12):
            features = np.ones((3, 2, 2, 4))
            writer.add(f"c{i}", features, "a", "train", 16.0, 12)
    return path


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"frame_rate": 12.0}, r"frame_rate=12\.0 \(not None\)"),
        ({"size": (32, 48)}, r"size=\(32, 48\)"),
        ({"stream": "flow", "flow_method": "dis"}, "stream=flow"),
    ],
)
def test_a_backbone_must_be_the_one_of_the_store(
    folder, tmp_path, description, words
):
    path = save_backbone(tmp_path / "b.keras", **description)
    with pytest.raises(ValueError, match=f"`backbone` must.*{words}"):
        experiments.load_data(settings_of(folder, backbone=str(path)))


def test_backbones_of_which_nothing_is_known(folder, tmp_path):
    path = save_backbone(tmp_path / "backbone.keras")
    store = write_store(tmp_path / "store", "maps by hand")
    settings = settings_of(folder, backbone=str(path))
    assert experiments.load_data(settings).backbone is not None
    settings = dataclasses.replace(settings, features=str(store))
    with pytest.raises(ValueError, match="`backbone`.*does not say"):
        experiments.load_data(settings)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    with pytest.raises(ValueError, match="backbone.*Received: Sequential"):
        experiments.load_data(settings)


def test_similarities_must_be_of_these_features_and_gamma(folder, tmp_path):
    path = tmp_path / "similarities"
    clips = read_clip_index(folder / "index.csv")
    with FeatureStore(folder / "store") as store:
        store_similarities(clips, store, path, gamma=5.0, progress=False)
    settings = settings_of(folder, similarities=str(path))
    data = experiments.load_data(settings, gamma=5.0)
    assert "conjugate_similarity" in data.inputs
    with pytest.raises(ValueError, match=r"must be .*\(gamma=20\)"):
        experiments.load_data(settings, gamma=20.0)
    other = write_store(tmp_path / "other", "maps by hand")
    settings = dataclasses.replace(settings, features=str(other))
    with pytest.raises(ValueError, match="must be .* of maps by hand"):
        experiments.load_data(settings, gamma=5.0)


def test_methods_have_the_classes_of_their_task():
    description = describe("random", channels=4)
    task = Task(("x", "y", "z"), 4, "sigmoid", description)
    for name, method in METHODS.items():
        model = method.build(task, TrainingSettings())
        features = np.random.default_rng(0).random((2, 3, 4, 5, 4), "float32")
        inputs = {
            "features": features,
            "mask": np.ones(features.shape[:-1], bool),
            "pose_mask": features[..., 0],
            "boxes": np.full((2, 3, 1, 4), [0.0, 0.0, 0.5, 1.0], "float32"),
        }
        inputs = {key: inputs[key] for key in method.inputs if key in inputs}
        outputs = model(inputs)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        assert logits.shape == (2, 3), name
        if method.localize is not None:
            maps = method.localize(model, inputs)
            assert maps.shape == features.shape[:-1], name
        if name in ("ACF", "ActX", "ActX w/o S_att"):
            assert model.description == description
            assert model.class_names == ["x", "y", "z"]
            assert model.activation == "sigmoid"


@pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if method.mix]
)
def test_methods_that_mix_keep_labels_and_differ_from_epoch_to_epoch(
    folder, tmp_path, name, monkeypatch
):
    data = experiments.load_data(settings_of(folder, batch_size=2))
    seen = []

    def fit(model, make_training, *args, **kwargs):
        for epoch in (0, 1, 0):
            batches = list(make_training(epoch=epoch).as_numpy_iterator())
            plain = data.make_training(7, False, epoch=epoch)
            for (inputs, label), (before, known) in zip(
                batches, plain.as_numpy_iterator(), strict=True
            ):
                np.testing.assert_array_equal(label, known)
                assert inputs["features"].dtype == before["features"].dtype
                seen.append((epoch, inputs["features"], before["features"]))
        return 0.0

    monkeypatch.setattr("actx_tf.experiments.method_training.fit", fit)
    experiments.train_method(
        name, data, SHORT, seed=7, output=tmp_path, run="the run"
    )
    third = len(seen) // 3
    first, again = seen[:third], seen[-third:]
    for (_, mixed, _), (_, same, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(mixed, same)
    assert any((mixed != before).any() for _, mixed, before in seen)
    # The same clips are mixed otherwise in the next batch, and the next epoch.
    shifts = [np.abs(mixed - before).sum() for _, mixed, before in seen]
    assert len({round(float(x), 4) for x in shifts[: 2 * third]}) > 1


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="`methods` must.*'ActY'"):
        check_methods(TrainingSettings(), ["ActX", "ActY"])


@pytest.mark.parametrize("method", ["average pooling", "ActX"])
def test_several_classes_show_their_mean_average_precision(
    folder, tmp_path, method
):
    data = experiments.load_data(settings_of(folder, multi_label=True))
    model, _ = experiments.train_method(
        method,
        data,
        SHORT,
        seed=0,
        output=tmp_path,
        run="the run",
        validate=True,
    )
    [logs] = experiments.read_rows(tmp_path / "history" / "the_run.csv")
    for part, logged in (
        (data.validation, logs["val_mean_average_precision"]),
        (data.test, None),
    ):
        _, row, _ = experiments.evaluate(method, model, part, data.task)
        assert 0 <= row["mAP"] <= 1
        if logged is not None:
            assert logged == pytest.approx(row["mAP"], abs=1e-6)


def test_a_loss_that_is_not_finite_names_its_run(folder, tmp_path):
    data = experiments.load_data(settings_of(folder))
    settings = dataclasses.replace(SHORT, learning_rate=1e38, epochs=3)
    with pytest.raises(FloatingPointError, match="the run: loss="):
        experiments.train_method(
            "average pooling",
            data,
            settings,
            seed=0,
            output=tmp_path,
            run="the run",
        )
    assert (tmp_path / "bad_batches" / "the_run.npz").exists()


def test_the_policy_of_the_caller_is_left_as_it_was(folder, tmp_path):
    before = keras.config.dtype_policy()
    model, _ = experiments.train_method(
        "average pooling",
        experiments.load_data(settings_of(folder)),
        dataclasses.replace(SHORT, dtype_policy="mixed_bfloat16"),
        seed=0,
        output=tmp_path,
        run="run",
    )
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert keras.config.dtype_policy() == before


def test_one_class_is_nothing_to_tell_apart(folder, tmp_path):
    settings = settings_of(folder)
    clips = read_clip_index(settings.index)
    path = tmp_path / "one.csv"
    write_clip_index(path, [dataclasses.replace(x, label="a") for x in clips])
    settings = dataclasses.replace(settings, index=str(path))
    with pytest.raises(ValueError, match=r"two classes or more.*\['a'\]"):
        experiments.load_data(settings)
    # Of several classes a clip, one can be there or not.
    settings = dataclasses.replace(settings, multi_label=True)
    assert experiments.load_data(settings).task.class_names == ("a",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["PoseMask"]}, "`methods`.*'PoseMask'.*pose_mask"),
        ({"methods": ["EEP"]}, "`methods` must be among"),
        ({"seeds": 0}, "`seeds` must"),
        ({"flow_weight": -1.0}, "`flow_weight` must"),
        ({"part": "train"}, "`part` must"),
    ],
)
def test_comparisons_that_cannot_be(folder, tmp_path, arguments, message):
    output = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        experiments.compare_methods(
            settings_of(folder), SHORT, output=output, **arguments
        )
    assert not output.exists()
