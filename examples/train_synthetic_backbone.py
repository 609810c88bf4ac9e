r"""Trains the network behind the built-in data set's feature maps.

    python examples/train_synthetic_backbone.py --output=synthetic_backbone.npz

Its clips are unbiased and show other scenes than the built-in set; in each,
several actors move alike. One average-pooled head tells the motions apart and
another the scenes, until both are learned, so that the features carry both.
The package's own weights are actx_tf/data/synthetic_backbone.npz.
"""

import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags
from keras import layers

from actx_tf.data import synthetic

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "npz to write", required=True)
flags.DEFINE_integer("clips", 8000, "training clips", lower_bound=1)
flags.DEFINE_integer("scenes", 64, "scenes of these clips", lower_bound=1)
flags.DEFINE_integer("actors", 5, "actors in a clip", lower_bound=1)
flags.DEFINE_integer("epochs", 10, "epochs", lower_bound=1)

BATCH_SIZE = 32


def make_clips(num_clips, seed):
    clips = synthetic.make_clips(
        num_clips,
        num_scenes=FLAGS.scenes,
        num_actors=FLAGS.actors,
        scene_seed=1,
        seed=seed,
    )
    return clips.videos, {"motion": clips.labels, "scene": clips.scenes}


def main(argv):
    del argv
    keras.utils.set_random_seed(0)
    videos, labels = make_clips(FLAGS.clips, seed=100)
    held_out = make_clips(max(1, FLAGS.clips // 8), seed=101)

    backbone = synthetic.backbone(weights=None)
    pooled = layers.GlobalAveragePooling3D()(backbone.output)
    classifier = keras.Model(
        backbone.input,
        {
            "motion": layers.Dense(len(synthetic.CLASS_NAMES))(pooled),
            "scene": layers.Dense(FLAGS.scenes)(pooled),
        },
    )
    steps = FLAGS.epochs * -(-FLAGS.clips // BATCH_SIZE)
    classifier.compile(
        optimizer=keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                1e-4,
                steps,
                warmup_target=4e-3,
                warmup_steps=min(200, steps // 2),
            ),
            weight_decay=1e-3,
        ),
        loss={
            head: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            for head in labels
        },
        loss_weights={"motion": 1.0, "scene": 0.3},
        metrics={head: "accuracy" for head in labels},
    )
    dataset = tf.data.Dataset.from_tensor_slices((videos, labels))
    classifier.fit(
        dataset.shuffle(len(videos), seed=0).batch(BATCH_SIZE).prefetch(2),
        epochs=FLAGS.epochs,
        verbose=2,
    )
    print(
        "new clips of the same scenes:",
        {
            name: round(value, 3)
            for name, value in classifier.evaluate(
                *held_out, verbose=0, return_dict=True
            ).items()
            if name.endswith("accuracy")
        },
    )
    weights = backbone.get_weights()
    # As `synthetic.backbone` reads them.
    arrays = {str(number): array for number, array in enumerate(weights)}
    np.savez_compressed(FLAGS.output, **arrays)
    size = sum(array.nbytes for array in weights)
    print(f"written: {size / 1e3:.0f} kB of weights")


if __name__ == "__main__":
    app.run(main)
