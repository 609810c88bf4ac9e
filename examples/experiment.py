"""What the training examples share: data, runs, figures of a run, tables."""

import dataclasses
import functools
import math
import statistics
import sys
import time
from collections.abc import Callable
from collections.abc import Collection

import keras
import numpy as np
import run_folder
import tensorflow as tf
from absl import flags
from keras import ops
from tqdm.keras import TqdmCallback

from actx_tf import metrics
from actx_tf import training
from actx_tf.callbacks import AttentionMapLogger
from actx_tf.data import FeatureStore
from actx_tf.data import VideoError
from actx_tf.data import make_evaluation_dataset
from actx_tf.data import make_pair_dataset
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import synthetic
from actx_tf.data.epochs import make_epoch
from actx_tf.data.similarities import store_name
from actx_tf.models import ActX

FLAGS = flags.FLAGS
flags.DEFINE_string("features", None, "feature store; none: the built-in set")
flags.DEFINE_string("index", None, "clip index (CSV) of the feature store")
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_list(
    "background", [], "labels that show no action: they get no conjugates"
)
flags.DEFINE_boolean(
    "multi_label", False, "whether a clip can be of several classes"
)
flags.DEFINE_integer("num_steps", 10, "steps of a training crop (store only)")
flags.DEFINE_integer("train_clips", 2400, "training pairs of the built-in set")
flags.DEFINE_integer(
    "test_clips", 400, "built-in clips of validation, and as many of test"
)
flags.DEFINE_integer("seeds", 3, "runs of each method", lower_bound=1)
flags.DEFINE_integer("epochs", 40, "epochs of each run", lower_bound=1)
flags.DEFINE_integer("batch_size", 36, "pairs in a batch", lower_bound=1)
flags.DEFINE_float("learning_rate", 3e-3, "of Adam", lower_bound=0)
flags.register_validator("learning_rate", math.isfinite, "must be finite")
flags.DEFINE_enum(
    "dtype_policy",
    "float32",
    ["float32", "mixed_bfloat16"],
    "of the models; bfloat16 is fast on a CPU or GPU that has it",
)
flags.DEFINE_boolean(
    "deterministic",
    True,
    "whether the same command gives the same figures to the last digit, on the "
    "same machine",
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Clips that a model is evaluated on."""

    make_dataset: Callable[..., tf.data.Dataset]  # shard=, num_shards=
    labels: np.ndarray  # (clips,), or (clips, classes) of zeros and ones
    scored: np.ndarray  # classes that count for mean average precision
    paired: np.ndarray | None = None  # clips with conjugates in the index
    voxels: np.ndarray | None = None  # true action voxels

    @property
    def dataset(self):
        return self.make_dataset()


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run needs of a data set."""

    class_names: list[str]
    channels: int
    inputs: set[str]  # keys of a pair's inputs
    # seed, pairs=True, epoch=, shard=, num_shards=
    make_training: Callable[..., tf.data.Dataset]
    whole_training: tf.data.Dataset  # the same clips, uncut
    validation: Part | None
    test: Part
    show: Callable[[np.ndarray], list[np.ndarray]]  # test clips -> videos
    show_validation: Callable[[np.ndarray], list[np.ndarray]] | None = None
    backbone: keras.Model | None = None  # what made the features, if known
    frame_rate: float | None = None  # that it saw


def built_in_data():
    """The built-in set: its scenes mislead on all but the training part."""
    backbone = synthetic.backbone()

    def arrays(part, num_clips):
        clips = synthetic.make_part(part, num_clips)
        inputs = {
            "features": backbone.predict(clips.videos, verbose=0),
            "mask": np.ones((num_clips, synthetic.FEATURE_SIZE[0]), bool),
            "pose_mask": synthetic.to_voxels(clips.thing_masks),
            "boxes": synthetic.step_boxes(clips.boxes),
        }
        return clips, inputs

    def part(clips, inputs):
        return Part(
            batches_of(inputs, clips.labels),
            clips.labels,
            scored=np.ones(len(synthetic.CLASS_NAMES), bool),
            voxels=synthetic.to_voxels(clips.actor_masks),
        )

    clips, inputs = arrays("train", FLAGS.train_clips)
    whole = batches_of(inputs, clips.labels)()
    inputs = {
        **inputs,
        "conjugate": backbone.predict(clips.conjugates, verbose=0),
        "conjugate_mask": inputs["mask"],
        "has_conjugate": np.ones(len(clips.labels), bool),
    }
    validation = arrays("validation", FLAGS.test_clips)
    batches = batches_of(inputs, clips.labels)
    test = arrays("test", FLAGS.test_clips)
    return Data(
        class_names=list(synthetic.CLASS_NAMES),
        channels=inputs["features"].shape[-1],
        inputs=set(inputs),
        make_training=lambda seed, pairs=True, **which: batches(
            shuffle=True, seed=seed, **which
        ),
        whole_training=whole,
        validation=part(*validation),
        test=part(*test),
        show=lambda chosen: list(test[0].videos[chosen]),
        show_validation=lambda chosen: list(validation[0].videos[chosen]),
        backbone=backbone,
    )


def batches_of(inputs, labels):
    """Returns what makes batches of arrays: see `make_epoch`."""
    with tf.device("CPU"):  # once, and not into the memory of a GPU
        tensors = tf.nest.map_structure(tf.convert_to_tensor, (inputs, labels))

    def take(places):  # a batch at once: a third faster than one by one
        return tf.nest.map_structure(lambda x: tf.gather(x, places), tensors)

    def batches(**which):
        places = make_epoch(
            len(labels), lambda place, epoch: place, FLAGS.batch_size, **which
        )
        return places.map(take)

    return batches


def stored_data(features, companions=None, others=(), similarities=None):
    """A feature store and the index, split as the index says.

    `companions` are paths of the stores of `"pose_mask"`, maps of one channel,
    and `"boxes"`, maps of the height 1: see `make_pair_dataset`. Clips that
    any of these, or of the `others`, lacks are left out. `similarities` is the
    path of a store made by precompute_similarity.py.
    """
    store = FeatureStore(features)
    if similarities is not None:
        similarities = FeatureStore(similarities)
        expected = store_name(store, FLAGS.gamma)
        if similarities.made_by != expected:
            raise ValueError(
                f"{FLAGS.similarities}: must be {expected}. "
                f"Received: {similarities.made_by}"
            )
    others = [FeatureStore(path) for path in others]
    companions = {
        key: FeatureStore(path) for key, path in (companions or {}).items()
    }
    index = read_clip_index(FLAGS.index, FLAGS.conjugates_column)
    clips = [
        clip
        for clip in index
        if all(clip.clip in s for s in (store, *companions.values(), *others))
    ]
    # Of a NaN, training would tell after the first epoch, and name no clip.
    names = [clip.clip for clip in clips]
    for companion in companions.values():
        companion.check(names)
    if similarities is None:
        conjugates = {name for clip in clips for name in clip.conjugates}
        names = {*names, *filter(store.__contains__, conjugates)}
    else:  # are read in the place of the conjugates
        similarities.check()
    store.check(sorted(names))
    if missing := len(index) - len(clips):
        print(f"{missing} clips of {FLAGS.index} are not in all the stores")
    splits = {
        split: [clip for clip in clips if clip.split == split]
        for split in ("train", "validation", "test")
    }
    # HACS has no public test clips.
    tested = splits["test"] or splits["validation"]
    if not splits["train"] or not tested:
        raise ValueError(
            f"{FLAGS.index}: clips of the splits 'train' and 'test' are "
            f"expected. Received: {sorted({clip.split for clip in clips})}"
        )
    names = sorted(
        {
            name
            for chosen in splits.values()
            for clip in chosen
            for name in (clip.labels if FLAGS.multi_label else [clip.label])
        }
    )
    kwargs = {"multi_label": FLAGS.multi_label, "companions": companions}
    axes = {"pose_mask": -1, "boxes": 2}

    def squeeze(inputs, label):
        return {
            key: tf.squeeze(array, axes[key]) if key in axes else array
            for key, array in inputs.items()
        }, label

    def make_training(seed, pairs=True, **which):
        return make_pair_dataset(
            store,
            splits["train"],
            names,
            FLAGS.num_steps,
            FLAGS.batch_size,
            # Without a reader of pairs, conjugates are not read either.
            background=FLAGS.background if pairs else names,
            seed=seed,
            similarities=similarities,
            names=True,
            **which,
            **kwargs,
        ).map(squeeze)

    def whole(chosen, **which):
        return make_evaluation_dataset(
            store, chosen, names, FLAGS.batch_size, **which, **kwargs
        ).map(squeeze)

    def part(chosen):
        if FLAGS.multi_label:
            labels = [[name in c.labels for name in names] for c in chosen]
        else:
            labels = [names.index(clip.label) for clip in chosen]
        return Part(
            functools.partial(whole, chosen),
            np.array(labels, np.int32),
            scored=np.array([name not in FLAGS.background for name in names]),
            paired=np.array([bool(clip.conjugates) for clip in chosen]),
        )

    return Data(
        class_names=names,
        channels=store.channels,
        inputs=set(make_training(0).element_spec[0]),
        make_training=make_training,
        whole_training=whole(splits["train"]),
        validation=part(splits["validation"]) if splits["validation"] else None,
        test=part(tested),
        show=functools.partial(_read_videos, tested),
        show_validation=functools.partial(_read_videos, splits["validation"]),
        frame_rate=store.attributes(clips[0].clip)["frame_rate"],
    )


def _read_videos(clips, chosen):
    return [
        read_clip(clip.file, start=clip.start, end=clip.end, box=clip.box)[0]
        for clip in map(clips.__getitem__, chosen)
    ]


def with_backbone(data, backbone):
    """The data of a store, known to be made by this backbone."""
    made_by = FeatureStore(FLAGS.features).made_by
    made_by = getattr(made_by, "name", made_by)
    if backbone.name != made_by:
        raise ValueError(
            f"--backbone must be {made_by}, which made the features. "
            f"Received: {backbone.name}"
        )
    return dataclasses.replace(data, backbone=backbone)


def pick(dataset, keys: Collection[str]):
    """The dataset with these inputs alone, the mask one of all voxels."""

    def to_inputs(inputs, label):
        picked = {key: inputs[key] for key in keys if key in inputs}
        mask = inputs["mask"]
        if len(mask.shape) == 2:
            mask = mask[:, :, None, None]
        voxels = tf.shape(inputs["features"])[:-1]
        picked["mask"] = tf.broadcast_to(mask, voxels)
        return picked, label

    return dataset.map(to_inputs)


def compile_model(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if FLAGS.multi_label:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(
        optimizer=keras.optimizers.Adam(FLAGS.learning_rate),
        loss=loss,
        metrics=[] if FLAGS.multi_label else ["accuracy"],
    )


class StepTimer(keras.callbacks.Callback):
    """Measures training steps; `median` is in seconds."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)

    @property
    def median(self):
        """NaN if all steps were those of an interrupted training."""
        return statistics.median(self.seconds or [math.nan])


def map_logger(folder, validation, show):
    clips = next(iter(validation.unbatch().batch(4)))[0]
    try:
        frames = show and show(np.arange(len(clips["features"])))
    except VideoError:
        frames = None  # gone: the maps are drawn alone
    return AttentionMapLogger(folder, clips, frames)


def fit(
    model,
    make_training,
    validation,
    output,
    name,
    resumable=False,
    show=None,
):
    """Trains a compiled model; returns the seconds of a step.

    `make_training` and `validation` are as in `actx_tf.training.fit`. Writes
    its logs to `<output>/history/<name>.csv` and `<output>/tensorboard/<name>`,
    of the name what a file name can hold, and a batch whose loss is not finite
    to `<output>/bad_batches/<name>.npz`. Of ActX, the maps of the first
    validation clips are logged too, over what `show` returns of these. A
    training that is resumable goes on from its checkpoint, which is there until
    someone deletes it.
    """
    timer = StepTimer()
    callbacks = [timer]
    run = run_folder.file_name(name)
    checkpoint = run_folder.checkpoint_path(output, name)
    if training.is_chief(model.distribute_strategy):
        callbacks += [
            TqdmCallback(verbose=0, desc=name),
            run_folder.HistoryFile(f"{output}/history/{run}.csv"),
            keras.callbacks.TensorBoard(f"{output}/tensorboard/{run}"),
        ]
        alone = model.distribute_strategy.num_replicas_in_sync == 1
        if alone and validation is not None and isinstance(model, ActX):
            folder = f"{output}/tensorboard/{run}/maps"
            callbacks.append(map_logger(folder, validation(), show))
    try:
        training.fit(
            model,
            make_training,
            FLAGS.epochs,
            validation_data=validation,
            callbacks=callbacks,
            checkpoint=checkpoint if resumable else None,
            bad_batch=f"{output}/bad_batches/{run}.npz",
        )
    except FloatingPointError as error:
        sys.exit(f"error: {name}: {error}")
    except tf.errors.OpError as error:
        if not isinstance(
            model.distribute_strategy,
            tf.distribute.MultiWorkerMirroredStrategy,
        ):
            raise
        sys.exit(
            f"error: {name}: a worker was lost; run the same command on all "
            f"of them to go on from the last epoch: {error.message}"
        )
    return timer.median


def scores(logits):
    """Class probabilities, NumPy."""
    activation = keras.activations.softmax
    if FLAGS.multi_label:
        activation = keras.activations.sigmoid
    return ops.convert_to_numpy(activation(ops.convert_to_tensor(logits)))


def figures(part, probabilities):
    """Accuracy, mAP and mAcc; also on the clips that have conjugates."""
    row = _figures(part.labels, probabilities, part.scored)
    if part.paired is not None and part.paired.any():
        paired = _figures(
            part.labels[part.paired], probabilities[part.paired], part.scored
        )
        row |= {f"{name} (paired)": value for name, value in paired.items()}
    return row


def _figures(labels, probabilities, scored):
    if FLAGS.multi_label:
        member, row = labels, {}
    else:
        member = labels[:, None] == np.arange(len(scored))
        answers = np.argmax(probabilities, axis=-1)
        row = {
            "accuracy": np.mean(answers == labels),
            "mAcc": metrics.mean_class_accuracy(labels, probabilities),
        }
    row["mAP"] = metrics.mean_average_precision(
        member[:, scored], probabilities[:, scored]
    )
    return {name: float(value) for name, value in row.items()}


def summarize(rows, columns, digits=3):
    """Mean and standard deviation of each method's runs, as text.

    Returns:
        Lines of cells: the header, then one line a method.
    """
    table = [["", *columns]]
    for method in dict.fromkeys(row["method"] for row in rows):
        line = [method]
        for column in columns:
            values = [
                row[column]
                for row in rows
                if row["method"] == method
                and not math.isnan(row.get(column, math.nan))
            ]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            line.append(
                f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"
                if values
                else ""
            )
        table.append(line)
    return table


def print_table(table):
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
