import keras
import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import make_evaluation_dataset
from actx_tf.data import make_pair_dataset
from actx_tf.data.similarities import pair_name

CLASSES = ("run", "jump", "nothing")
# Steps of each clip; each value tells the clip and the step that it is from.
TIMES = {"a": 9, "b": 3, "c": 12, "d": 4, "e": 5, "f": 7, "g": 4}
PLACES = {name: place for place, name in enumerate(TIMES)}


def feature_map(name):
    steps = 100 * (PLACES[name] + 1) + np.arange(TIMES[name])
    return np.broadcast_to(
        steps[:, None, None, None], (TIMES[name], 2, 3, 4)
    ).astype(np.float16)


def clip(name, label, *conjugates):
    return Clip(name, f"{name}.mp4", label, "train", conjugates)


CLIPS = [
    clip("a", "run", "f", "g"),
    clip("b", "jump", "f"),
    clip("c", "jump"),  # no conjugate
    clip("d", "run"),  # none either
    clip("e", "nothing", "a"),  # background
]


@pytest.fixture(params=["dictionary", "store"])
def features(request, tmp_path):
    arrays = {name: feature_map(name) for name in TIMES}
    if request.param == "dictionary":
        yield arrays
        return
    path = tmp_path / "features"
    with FeatureStoreWriter(path, "net") as writer:
        for name, array in arrays.items():
            writer.add(name, array, "run", "train", 25.0, 4 * len(array))
    with FeatureStore(path) as store:
        yield store


@pytest.fixture
def arrays():
    return {name: feature_map(name) for name in TIMES}


def make(features, **arguments):
    arguments = {
        "crop_steps": 5,
        "batch_size": 2,
        "background": ("nothing",),
        **arguments,
    }
    return make_pair_dataset(features, CLIPS, CLASSES, **arguments)


def epoch(dataset):
    """Returns the examples of an epoch: (dictionary of arrays, label)."""
    return [
        ({key: value[k] for key, value in inputs.items()}, labels[k])
        for inputs, labels in dataset.as_numpy_iterator()
        for k in range(len(labels))
    ]


def test_pairs_that_are_not_stored_are_said(arrays):
    clips = [clip("a", "run", "f", "unknown"), clip("d", "run", "unknown")]
    with pytest.warns(UserWarning, match="2 pairs.*'unknown'.*`features`"):
        dataset = make_pair_dataset(arrays, clips, CLASSES, crop_steps=5)
    given = [inputs["has_conjugate"] for inputs, _ in epoch(dataset)]
    assert sorted(given) == [False, True]
    stored = {pair_name("a", "f"): np.zeros((9, 2, 3, 1))}
    clips = [clip("a", "run", "f", "g")]
    with pytest.warns(UserWarning, match="1 pairs.*g.*`similarities`") as said:
        dataset = make_pair_dataset(
            arrays, clips, CLASSES, 5, similarities=stored, names=True
        )
    assert said[0].filename == __file__
    for _ in range(10):
        [(inputs, _)] = epoch(dataset)
        assert inputs["conjugate_clip"] == b"f"


def test_crops_are_no_longer_than_the_longest_clip(arrays):
    longest = max(TIMES.values())
    for steps in (longest, 10**9):
        for inputs, _ in epoch(make(arrays, crop_steps=steps)):
            for key in ("features", "conjugate", "mask", "conjugate_mask"):
                assert len(inputs[key]) == longest


