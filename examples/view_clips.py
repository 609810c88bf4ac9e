r"""Writes one web page that plays clips with their action and context maps.

On the built-in data set, after `make demo`:

    python examples/view_clips.py --model=runs/demo/actx.keras \
        --output=runs/demo/clips.html

On a feature store and the model that train_actx.py made of it:

    python examples/view_clips.py --features=features --index=index.csv \
        --model=runs/mine/actx.keras --output=runs/mine/clips.html

The page is one file without a server or a network: open it in a browser. It
sorts the clips by their loss, filters them, and shows the scores; press ? on it
for its keys. Frames are read from the files that the index names; clips whose
file is missing or broken are listed. Frames are made smaller, and fewer, where
the page would be larger than --max_megabytes.
"""

import base64
import collections
import dataclasses
import html
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, ".keras file of an ActX", required=True)
flags.DEFINE_string("output", "clips.html", "path of the page")
flags.DEFINE_string("features", None, "feature store; none: the built-in set")
flags.DEFINE_string("index", None, "clip index (CSV) of the feature store")
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_boolean(
    "multi_label", False, "whether a clip can be of several classes"
)
flags.DEFINE_string("split", "test", "split of the clips to show")
flags.DEFINE_integer(
    "num_clips", 50, "most clips to show, evenly over the split", lower_bound=1
)
flags.DEFINE_list(
    "size",
    None,
    "as of extract_features.py, if it was given there: height,width or the "
    "shorter side of the frames that the features were made of",
)
flags.DEFINE_string("title", None, "title of the page")
flags.DEFINE_float(
    "max_megabytes", 30.0, "largest size of the page", lower_bound=0.1
)

# Longest side in pixels, quality of JPEG, frames a second: tried in turn until
# a clip fits in its part of the page; then every other frame is left out.
RUNGS = (
    (320, 85, 25.0),
    (320, 75, 12.5),
    (240, 70, 12.5),
    (240, 60, 8.0),
    (192, 50, 6.0),
    (144, 40, 4.0),
)
MOST_FRAMES = 600  # that are read of a long clip
BUILT_IN_RATE = 8.0  # frames a second: the built-in set has none


@dataclasses.dataclass(frozen=True)
class ViewedClip:
    """A clip, what the model makes of it, and how to get its frames."""

    name: str
    labels: list[int]
    scores: np.ndarray
    action_map: np.ndarray
    context_map: np.ndarray
    read: Callable  # () -> frames and frames per second
    locate: Callable  # shape of a frame -> centers of the maps' locations


def built_in_clips(model):
    """Returns the names of the classes and clips of the built-in set."""
    from actx_tf.backbones.receptive_field import location_centers
    from actx_tf.data import synthetic

    part = synthetic.make_part(FLAGS.split, FLAGS.num_clips)
    backbone = synthetic.backbone()
    features = backbone.predict(part.videos, verbose=0)
    centers = location_centers(
        backbone, features.shape[1:4], part.videos.shape[1:4]
    )
    clips = [
        ViewedClip(
            f"{FLAGS.split} {i}",
            [int(part.labels[i])],
            *run(model, features[i]),
            read=lambda i=i: (part.videos[i], BUILT_IN_RATE),
            locate=lambda shape: centers,
        )
        for i in range(len(features))
    ]
    return list(synthetic.CLASS_NAMES), clips, []


