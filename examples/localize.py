r"""Measures whether maps find where and when an action happens.

On the built-in data set, with the model of saved_models/demo:

    python examples/localize.py

On videos with boxes, by the features of examples/extract_features.py and the
model of examples/train_actx.py:

    python examples/localize.py --features=features --index=index.csv \
        --model=runs/mine/actx.keras --boxes=boxes.json --output=boxes.csv

Without --features, the videos are shown to a SavedModel that takes videos.
--boxes is JSON: {clip: [{"start": 62, "end": 96, "boxes_xywh": [[145, 89, 42,
63], ...]}, ...]}, for each clip its tubes, frames counted from 1 in the video
file, a box a frame, in pixels. Or --masks, a store like that of the features,
of one channel.

Boxes are put on the grid of the feature map: a voxel is action where they cover
--share of the frames and pixels of its cell. For each map, the mean over the
clips, and in parentheses chance, which is what a constant map has:

    AUC              over voxels, metrics.localization_auc
    pointing, steps  is the largest value of a step in the action?
    pointing, clip   is the largest value of the clip?
    energy           the share of the map inside the action
    temporal IoU     of the action and the steps whose mean value is at least
                     --threshold of the way from the smallest to the largest
    temporal AUC     over the mean values of the steps

S and 1 - C are ActX's maps of action and of what is not context; the others
have learned nothing: the norm of the features, and a Gaussian in the middle of
the frame. Clips without action are left out; for the figures of time, also
those that act throughout. Writes a row a clip and map to --output.
"""

import sys
from pathlib import Path

import experiment
import numpy as np
import run_folder
import tensorflow as tf
from absl import app
from absl import flags

from actx_tf import metrics
from actx_tf.data import ClipFrames
from actx_tf.data import FeatureStore
from actx_tf.data import VideoError
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import synthetic
from actx_tf.data import video_duration
from actx_tf.data.tubes import draw_tubes
from actx_tf.data.tubes import masks_to_voxels
from actx_tf.data.tubes import read_tubes
from actx_tf.export import read_metadata
from actx_tf.utils.untrusted_files import load_keras_model

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model",
    None,
    "actx.keras, or the folder of a SavedModel's version; by default, on the "
    "built-in set, saved_models/demo/1",
)
flags.DEFINE_string("boxes", None, "tubes of the clips (JSON)")
flags.DEFINE_string("masks", None, "store of masks, in place of boxes")
flags.DEFINE_string("split", None, "of the clips; by default all")
flags.DEFINE_string("output", None, "CSV to write: a row a clip and map")
flags.DEFINE_float(
    "share", 0.1, "of a voxel that makes it action", lower_bound=0
)
flags.DEFINE_float(
    "tolerance", 0.0, "voxels by which pointing may miss", lower_bound=0
)
flags.DEFINE_float(
    "threshold",
    0.5,
    "of the range of a clip's steps, from which one is action",
    lower_bound=0,
    upper_bound=1,
)
FLAGS.set_default("test_clips", 100)

DEMO = Path(__file__).parents[1] / "saved_models" / "demo" / "1"
CHANCE = "constant"


class Model:
    """A model of either form, clip by clip: `(time, height, width)` maps."""

    def __init__(self, path):
        self.is_keras = Path(path).suffix == ".keras"
        if self.is_keras:
            self.model = load_keras_model(path)
        else:
            self.metadata = read_metadata(path)
            self.model = tf.saved_model.load(str(path))

    def of_features(self, features):
        features = tf.constant(features[np.newaxis], tf.float32)
        if self.is_keras:
            return self._maps(self.model(features, training=False))
        answer = self.model.signatures["unpadded_attention"]
        return self._maps(answer(features=features))

    def of_video(self, frames):
        answer = self.model.signatures["video"]
        lengths = tf.constant([len(frames)], tf.int32)
        frames = tf.constant(frames[np.newaxis])
        return self._maps(answer(frames=frames, lengths=lengths))

    @staticmethod
    def _maps(outputs):
        return {
            "S": outputs["action_map"].numpy()[0],
            "1 - C": 1.0 - outputs["context_map"].numpy()[0],
        }


def add_baselines(maps, features=None):
    """Maps of what has learned nothing, and the constant one of chance."""
    time, height, width = maps["S"].shape
    if features is not None:
        features = np.asarray(features, "float32")
        maps["norm of features"] = np.linalg.norm(features, axis=-1)
    # A quarter of the sides is its standard deviation.
    y, x = (
        np.exp(-8.0 * ((np.arange(n) + 0.5) / n - 0.5) ** 2)
        for n in (height, width)
    )
    center = np.broadcast_to(np.outer(y, x), (time, height, width))
    return {**maps, "center": center, CHANCE: np.ones(center.shape)}


def built_in_clips(model):
    """Yields the name, the maps and the true voxels of each clip."""
    clips = synthetic.make_part("test", FLAGS.test_clips)
    features = synthetic.backbone().predict(clips.videos, verbose=0)
    voxels = synthetic.to_voxels(clips.actor_masks)
    for i, clip in enumerate(features):
        yield str(i), add_baselines(model.of_features(clip), clip), voxels[i]


