r"""Makes saved_models/demo: ActX on the built-in data set, ready to be served.

    python examples/export_demo.py --output=saved_models/demo

Trains one model from a fixed seed with deterministic operations, exports it
along with the network behind the built-in set, and writes `answers.json` beside
the versions: what it answers for the first test clips, for whoever wants to
know whether a server answers the same.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from absl import app
from absl import flags

from actx_tf import experiments
from actx_tf import export
from actx_tf.data import synthetic

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "saved_models/demo", "folder of the versions")
flags.DEFINE_string("runs", "runs/export_demo", "folder of the training's logs")
flags.DEFINE_integer("epochs", 40, "epochs of the training")
flags.DEFINE_integer("train_clips", 2400, "training pairs")
flags.DEFINE_integer("test_clips", 400, "test clips")

NUM_ANSWERS = 8


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    tf.config.experimental.enable_op_determinism()
    data = experiments.load_data(
        experiments.DataSettings(
            train_clips=FLAGS.train_clips, test_clips=FLAGS.test_clips
        )
    )
    model, _ = experiments.train_method(
        "ActX",
        data,
        experiments.TrainingSettings(epochs=FLAGS.epochs),
        seed=0,
        output=FLAGS.runs,
        run="ActX",
    )
    _, figures, _ = experiments.evaluate("ActX", model, data.test, data.task)
    videos = synthetic.make_part("test", FLAGS.test_clips).videos
    clips = videos[:NUM_ANSWERS]
    path = export.export_saved_model(
        model,
        FLAGS.output,
        backbone=data.backbone,
        samples={
            "features": data.backbone.predict(clips[:1], verbose=0),
            "frames": clips[:1],
        },
        max_steps=1024,
    )
    video = tf.saved_model.load(str(path)).signatures["video"]
    lengths = np.full(len(clips), clips.shape[1], np.int32)
    answers = video(frames=tf.constant(clips), lengths=tf.constant(lengths))
    answers = {
        "clips": f"synthetic.make_part('test', {FLAGS.test_clips})",
        "figures": figures,
        "label": [label.decode() for label in answers["label"].numpy()],
        "scores": np.round(answers["scores"].numpy(), 6).tolist(),
        "action_map": np.round(answers["action_map"].numpy(), 6).tolist(),
    }
    path = path.with_name("answers.json")
    path.write_text(json.dumps(answers), encoding="utf-8")
    print({name: round(value, 3) for name, value in figures.items()})


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing is exported")