def stored_clips(model):
    """Returns classes, clips, and what is left out, of store and index."""
    from actx_tf.backbones.receptive_field import location_centers
    from actx_tf.data import FeatureStore
    from actx_tf.data import read_clip_index

    store = FeatureStore(FLAGS.features)
    index = read_clip_index(FLAGS.index, FLAGS.conjugates_column)
    stored = [clip for clip in index if clip.clip in store]

    def labels_of(clip):
        return clip.labels if FLAGS.multi_label else (clip.label,)

    # As train_actx.py counts them.
    names = sorted(
        {
            name
            for clip in stored
            if clip.split in ("train", "validation", "test")
            for name in labels_of(clip)
        }
    )
    if len(names) != model.num_classes:
        raise ValueError(
            f"{FLAGS.model} tells {model.num_classes} classes, and "
            f"{FLAGS.index} has {len(names)} in {FLAGS.features}: {names}"
        )
    chosen = [clip for clip in index if clip.split == FLAGS.split]
    if not chosen:
        raise ValueError(
            f"--split must be one of {sorted({c.split for c in index})}. "
            f"Received: {FLAGS.split}"
        )
    count = min(len(chosen), FLAGS.num_clips)
    chosen = [chosen[k * len(chosen) // count] for k in range(count)]

    def view(clip):
        features = store[clip.clip].astype("float32")
        frames = store.attributes(clip.clip)["frames"]
        return ViewedClip(
            clip.clip,
            [names.index(name) for name in labels_of(clip)],
            *run(model, features),
            read=lambda: read_frames(clip),
            locate=lambda shape: location_centers(
                getattr(store.made_by, "name", store.made_by),
                features.shape[:3],
                (frames, *seen_size(shape)),
            ),
        )

    clips, left_out = [], []
    for clip in chosen:
        if clip.clip not in store:
            left_out.append((clip.clip, f"not in {FLAGS.features}"))
        elif not set(labels_of(clip)) <= set(names):
            left_out.append((clip.clip, f"{clip.label} is no class of it"))
        else:
            clips.append(view(clip))
    return names, clips, left_out


def run(model, features):
    """Returns the scores and the two maps of a clip's features."""
    from keras import ops

    outputs = model.classify(ops.convert_to_tensor(features[None]))
    activation = ops.sigmoid if FLAGS.multi_label else ops.softmax
    scores = activation(outputs["logits"])
    return tuple(
        ops.convert_to_numpy(value)[0]
        for value in (scores, outputs["action_map"], outputs["context_map"])
    )


def read_frames(clip):
    """Returns a clip's frames, at most 320 pixels and MOST_FRAMES, and rate."""
    from actx_tf.data import ClipFrames
    from actx_tf.data import read_clip
    from actx_tf.data import video_duration

    part = {"start": clip.start, "end": clip.end, "box": clip.box}
    end = video_duration(clip.file) if clip.end is None else clip.end
    seconds = max(end - clip.start, 1e-3)
    # More than so many a second are never shown.
    rate = MOST_FRAMES / seconds if seconds > MOST_FRAMES / 25 else None
    first = next(iter(ClipFrames(clip.file, **part)))
    size = shrunk(first.shape[:2], RUNGS[0][0])
    return read_clip(clip.file, frame_rate=rate, size=size, **part)


def shrunk(shape, longest):
    scale = min(1.0, longest / max(shape))
    return tuple(max(1, round(scale * side)) for side in shape)


def seen_size(shape):
    """Height and width of what the backbone saw; None where unknown."""
    if not FLAGS.size:
        return None, None
    sides = tuple(map(int, FLAGS.size))
    if len(sides) == 2:
        return sides
    return tuple(round(sides[0] * side / min(shape)) for side in shape)


def encode_frames(frames, rate, budget):
    """Returns JPEGs in base64 that fit in `budget`, their rate, and the rung.

    The last rung is thinned out as far as it takes; a frame is always left.
    """
    for side, quality, most in RUNGS:
        count = max(1, round(len(frames) * min(1.0, most / rate)))
        encoded = jpegs(pick(frames, count), side, quality)
        if sum(map(len, encoded)) <= budget:
            break
    while sum(map(len, encoded)) > budget and len(encoded) > 1:
        encoded = pick(encoded, len(encoded) // 2)
    rung = f"{side} pixels, quality {quality}, {most:g} frames a second"
    return encoded, rate * len(encoded) / len(frames), rung


def pick(frames, count):
    """Frames in the middle of `count` equal stretches."""
    return [frames[int((k + 0.5) * len(frames) / count)] for k in range(count)]


def jpegs(frames, longest, quality):
    from PIL import Image

    encoded = []
    for frame in frames:
        height, width = shrunk(frame.shape[:2], longest)
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(frame))
        if image.size != (width, height):
            image = image.resize((width, height))
        image.save(buffer, "JPEG", quality=quality)
        encoded.append(to_text(buffer.getvalue()))
    return encoded


def to_text(content):
    return base64.b64encode(content).decode()


def describe(clip):
    """What the page knows of a clip, but for its frames."""
    scores = clip.scores.astype(float)
    is_member = np.isin(np.arange(len(scores)), clip.labels)
    chances = np.where(is_member, scores, 1 - scores)
    if not FLAGS.multi_label:
        chances = scores[is_member]
    return {
        "name": clip.name,
        "labels": clip.labels,
        "scores": [round(score, 4) for score in scores.tolist()],
        "answer": int(np.argmax(scores)),
        "loss": round(float(-np.log(np.maximum(chances, 1e-7)).mean()), 4),
        "mapShape": clip.action_map.shape,
        "action": describe_map(clip.action_map),
        "context": describe_map(clip.context_map),
    }


def describe_map(values):
    largest = max(float(values.max()), 1e-12)
    levels = np.rint(255 * values / largest).astype(np.uint8)
    return {"largest": largest, "levels": to_text(levels.tobytes())}


def collect(clips, budget):
    """Returns the clips as the page takes them, and what is left out."""
    from tqdm import tqdm

    from actx_tf.data import VideoError

    described, left_out, rungs = [], [], collections.Counter()
    for number, clip in enumerate(tqdm(clips, unit="clip")):
        about = describe(clip)
        try:
            frames, rate = clip.read()
        except VideoError as error:
            left_out.append((clip.name, str(error)))
            continue
        centers = clip.locate(frames[0].shape[:2])
        about["centers"] = [axis.round(5).tolist() for axis in centers]
        part = budget / (len(clips) - number) - len(json.dumps(about))
        about["frames"], about["rate"], rung = encode_frames(frames, rate, part)
        rungs[rung] += 1
        budget -= len(json.dumps(about))
        described.append(about)
    for rung, count in rungs.items():
        print(f"{count} clips at up to {rung}")
    return described, left_out


def write_page(data, title, path):
    """Fills the template: a page of one file."""
    from actx_tf.utils.atomic_write import atomic_write

    folder = Path(__file__).parent
    # What ends a script in HTML must not be in one.
    text = json.dumps(data, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    parts = {
        "title": html.escape(title),
        "style": (folder / "view_clips.css").read_text(encoding="utf-8"),
        "data": text,
        "script": (folder / "view_clips.js").read_text(encoding="utf-8"),
    }
    template = (folder / "view_clips.html").read_text(encoding="utf-8")
    page = re.sub(r"{{(\w+)}}", lambda match: parts[match[1]], template)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as draft:
        draft.write_text(page, encoding="utf-8")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if bool(FLAGS.features) != bool(FLAGS.index):
        sys.exit("error: --features and --index are given together or not")
    # Imported late: a wrong flag is told at once.
    from actx_tf import models
    from actx_tf.utils.untrusted_files import load_keras_model
    from actx_tf.visualization import map_colors

    try:
        model = load_keras_model(FLAGS.model)
        if not isinstance(model, models.ActX):
            raise ValueError(f"{FLAGS.model} is not an ActX")
        make = stored_clips if FLAGS.features else built_in_clips
        names, clips, left_out = make(model)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    # What is not clips takes less than this.
    described, unread = collect(clips, 1e6 * FLAGS.max_megabytes - 60_000)
    for name, message in (left_out := left_out + unread):
        print(f"left out: {name}: {message}")
    if not described:
        sys.exit("error: no clip is left to show")
    origin = Path(FLAGS.index).stem if FLAGS.index else "the built-in data set"
    title = FLAGS.title or f"ActX on {origin}: {FLAGS.split}"
    data = {
        "title": title,
        "classNames": names,
        "colors": to_text(map_colors().tobytes()),
        "clips": described,
        "leftOut": left_out,
    }
    path = Path(FLAGS.output)
    write_page(data, title, path)
    megabytes = path.stat().st_size / 1e6
    print(f"written: {path}, {len(described)} clips, {megabytes:.1f} MB")
    if megabytes > FLAGS.max_megabytes:
        print(f"warning: larger than {FLAGS.max_megabytes:g} MB; show fewer")


if __name__ == "__main__":
    app.run(main)
