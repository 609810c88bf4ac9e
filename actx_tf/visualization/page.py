"""One web page that plays clips with their action and context maps.

The page is one file: a browser opens it without a server or a network. It
sorts the clips by their loss, filters them, and shows the scores; press ? on
it for its keys.
"""

import base64
import collections
import dataclasses
import io
import json
import os
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actx_tf.data.shown_frames import shrunk
from actx_tf.ops.activations import check_activation
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.optional import import_optional
from actx_tf.visualization.overlays import map_colors
from actx_tf.visualization.whole_page import make_page
from actx_tf.visualization.whole_page import read_part
from actx_tf.visualization.whole_page import write_whole

if TYPE_CHECKING:
    from actx_tf.prediction import VideoPrediction

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


@dataclasses.dataclass(frozen=True)
class PageClip:
    """A clip to show.

    Attributes:
        name: Its name.
        labels: Names of the classes that it is of.
        predict: Function without arguments that returns its frames and what a
            model sees in them, as `predict_video` does. It is called once; a
            `ValueError` or an `OSError` of it leaves the clip out.
    """

    name: str
    labels: Sequence[str]
    predict: Callable[[], "VideoPrediction"]


@dataclasses.dataclass(frozen=True)
class Page:
    """A page that was written.

    Attributes:
        path: Its path.
        clips: Names of the clips that it shows.
        left_out: What it does not show: name and reason of each clip.
        qualities: How the frames are shown, and of how many clips.
    """

    path: Path
    clips: Sequence[str]
    left_out: Sequence[tuple[str, str]]
    qualities: dict[str, int]


def write_page(
    path: str | os.PathLike,
    clips: Sequence[PageClip],
    class_names: Sequence[str] | None,
    activation: str = "softmax",
    *,
    title: str = "ActX",
    max_megabytes: float = 30.0,
    left_out: Sequence[tuple[str, str]] = (),
    progress: bool = True,
) -> Page:
    """Writes a page of clips.

    Frames are made smaller, and fewer, where the page would be larger than
    `max_megabytes`; of each clip at least one is left.

    Args:
        path: Path of the page. It is written whole or not at all; its folder
            is made if it is not there.
        clips: The clips, in the order of the page.
        class_names: Names of the classes, in the order of the scores. `None`,
            as a model can have, is refused: nobody guesses them.
        activation: What made the scores: `"softmax"`, or `"sigmoid"` where a
            clip can be of several classes. Defaults to `"softmax"`.
        title: Title of the page. Defaults to `"ActX"`.
        max_megabytes: Largest size of the page, in 10^6 bytes. Defaults to
            `30.0`.
        left_out: Name and reason of clips that are known to be missing; the
            page lists them. Defaults to `()`.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        A `Page`.

    Raises:
        ValueError: If an argument is wrong, or no clip is left to show.
        ImportError: If a package for it is not installed.
    """
    check_activation(activation)
    if class_names is None:
        raise ValueError(
            "`class_names` must name the classes, in the order of the scores; "
            "a model that is trained with `class_names` holds them. "
            "Received: class_names=None"
        )
    check_above_zero("max_megabytes", max_megabytes)
    data = {
        "title": title,
        "classNames": list(class_names),
        "colors": _to_text(map_colors().tobytes()),
        "clips": [],
        "leftOut": list(map(list, left_out)),
    }
    budget = 1e6 * max_megabytes - len(_fill(data).encode())
    qualities = collections.Counter()
    for number, clip in enumerate(_with_bar(clips, progress)):
        try:
            prediction = clip.predict()
            about = _describe(clip, prediction, data["classNames"], activation)
        except (OSError, ValueError) as error:
            data["leftOut"].append([clip.name, str(error)])
            budget -= _length(data["leftOut"][-1])
            continue
        share = budget / (len(clips) - number) - _length(about)
        about["frames"], about["rate"], quality = _encode_frames(
            prediction.frames, prediction.frame_rate, share
        )
        budget -= _length(about)
        data["clips"].append(about)
        qualities[quality] += 1
    left_out = [tuple(entry) for entry in data["leftOut"]]
    if not data["clips"]:
        name, reason = left_out[0] if left_out else ("", "none was given")
        raise ValueError(f"no clip is left to show: {name}: {reason}")
    write_whole(path, _fill(data))
    shown = [about["name"] for about in data["clips"]]
    return Page(Path(path), shown, left_out, dict(qualities))