def indexed_clips(model):
    """The same for the clips of the index; voxels None where none are known."""
    tubes = read_tubes(FLAGS.boxes) if FLAGS.boxes else None
    masks = FeatureStore(FLAGS.masks) if FLAGS.masks else None
    store = FeatureStore(FLAGS.features) if FLAGS.features else None
    for clip in read_clip_index(FLAGS.index, FLAGS.conjugates_column):
        if FLAGS.split not in (None, clip.split):
            continue
        known = masks if tubes is None else tubes
        if clip.clip not in known or (store and clip.clip not in store):
            yield clip.clip, None, None
            continue
        try:
            if store is not None:
                features = store[clip.clip]
                maps = add_baselines(model.of_features(features), features)
                attributes = store.attributes(clip.clip)
                rate, count = (
                    attributes[key] for key in ("frame_rate", "frames")
                )
                stride = store.description.frames_per_step
            else:
                frames, rate = read_clip(
                    clip.file,
                    frame_rate=model.metadata["frame_rate"],
                    size=model.metadata["frame_size"],
                    start=clip.start,
                    end=clip.end,
                    box=clip.box,
                )
                maps = add_baselines(model.of_video(frames))
                count = len(frames)
                stride = model.metadata["frames_per_step"]
            if tubes is None:
                voxels = masks[clip.clip][..., 0] > 0.5
            else:
                steps = np.arange(len(maps["S"]) + 1) * stride
                seconds = clip.start + np.minimum(steps, count) / rate
                voxels = to_voxels(clip, tubes[clip.clip], maps, seconds)
        except VideoError as error:
            print(f"left out: {error}")
            yield clip.clip, None, None
            continue
        yield clip.clip, maps, voxels


def to_voxels(clip, tubes, maps, seconds):
    """Puts tubes on the maps' grid, whose steps have these borders."""
    video = ClipFrames(clip.file)
    size = (video.count(), *next(iter(video)).shape[:2])
    frame_rate = size[0] / video_duration(clip.file)
    return masks_to_voxels(
        draw_tubes(tubes, size),
        maps["S"].shape,
        seconds * frame_rate,
        clip.box,
        FLAGS.share,
    )


def figures(voxels, scores):
    """Of one clip and map, by name; NaN where the clip does not count."""
    voxels, scores = voxels[np.newaxis], scores[np.newaxis]
    row = {
        "AUC": metrics.localization_auc(voxels, scores),
        "pointing, steps": metrics.pointing_game(
            voxels, scores, tolerance=FLAGS.tolerance
        ),
        "pointing, clip": metrics.pointing_game(
            voxels, scores, tolerance=FLAGS.tolerance, each_step=False
        ),
        "energy": metrics.energy_inside(voxels, scores),
        "temporal IoU": np.nan,
        "temporal AUC": np.nan,
    }
    steps, scores = voxels.any(axis=(2, 3)), scores.mean(axis=(2, 3))
    if not steps.all():
        row["temporal IoU"] = metrics.temporal_overlap(
            steps, scores, threshold=FLAGS.threshold
        )
        row["temporal AUC"] = metrics.localization_auc(steps, scores)
    return {name: float(value) for name, value in row.items()}


def print_figures(rows):
    """Mean figures of each map, with chance on the same clips beside each."""
    names = [key for key in rows[0] if key not in ("clip", "map")]
    means = {}
    for kind in dict.fromkeys(row["map"] for row in rows):
        chosen = [row for row in rows if row["map"] == kind]
        columns = {
            name: [row[name] for row in chosen if row[name] == row[name]]
            for name in names
        }
        means[kind] = {
            name: (np.mean(x) if x else np.nan, len(x))
            for name, x in columns.items()
        }
    chance = means.pop(CHANCE)
    table = [["(chance)", *names]]
    for kind, row in means.items():
        table.append(
            [kind] + [f"{row[n][0]:.3f} ({chance[n][0]:.3f})" for n in names]
        )
    table.append(["clips", *(str(chance[name][1]) for name in names)])
    experiment.print_table(table)


def check_flags():
    truth = FLAGS.boxes or FLAGS.masks
    own = FLAGS.features or FLAGS.index or truth
    if own and not (FLAGS.index and FLAGS.model and truth):
        sys.exit(
            "error: --index, --model, and --boxes or --masks are given together"
        )
    if FLAGS.boxes and FLAGS.masks:
        sys.exit("error: at most one of --boxes and --masks")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    check_flags()
    rows, left_out = [], 0
    try:
        model = Model(FLAGS.model or DEMO)
        if FLAGS.index and not FLAGS.features:
            if model.is_keras or not model.metadata["frames_per_step"]:
                sys.exit(
                    "error: without --features, --model must be a SavedModel "
                    "that takes videos"
                )
        clips = indexed_clips if FLAGS.index else built_in_clips
        for clip, maps, voxels in clips(model):
            if voxels is None or not voxels.any():
                left_out += 1
                continue
            for kind, scores in maps.items():
                row = figures(voxels, scores)
                rows.append({"clip": clip, "map": kind, **row})
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if not rows:
        sys.exit(f"error: none of {left_out} clips has features and action")
    print_figures(rows)
    print(f"\n{left_out} clips without features or action are left out")
    if FLAGS.output:
        run_folder.write_rows(rows, FLAGS.output)
        print(f"written: {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
