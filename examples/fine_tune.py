r"""Trains ActX end to end: the backbone is trained along with the attention.

    python examples/fine_tune.py --index=index.csv --background=none \
        --weights=rgb_imagenet/model.ckpt --output=runs/tuned

The clips' frames are held in memory, so this is for hundreds of clips, not for
thousands: for those, train on stored features (train_actx.py). Of each clip a
random stretch of --num_frames frames is shown in training, and all of it in
testing. Layers whose names begin with one of --frozen keep their weights, and
batch normalization keeps its statistics everywhere; what is left of the
backbone has a learning rate of its own.

Writes to `--output`: `settings.json`, `actx.keras`, `history.csv`,
`tensorboard/` and `checkpoint.npz`. Run the same command again to go on behind
the last epoch after an interruption, or with larger `--epochs` after the end.
"""

import functools
import math
import sys
from pathlib import Path

import keras
import numpy as np
import run_folder
import tensorflow as tf
from absl import app
from absl import flags
from tqdm import tqdm
from tqdm.keras import TqdmCallback

from actx_tf import training
from actx_tf.backbones import InceptionI3D
from actx_tf.data import VideoError
from actx_tf.data import make_evaluation_dataset
from actx_tf.data import make_pair_dataset
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.models import ActX
from actx_tf.utils.atomic_write import atomic_write

FLAGS = flags.FLAGS
flags.DEFINE_string("index", None, "clip index (CSV)", required=True)
flags.DEFINE_string("conjugates_column", "conjugates", "column of conjugates")
flags.DEFINE_list("background", [], "labels that show no action")
flags.DEFINE_string("weights", None, "weights of InceptionI3D: see there")
flags.DEFINE_string("output", "runs/tuned", "folder for what is written")
flags.DEFINE_list(
    "frozen",
    ["Conv3d_1a", "Conv3d_2", "Mixed_3", "Mixed_4"],
    "what the names of layers begin with that are not trained",
)
flags.DEFINE_list("size", ["224", "224"], "height,width of the frames")
flags.DEFINE_float("frame_rate", 25.0, "frames per second", lower_bound=0.1)
flags.DEFINE_integer("num_frames", 64, "frames of a stretch", lower_bound=8)
flags.DEFINE_integer("batch_size", 4, "pairs in a batch", lower_bound=1)
flags.DEFINE_integer("epochs", 10, "epochs", lower_bound=1)
flags.DEFINE_float("learning_rate", 1e-3, "of the head", lower_bound=0)
flags.DEFINE_float(
    "backbone_learning_rate", 1e-5, "of the backbone", lower_bound=0
)
flags.DEFINE_integer("seed", 0, "seed of all that is random")
flags.DEFINE_boolean(
    "deterministic",
    True,
    "whether the same command gives the same weights on the same machine",
)
flags.register_multi_flags_validator(
    ("frame_rate", "learning_rate", "backbone_learning_rate"),
    lambda given: all(map(math.isfinite, given.values())),
    "must be finite",
)


@flags.validator("size", message="must be height,width, of at least 32 each")
def _is_size(size):
    return len(size) == 2 and all(
        side.isdecimal() and int(side) >= 32 for side in size
    )


def read_frames(clips):
    """Returns the frames of each clip that can be read."""
    frames = {}
    for clip in tqdm(clips, unit="clip"):
        try:
            frames[clip.clip], _ = read_clip(
                clip.file,
                frame_rate=FLAGS.frame_rate,
                size=tuple(map(int, FLAGS.size)),
                start=clip.start,
                end=clip.end,
                box=clip.box,
            )
        except VideoError as error:
            print(f"left out: {error}")
    return frames


def make_backbone():
    size = tuple(map(int, FLAGS.size))
    backbone = InceptionI3D(False, FLAGS.weights, (None, *size, 3))
    layers = [layer for layer in backbone.layers if layer.weights]
    for prefix in FLAGS.frozen:
        if not any(layer.name.startswith(prefix) for layer in layers):
            raise ValueError(f"--frozen: no layer begins with {prefix!r}")
    for layer in layers:
        layer.trainable = not (
            isinstance(layer, keras.layers.BatchNormalization)
            or layer.name.startswith(tuple(FLAGS.frozen))
        )
    return backbone


def make_optimizer(backbone):
    """Adam with one learning rate for the backbone and one for the head."""
    slow = keras.optimizers.Adam(FLAGS.backbone_learning_rate)
    paths = [variable.path for variable in backbone.trainable_variables]
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(FLAGS.learning_rate),
            dict.fromkeys(paths, slow),
        )
    )


def per_step(inputs, label):
    """The masks of frames become those of the steps of 8 frames."""
    masks = {key: inputs[key][:, ::8] for key in inputs if "mask" in key}
    return {**inputs, **masks}, label


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(FLAGS.seed)
    output = Path(FLAGS.output)
    try:
        index = read_clip_index(FLAGS.index, FLAGS.conjugates_column)
        backbone = make_backbone()
        frames = read_frames(index)
        clips = [clip for clip in index if clip.clip in frames]
        seen = [clip for clip in clips if clip.split == "train"]
        unseen = [clip for clip in clips if clip.split == "test"]
        names = sorted({clip.label for clip in seen})
        make_pairs = functools.partial(
            make_pair_dataset,
            frames,
            seen,
            names,
            FLAGS.num_frames,
            FLAGS.batch_size,
            background=FLAGS.background,
            seed=FLAGS.seed,
        )
        make_pairs()  # tells what is wrong before anything is written
        whole = None
        if unseen:
            whole = make_evaluation_dataset(
                frames, unseen, names, FLAGS.batch_size
            ).map(per_step)
        run_folder.keep_settings(output, free=["epochs"])
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")

    model = ActX(len(names), backbone=backbone)
    model.compile(
        optimizer=make_optimizer(backbone),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    try:
        history = training.fit(
            model,
            lambda **which: make_pairs(**which).map(per_step),
            FLAGS.epochs,
            validation_data=whole,
            callbacks=[
                TqdmCallback(verbose=0),
                run_folder.HistoryFile(output / "history.csv"),
                keras.callbacks.TensorBoard(str(output / "tensorboard")),
            ],
            checkpoint=output / "checkpoint.npz",
            bad_batch=output / "bad_batch.npz",
        )
    except FloatingPointError as error:
        sys.exit(f"error: {error}")
    with atomic_write(output / "actx.keras") as draft:
        model.save(draft)
    print({key: round(float(values[-1]), 4) for key, values in history.items()})
    trained = np.sum([np.prod(v.shape) for v in backbone.trainable_variables])
    print(f"trained {int(trained):,} of {backbone.count_params():,} weights")
    print(f"written to {output}: actx.keras, history.csv, tensorboard/")


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
