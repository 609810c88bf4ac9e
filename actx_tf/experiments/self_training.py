"""Conjugates that a trained model finds, for the training of the next one."""

import dataclasses
import os
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence

from actx_tf.backbones import Backbone
from actx_tf.data.clip_index import Clip
from actx_tf.data.conjugates import mine_files
from actx_tf.data.conjugates import stretch_of
from actx_tf.export.trained_model import load_trained
from actx_tf.models import PairedModel
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction.video_model import MEMORY


def conjugates_of_nothing(
    clips: Sequence[Clip],
    model: PairedModel | str | os.PathLike,
    *,
    backbone: Backbone | str | os.PathLike | None = None,
    max_score: float = 0.1,
    min_seconds: float = 0.5,
    window: float | None = None,
    overlap: float = 0.5,
    background: str = "background",
    splits: Collection[str] = ("train",),
    memory: float = MEMORY,
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Finds the stretches of each action clip in which a model sees nothing.

    A round of self-training: a first model is trained on what whole videos
    show, and what it calls nothing are the conjugates of the next one. The
    clips are long: what happens in each takes a part of it.

    Args:
        clips: The clips of an index, of which the action clips are searched.
        model: As in `predict_video`. It must be able to see nothing: it has a
            class that is no action (its `background`), or scores each class
            by itself (`activation="sigmoid"`).
        backbone: As in `predict_video`. Defaults to the model's own.
        max_score: As in `Timeline.stretches_of_nothing`. Defaults to `0.1`.
        min_seconds: As in `Timeline.stretches_of_nothing`. Defaults to `0.5`.
        window: As in `VideoPredictor.timeline`. Defaults to `None`.
        overlap: As in `VideoPredictor.timeline`. Defaults to `0.5`.
        background: Label of the clips that show no action. Defaults to
            `"background"`.
        splits: Names of the splits whose action clips get conjugates. Defaults
            to `("train",)`.
        memory: As in `predict_video`. Defaults to `1.0`.

    Returns:
        A tuple `(clips, missing)`. `clips` are those given, and after each
        its conjugates `<clip>.nothing0` and on, whose label and split are
        `conjugate`. `missing` is a list of `(clip, reason)`, of the action
        clips of `splits` without a conjugate.

    Raises:
        FileNotFoundError: If there is no model at the path.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong, the model cannot see nothing, a
            clip is a part of the frame (`box`), there is no action clip in one
            of `splits`, or a name of a conjugate is taken.
    """
    trained = (
        load_trained(model) if isinstance(model, (str, os.PathLike)) else model
    )
    if trained.activation == "softmax" and not trained.background:
        raise ValueError(
            "`model` must have a class that shows no action (`background`), "
            "or score each class by itself (activation='sigmoid'): this one "
            "sees some action in each moment. "
            f"Received: class_names={trained.class_names}"
        )
    predictor = VideoPredictor(trained, backbone, memory=memory)
    for clip in clips:
        if clip.box is not None:
            raise ValueError(
                "`clips` must be of whole frames. "
                f"Received: box={clip.box} of clip {clip.clip!r}"
            )

    def mine(clip, duration, others):
        timeline = predictor.timeline(
            clip.file,
            window=window,
            overlap=overlap,
            start=clip.start,
            end=clip.end,
        )
        conjugates = [
            stretch_of(clip, f"nothing{number}", start, end)
            for number, (start, end) in enumerate(
                stretch
                for found in timeline.stretches_of_nothing(
                    max_score=max_score, min_seconds=min_seconds
                )
                for stretch in _without(found, others, min_seconds)
            )
        ]
        if not conjugates:
            return []
        names = tuple(conjugate.clip for conjugate in conjugates)
        return [dataclasses.replace(clip, conjugates=names), *conjugates]

    return mine_files(
        clips,
        background,
        splits,
        mine,
        f"the model scores no stretch of {min_seconds:g} seconds or more, "
        f"which no other clip shows, at most {max_score:g} for each action",
    )


def _without(
    stretch: tuple[float, float],
    others: Sequence[tuple[float, float]],
    min_seconds: float,
) -> Iterator[tuple[float, float]]:
    """Yields what is left of a stretch, in parts that are long enough."""
    start, end = stretch
    for begin, stop in sorted([*others, (end, end)]):
        part = round(start, 3), round(min(begin, end), 3)
        if part[1] - part[0] >= min_seconds:
            yield part
        start = max(start, stop)
