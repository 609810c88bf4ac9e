r"""Trains ActX on the built-in data set, through the library alone.

    python examples/quick_start.py --output=runs/quick_start

Eight classes of motion. In training the scene nearly always gives the class
away, at test it says nothing: average pooling learns scenes, and ActX learns
from the pairs where the action is. Takes about a minute, and writes
`attention.png`.
"""

from pathlib import Path

import keras
from absl import app
from absl import flags
from keras import layers

from actx_tf.data import synthetic
from actx_tf.models import ActX
from actx_tf.visualization import attention_figure

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/quick_start", "folder of the figure")
flags.DEFINE_integer("epochs", 30, "epochs of each model", lower_bound=1)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)

    train = synthetic.make_part("train", 1000)
    test = synthetic.make_part("test", 200)
    backbone = synthetic.backbone()  # frozen: each clip is run once
    features, conjugates, test_features = (
        backbone.predict(videos, verbose=0)
        for videos in (train.videos, train.conjugates, test.videos)
    )
    print(f"{len(features)} pairs of feature maps {features.shape[1:]}")

    actx = ActX(8, beta=0.3, transformation="low_rank")
    average = keras.Sequential(
        [layers.GlobalAveragePooling3D(), layers.Dense(8)]
    )
    pairs = {"features": features, "conjugate": conjugates}
    for name, model, inputs in (
        ("average pooling", average, features),
        ("ActX", actx, pairs),
    ):
        model.compile(
            optimizer=keras.optimizers.Adam(3e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(inputs, train.labels, 36, FLAGS.epochs, verbose=0)
        for part, clips, labels in (
            ("train", features, train.labels),
            ("test", test_features, test.labels),
        ):
            result = model.evaluate(clips, labels, verbose=0, return_dict=True)
            print(f"{name}, {part}: accuracy {result['accuracy']:.3f}")

    maps = actx.predict(test_features[:4], verbose=0)
    figure = attention_figure(
        test.videos[:4],
        maps["action_map"],
        maps["context_map"],
        [synthetic.CLASS_NAMES[label] for label in test.labels[:4]],
        [
            backbone.description.centers(clip.shape)
            for clip in maps["action_map"]
        ],
    )
    figure.savefig(output / "attention.png", bbox_inches="tight")
    print(f"the maps of four test clips: {output / 'attention.png'}")


if __name__ == "__main__":
    app.run(main)
