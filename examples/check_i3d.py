r"""Repeats what the released I3D networks answer for their sample clip.

Clone github.com/google-deepmind/kinetics-i3d, and:

    python examples/check_i3d.py --root=kinetics-i3d

Prints the norm of the logits and the 20 most likely classes of the RGB and the
flow network trained from ImageNet, and of both: compare them with the folder
`out` of that repository, or name its file, which is then done here:

    python examples/check_i3d.py --root=kinetics-i3d --stream=rgb \
        --expected=out/imagenet_rgb.txt
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
flags.DEFINE_string("expected", None, "published answer to compare with")
flags.DEFINE_float(
    "tolerance", 1e-3, "largest error, relative to the largest logit"
)


def logits_of(stream):
    from actx_tf.backbones import InceptionI3D

    root = Path(FLAGS.root, "data")
    sample = np.load(root / f"v_CricketShot_g04_c01_{stream}.npy")
    model = InceptionI3D(
        weights=root / "checkpoints" / f"{stream}_imagenet" / "model.ckpt",
        input_shape=sample.shape[1:],
        classifier_activation=None,
        include_preprocessing=False,
    )
    return model.predict(sample.astype("float32"), verbose=0)[0]


def read_expected(path):
    """Returns the norm of the logits, and the logit of each class named."""
    text = Path(path).read_text(encoding="utf-8")
    norm = re.search(r"^Norm of logits: (\S+)", text, re.MULTILINE)
    lines = re.findall(r"^(\d\S*) (\S+) (.+)$", text, re.MULTILINE)
    if not norm or not lines:
        raise ValueError(f"{path}: not a published answer of kinetics-i3d")
    return float(norm[1]), {name: float(logit) for _, logit, name in lines}


def compare(logits, names, path):
    """Returns the largest error, relative to the largest logit."""
    norm, expected = read_expected(path)
    if unknown := set(expected) - set(names):
        raise ValueError(f"{path}: unknown classes {sorted(unknown)}")
    found = np.array([logits[names.index(name)] for name in expected])
    published = np.array(list(expected.values()))
    error = np.max(np.abs(found - published)) / np.max(np.abs(published))
    return max(error, abs(np.linalg.norm(logits) - norm) / norm)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    streams = ("rgb", "flow") if FLAGS.stream == "joint" else (FLAGS.stream,)
    try:
        names = (Path(FLAGS.root) / "data" / "label_map.txt").read_text()
        names = names.splitlines()
        logits = sum(logits_of(stream) for stream in streams)
        probabilities = np.exp(logits - np.max(logits))
        probabilities /= np.sum(probabilities)
        print(f"Norm of logits: {np.linalg.norm(logits):f}\n")
        print("Top classes and probabilities")
        for i in np.argsort(-logits)[:20]:
            print(f"{probabilities[i]:.8g} {logits[i]:.6f} {names[i]}")
        if FLAGS.expected:
            error = compare(logits, names, FLAGS.expected)
            print(f"\nlargest relative error: {error:.1e}")
            if error > FLAGS.tolerance:
                sys.exit("error: not the published answer")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