def _describe(clip, prediction, class_names, activation):
    """What the page knows of a clip, but for its frames."""
    if missing := sorted(set(clip.labels) - set(class_names)):
        raise ValueError(f"{missing} are no classes of the model")
    if activation == "softmax" and len(clip.labels) != 1:
        raise ValueError(f"it must be of one class, not of {clip.labels}")
    labels = [class_names.index(name) for name in clip.labels]
    scores = np.asarray(prediction.scores, float)
    if len(scores) != len(class_names):
        raise ValueError(
            f"{len(scores)} scores do not fit {len(class_names)} classes"
        )
    if prediction.action_map is None:
        raise ValueError("the model has no maps")
    maps = (prediction.action_map, prediction.context_map)
    if not all(np.isfinite(values).all() for values in (scores, *maps)):
        raise ValueError("what the model makes of it is not finite")
    is_member = np.isin(np.arange(len(scores)), labels)
    chances = np.where(is_member, scores, 1 - scores)
    if activation == "softmax":
        chances = scores[is_member]
    return {
        "name": clip.name,
        "labels": labels,
        "scores": [round(score, 4) for score in scores.tolist()],
        "answer": int(np.argmax(scores)),
        "loss": round(float(-np.log(np.maximum(chances, 1e-7)).mean()), 4),
        "mapShape": prediction.action_map.shape,
        "action": _describe_map(prediction.action_map),
        "context": _describe_map(prediction.context_map),
        "centers": [axis.round(5).tolist() for axis in prediction.centers],
    }


def _describe_map(values):
    largest = max(float(values.max()), 1e-12)
    levels = np.rint(255 * values / largest).astype(np.uint8)
    return {"largest": largest, "levels": _to_text(levels.tobytes())}


def _encode_frames(frames, rate, budget):
    """Returns JPEGs in base64 that fit in `budget`, their rate, and the rung.

    The last rung is thinned out as far as it takes; a frame is always left.
    """
    for side, quality, most in RUNGS:
        count = max(1, round(len(frames) * min(1.0, most / rate)))
        encoded = jpegs(_pick(frames, count), side, quality)
        if sum(map(len, encoded)) <= budget:
            break
    while sum(map(len, encoded)) > budget and len(encoded) > 1:
        encoded = _pick(encoded, len(encoded) // 2)
    rung = f"{side} pixels, quality {quality}, {most:g} frames a second"
    return encoded, rate * len(encoded) / len(frames), rung


def _pick(frames, count):
    """Frames in the middle of `count` equal stretches."""
    return [frames[int((k + 0.5) * len(frames) / count)] for k in range(count)]


def jpegs(
    frames: Sequence[np.ndarray], longest: int, quality: int
) -> list[str]:
    """Returns frames as JPEGs in base64.

    Args:
        frames: RGB values, uint8, `(height, width, 3)` each.
        longest: Most pixels of their longer side.
        quality: Of JPEG, to 100.
    """
    Image = import_optional("PIL.Image", "The page of clips")
    encoded = []
    for frame in frames:
        height, width = shrunk(frame.shape[:2], longest)
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(frame))
        if image.size != (width, height):
            image = image.resize((width, height))
        image.save(buffer, "JPEG", quality=quality)
        encoded.append(_to_text(buffer.getvalue()))
    return encoded


def _to_text(content):
    return base64.b64encode(content).decode()


def _to_json(data):
    # What ends a script in HTML must not be in one.
    text = json.dumps(data, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _length(data):
    return len(_to_json(data)) + 1  # and a comma


def _fill(data):
    parts = {"data": _to_json(data), "script": read_part("page.js")}
    return make_page("page", data["title"], parts, scripts=True)


def _with_bar(clips, visible):
    tqdm = import_optional("tqdm", "The page of clips")
    return tqdm.tqdm(clips, unit="clip", disable=not visible)
