r"""Trains ActX on the built-in data set, through the library alone.

    python examples/quick_start.py --output=runs/quick_start

Eight classes of motion. In training the scene nearly always gives the class
away, at test it says nothing: average pooling learns scenes, and ActX learns
from the pairs where the action is. Takes about a minute, and writes
`attention.gif`: the test clip that ActX is surest of, beside its maps.
"""

from pathlib import Path

import keras
import numpy as np
from absl import app
from absl import flags
from keras import layers

from actx_tf.data import synthetic
from actx_tf.models import ActX
from actx_tf.visualization import save_attention_video

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/quick_start", "folder of the GIF")
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

    actx = ActX(  # as the training commands set it
        8,
        beta=0.3,
        difference_weight=10.0,
        conjugate_weight=0.1,
        transformation="low_rank",
    )
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

    outputs = actx.predict(test_features, verbose=0)
    second, first = np.sort(outputs["logits"], axis=1)[:, -2:].T
    surest = np.argmax(first - second)
    logits, action_map, context_map = (
        outputs[name][surest]
        for name in ("logits", "action_map", "context_map")
    )
    names = synthetic.CLASS_NAMES
    save_attention_video(
        output / "attention.gif",
        test.videos[surest],
        action_map,
        context_map,
        frame_rate=8.0,
        side=144,
        centers=backbone.description.centers(action_map.shape),
        title=f"{names[test.labels[surest]]}, recognized as "
        f"{names[np.argmax(logits)]}",
    )
    print(f"a test clip and its maps: {output / 'attention.gif'}")


if __name__ == "__main__":
    app.run(main)
