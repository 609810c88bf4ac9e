"""Requests about long videos, good and bad, for any server."""

import functools

import numpy as np
import tensorflow as tf

from actx_tf.client import ask_in_parts
from actx_tf.prediction.windows import answer_in_windows
from tests.served import random_features


def encode(video):
    return [tf.io.encode_png(frame).numpy() for frame in video]


def ask_signatures(signatures, name, inputs):
    """Asks a loaded SavedModel as a server is asked."""
    try:
        outputs = signatures[name](
            **{key: tf.constant(value) for key, value in inputs.items()}
        )
    except tf.errors.OpError as error:
        raise RuntimeError(error.message) from error
    return {key: value.numpy() for key, value in outputs.items()}


def expected_scores(served, video, window, hop):
    """What each step of a video gets, of windows of the whole feature map."""
    features = np.asarray(served.backbone(video[None]))[0]

    def answers(clips):
        scores = [served.answer(clip)["scores"] for clip in clips]
        return {"scores": np.array(scores, "float32")}

    return answer_in_windows(answers, [features], window, hop)["scores"]


def record(ask, images, window, hop, part):
    """Returns the requests about a long video, and the answers."""
    recorded = []

    def asking(name, inputs):
        outputs = ask(name, inputs)
        recorded.append((name, inputs, outputs))
        return outputs

    for _ in ask_in_parts(asking, images, len(images), window, hop, part):
        pass
    return recorded


def bad_requests(max_steps):
    """What cannot be answered of a long video, and what must be said."""
    image = encode(np.zeros((1, 48, 48, 3), np.uint8))[0]
    numbers = {"lengths": 40, "begin": 0, "total": 120, "window": 2, "hop": 1}

    def windows(frames=40, image=image, **changed):
        inputs = {
            name: np.array([number], np.int32)
            for name, number in {**numbers, **changed}.items()
        }
        return "windows", {
            "frames": np.array([[image] * frames], object),
            **inputs,
        }

    clip = random_features(1, 4, 2, 2)
    nan = clip.copy()
    nan[0, 1, 1, 1, 3] = np.nan
    too_long = 4 * max_steps + 1
    features = functools.partial(dict, earlier=np.zeros((1, 0, 2, 2, 2), "f4"))
    return {
        "NaN": ("stream", features(features=nan), "must be finite"),
        "channels": ("stream", features(features=clip[..., :7]), "shape"),
        "no image": (*windows(image=b"no image"), "Invalid JPEG"),
        "no frame": (
            *windows(frames=0, lengths=0),
            "empty|at least 1|posit",
        ),
        "too many frames": (
            *windows(frames=too_long, lengths=too_long),
            f"at most {4 * max_steps} frames",
        ),
        "too few frames": (
            *windows(frames=8, lengths=8),
            "must be enough for a window",
        ),
        "no window": (*windows(window=0), "`window` must be at least 1"),
        "a window too long": (
            *windows(window=max_steps + 1, total=10**6),
            f"`window` must be at most {max_steps} steps",
        ),
        "gaps": (*windows(hop=3), "`hop` must be at most `window`"),
        "after the end": (*windows(begin=30), "`begin` must be that of"),
        "less than nothing": (*windows(begin=-1), "`begin` must be at least 0"),
    }