def check_stretch(array, mask):
    """Returns (clip, first step) of a stretch, which must be whole."""
    count = mask.sum()
    assert mask[:count].all()
    assert not array[count:].any()
    values = array[:count, 0, 0, 0]
    assert (array[:count] == values[:, None, None, None]).all()
    name = list(TIMES)[int(values[0]) // 100 - 1]
    start = int(values[0]) % 100
    assert values.tolist() == [values[0] + k for k in range(count)]
    assert count == min(5, TIMES[name])
    return name, start


def test_pairs(features):
    by_name = {clip.clip: clip for clip in CLIPS}
    dataset = make(features)
    starts = set()
    conjugates = set()
    for _ in range(12):
        examples = epoch(dataset)
        names = []
        for inputs, label in examples:
            name, start = check_stretch(inputs["features"], inputs["mask"])
            assert CLASSES[label] == by_name[name].label
            assert inputs["has_conjugate"] == (name in "ab")
            if inputs["has_conjugate"]:
                conjugate, _ = check_stretch(
                    inputs["conjugate"], inputs["conjugate_mask"]
                )
                assert conjugate in by_name[name].conjugates
                conjugates.add((name, conjugate))
            else:
                assert not inputs["conjugate"].any()
                assert not inputs["conjugate_mask"].any()
            names.append(name)
            starts.add((name, start))
        assert sorted(names) == list("abcde")  # each clip once
    assert conjugates == {("a", "f"), ("a", "g"), ("b", "f")}
    # 12 epochs show more than one stretch of a long clip, and only possible
    # ones; a short clip starts at its start.
    assert len({start for name, start in starts if name == "c"}) > 2
    assert {start for name, start in starts if name in "bde"} == {0}


def test_conjugates_are_read_beside_their_similarities(arrays):
    similarities = {
        pair_name(name, conjugate): np.ones((TIMES[name], 2, 3, 1), "float32")
        for name, conjugate in [("a", "g"), ("b", "f")]
    }
    with pytest.warns(UserWarning, match="1 pairs"):
        batches = make(
            arrays,
            similarities=similarities,
            read_conjugates=True,
            shuffle=False,
        )
    examples = epoch(batches)
    assert len(examples) == len(CLIPS)
    for inputs, _ in examples:
        name, _ = check_stretch(inputs["features"], inputs["mask"])
        # Of "a" the pair with "f" has no similarity, and "d" no conjugate.
        assert inputs["has_conjugate"] == (name in "ab")
        expected = inputs["mask"] & inputs["has_conjugate"]
        similarity = inputs["conjugate_similarity"]
        assert (similarity == expected[:, None, None]).all()
        if inputs["has_conjugate"]:
            conjugate, _ = check_stretch(
                inputs["conjugate"], inputs["conjugate_mask"]
            )
            assert conjugate == {"a": "g", "b": "f"}[name]
        else:
            assert not inputs["conjugate_mask"].any()


def test_every_stretch_is_drawn(arrays):
    dataset = make_pair_dataset(
        arrays, [clip("a", "run")], CLASSES, crop_steps=5
    ).repeat(100)
    starts = [
        int(inputs["features"][0, 0, 0, 0, 0]) % 100
        for inputs, _ in dataset.as_numpy_iterator()
    ]
    assert set(starts) == set(range(TIMES["a"] - 5 + 1))


def assert_same(one, other):
    for (inputs, label), (others, other_label) in zip(one, other, strict=True):
        assert label == other_label
        for key, value in inputs.items():
            np.testing.assert_array_equal(value, others[key])


def same(one, other):
    try:
        assert_same(one, other)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("shuffle", [True, False])
def test_seed(arrays, shuffle):
    first = make(arrays, shuffle=shuffle, seed=3)
    second = make(arrays, shuffle=shuffle, seed=3)
    epochs = [epoch(first) for _ in range(4)]
    for number in range(4):
        assert_same(epochs[number], epoch(second))
    for number in range(3):
        assert not same(epochs[number], epochs[number + 1])
    assert not same(epochs[0], epoch(make(arrays, shuffle=shuffle, seed=4)))


def test_order(arrays):
    def order(dataset):
        return [
            check_stretch(inputs["features"], inputs["mask"])[0]
            for inputs, _ in epoch(dataset)
        ]

    assert order(make(arrays, shuffle=False)) == list("abcde")
    dataset = make(arrays)
    assert len({tuple(order(dataset)) for _ in range(6)}) > 1


def test_signature(features):
    dataset = make(features)
    inputs, label = dataset.element_spec
    assert {key: tuple(spec.shape) for key, spec in inputs.items()} == {
        "features": (None, 5, 2, 3, 4),
        "mask": (None, 5),
        "conjugate": (None, 5, 2, 3, 4),
        "conjugate_mask": (None, 5),
        "has_conjugate": (None,),
    }
    assert tuple(label.shape) == (None,) and label.dtype.is_integer
    assert inputs["features"].dtype == "float16"
    assert inputs["conjugate"].dtype == "float16"
    assert inputs["mask"].dtype == inputs["has_conjugate"].dtype == "bool"
    sizes = [len(labels) for _, labels in dataset.as_numpy_iterator()]
    assert sizes == [2, 2, 1]  # the last partial batch is kept
    assert int(dataset.cardinality()) == 3


def test_no_epoch_waits_for_the_tuner(arrays):
    dataset = make(arrays)
    assert dataset.options().autotune.enabled is False


def test_float32_is_kept():
    arrays = {name: feature_map(name).astype(np.float32) for name in TIMES}
    inputs, _ = make(arrays).element_spec
    assert inputs["features"].dtype == "float32"


def test_background_can_be_one_name(arrays):
    by_string = make(arrays, background="nothing")
    assert_same(epoch(by_string), epoch(make(arrays)))
    has_conjugate = [x["has_conjugate"] for x, _ in epoch(make(arrays))]
    assert sum(has_conjugate) == 2
    everywhere = epoch(make(arrays, background=()))
    assert sum(inputs["has_conjugate"] for inputs, _ in everywhere) == 3


def test_evaluation(features):
    dataset = make_evaluation_dataset(features, CLIPS, CLASSES, batch_size=2)
    inputs, _ = dataset.element_spec
    assert tuple(inputs["features"].shape) == (None, 12, 2, 3, 4)
    assert inputs["features"].dtype == "float16"
    assert tuple(inputs["mask"].shape) == (None, 12)
    examples = epoch(dataset)
    assert len(examples) == len(CLIPS)
    for clip_, (inputs, label) in zip(CLIPS, examples, strict=True):
        assert set(inputs) == {"features", "mask"}
        assert CLASSES[label] == clip_.label
        time = TIMES[clip_.clip]
        np.testing.assert_array_equal(inputs["mask"], np.arange(12) < time)
        np.testing.assert_array_equal(
            inputs["features"][:time], feature_map(clip_.clip)
        )
        assert not inputs["features"][time:].any()


def test_predict_puts_the_results_together(arrays):
    steps = keras.Input((12, 2, 3, 4), name="features")
    mask = keras.Input((12,), dtype="bool", name="mask")
    count = keras.ops.sum(keras.ops.cast(mask, "float32"), axis=1)
    model = keras.Model({"features": steps, "mask": mask}, count)
    dataset = make_evaluation_dataset(arrays, CLIPS, CLASSES, batch_size=2)
    counts = model.predict(dataset, verbose=0)
    np.testing.assert_array_equal(
        counts.ravel(), [TIMES[clip.clip] for clip in CLIPS]
    )


def test_errors(arrays):
    for function in (make_pair_dataset, make_evaluation_dataset):
        with pytest.raises(ValueError, match="`clips`.*Received"):
            function(arrays, [], CLASSES)
        with pytest.raises(ValueError, match="`class_names`.*label='fly'"):
            function(arrays, [clip("a", "fly")], CLASSES)
        with pytest.raises(ValueError, match="`class_names`.*differ"):
            function(arrays, CLIPS, ("run", "run"))
        with pytest.raises(ValueError, match="`features`.*'z'"):
            function(arrays, [clip("z", "run")], CLASSES)
        with pytest.raises(ValueError, match="`batch_size`.*Received"):
            function(arrays, CLIPS, CLASSES, batch_size=0)
        odd = {**arrays, "b": np.zeros((3, 2, 3, 5), np.float16)}
        words = r"in channels and dtype.*: \(4,\) float16 .*'a', \(5,\) .*'b'"
        with pytest.raises(ValueError, match=f"`features`.*{words}"):
            function(odd, CLIPS, CLASSES)
        odd = {**arrays, "b": arrays["b"].astype(np.float32)}
        with pytest.raises(
            ValueError, match="dtype.* float16 .*'a',.* float32 .*'b'"
        ):
            function(odd, CLIPS, CLASSES)
        odd = {**arrays, "b": np.zeros((3, 2, 4), np.float16)}
        words = r"`features`.*\(3, 2, 4\) of clip 'b'"
        with pytest.raises(ValueError, match=words):
            function(odd, CLIPS, CLASSES)
    with pytest.raises(ValueError, match="`crop_steps`.*Received"):
        make(arrays, crop_steps=0)
    with pytest.raises(ValueError, match="`background`.*'non'") as error:
        make(arrays, background=("non",))
    # Those that there are, once.
    assert all(str(error.value).count(f"'{x}'") == 1 for x in CLASSES)
    odd = {**arrays, "f": np.zeros((3, 2, 3, 5), np.float16)}
    with pytest.raises(ValueError, match="`features`.*'a'.*'f'"):
        make(odd)  # conjugates, too


def boxes_of(name):
    """As the feature map: each value tells the clip and the step."""
    return feature_map(name)[..., 0, :1].astype(np.float32)


def test_aligned_inputs_are_cut_out_where_the_features_are(arrays):
    aligned_inputs = {"boxes": {name: boxes_of(name) for name in "abcde"}}
    dataset = make(arrays, aligned_inputs=aligned_inputs)
    evaluated = make_evaluation_dataset(
        arrays, CLIPS, CLASSES, aligned_inputs=aligned_inputs
    )
    for _ in range(3):
        for inputs, _ in epoch(dataset) + epoch(evaluated):
            np.testing.assert_array_equal(
                inputs["boxes"], inputs["features"][..., 0, :1]
            )


def test_an_aligned_input_must_fit_the_features(arrays):
    boxes = {name: boxes_of(name) for name in "abcde"}
    for function in (make_pair_dataset, make_evaluation_dataset):
        for odd, words in (
            ({"a": boxes["a"]}, "hold every clip.*'b'"),
            (
                boxes | {"b": boxes["b"][:2]},
                r"as many steps.*\(2, .*\(3, .*'b'",
            ),
            (boxes | {"b": np.zeros(())}, r"as many steps.*\(\).*'b'"),
            (
                boxes | {"b": np.zeros((3, 9))},
                r"must agree in their last axes.* \(2, 1\) .*'a', \(9,\) .*'b'",
            ),
        ):
            with pytest.raises(ValueError, match=f"`aligned_inputs.*{words}"):
                function(arrays, CLIPS, CLASSES, aligned_inputs={"boxes": odd})


SIZES = {"a": (2, 3), "b": (4, 2), "c": (1, 1), "d": (2, 3), "e": (3, 2)}


def test_clips_of_several_sizes(arrays):
    for name, (height, width) in SIZES.items():
        steps = arrays[name][:, :1, :1]
        arrays[name] = steps.repeat(height, 1).repeat(width, 2)
    aligned_inputs = {"map": {name: arrays[name][..., 0] for name in SIZES}}
    pairs = epoch(make(arrays, aligned_inputs=aligned_inputs))
    whole = epoch(
        make_evaluation_dataset(
            arrays, CLIPS, CLASSES, aligned_inputs=aligned_inputs
        )
    )
    for inputs, _ in pairs + whole:
        assert inputs["features"].shape[1:3] == (4, 3)
        np.testing.assert_array_equal(inputs["map"], inputs["features"][..., 0])
        check_size(inputs["features"], inputs["mask"])
    conjugates = [
        check_size(inputs["conjugate"], inputs["conjugate_mask"])
        for inputs, _ in pairs
        if inputs["has_conjugate"]
    ]
    assert len(conjugates) == 2  # those of "a" and "b"


def check_size(array, mask):
    """Of the clip whose values these are, padded behind what is real."""
    np.testing.assert_array_equal(mask, array[..., 0] > 0)
    name = list(TIMES)[int(array[0, 0, 0, 0]) // 100 - 1]
    height, width = SIZES.get(name, (2, 3))
    assert mask[0, :height, :width].all()
    assert mask[0].sum() == height * width


def test_clips_of_several_classes(arrays):
    clips = [
        clip("a", "run|jump", "f"),
        clip("b", "jump"),
        clip("e", "nothing"),
    ]
    expected = [[1, 1], [0, 1], [0, 0]]
    pairs = make_pair_dataset(
        arrays, clips, ("run", "jump"), multi_label=True, shuffle=False
    )
    whole = make_evaluation_dataset(
        arrays, clips, ("run", "jump"), multi_label=True
    )
    for dataset in (pairs, whole):
        labels = np.array([label for _, label in epoch(dataset)])
        np.testing.assert_array_equal(labels, expected)
        assert labels.dtype == "float32"
    with pytest.raises(ValueError, match="`class_names`.*'run|jump'"):
        make_evaluation_dataset(arrays, clips, CLASSES)


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_is_a_function_of_its_number(arrays, shuffle):
    counting = make(arrays, shuffle=shuffle)
    for number in range(3):
        expected = epoch(counting)
        numbered = make(arrays, shuffle=shuffle, epoch=number)
        for _ in range(2):
            assert_same(epoch(numbered), expected)


def batches(dataset):
    return [
        {**inputs, "label": label}
        for inputs, label in dataset.as_numpy_iterator()
    ]


@pytest.mark.parametrize("batch_size", [3, 6])  # 3 and 2 clips; all 5
def test_shards_side_by_side_are_the_batches(arrays, batch_size):
    for function, settings in (
        (make, {"epoch": 2}),
        (make_whole, {}),
    ):
        settings["batch_size"] = batch_size
        whole = batches(function(arrays, **settings))
        shards = [
            batches(function(arrays, shard=shard, num_shards=3, **settings))
            for shard in range(3)
        ]
        for batch, *parts in zip(whole, *shards, strict=True):
            sizes = [len(part["label"]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            for key, value in batch.items():
                together = np.concatenate([part[key] for part in parts])
                np.testing.assert_array_equal(together, value)
    assert 0 in sizes or batch_size == 6


def make_whole(features, **settings):
    return make_evaluation_dataset(features, CLIPS, CLASSES, **settings)


def test_a_shard_reads_its_own_clips_alone(arrays):
    class Recording(dict):
        def __getitem__(self, name):
            read.append(name)
            return super().__getitem__(name)

    for function, settings in (
        (make, {"background": CLASSES}),
        (make_whole, {}),
    ):
        names = []
        for shard in range(2):
            read = []
            dataset = function(
                Recording(arrays), shard=shard, num_shards=2, **settings
            )
            read.clear()  # their shapes
            sizes = [len(label) for _, label in dataset.as_numpy_iterator()]
            assert len(read) == sum(sizes)
            names += read
        assert sorted(names) == list("abcde")


def test_names(arrays):
    for inputs, _ in epoch(make(arrays, names=True)):
        name, conjugate = (
            inputs[key].decode() for key in ("clip", "conjugate_clip")
        )
        shown, _ = check_stretch(inputs["features"], inputs["mask"])
        assert name == shown
        if inputs["has_conjugate"]:
            shown, _ = check_stretch(
                inputs["conjugate"], inputs["conjugate_mask"]
            )
            assert conjugate == shown
        else:
            assert conjugate == ""


def test_shards_and_epochs_that_cannot_be(arrays):
    for settings, words in (
        ({"num_shards": 0}, "`num_shards` must be a positive.*=0"),
        ({"shard": 2, "num_shards": 2}, r"`shard` must .*\[0, num_shards=2\)"),
        ({"shard": -1}, "`shard` must .*shard=-1"),
        ({"num_shards": 3}, "`batch_size` must be a multiple.*=3.*size=2"),
        ({"epoch": -1}, "`epoch` must be an integer >= 0.*epoch=-1"),
        ({"seed": -1}, "`seed` must be an integer >= 0.*seed=-1"),
    ):
        with pytest.raises(ValueError, match=words):
            make(arrays, **settings)
