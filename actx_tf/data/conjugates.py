"""Mining conjugates: clips of the same scene without the action.

Each way takes the clips of an index and returns `(clips, missing)`: the clips
of a new one, and what has no conjugate. The action clips of `splits` get them:
those of training, to train with, and those of other splits, to see how much of
a model's answers comes from the scene. Conjugates that the given clips have
already are dropped. No conjugate shows a stretch of a file that another action
clip of it shows, a clip of another split, or a conjugate of such a clip.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np

from actx_tf.data.clip_index import CONJUGATE
from actx_tf.data.clip_index import Clip
from actx_tf.data.video import VideoError
from actx_tf.data.video import video_duration
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.checks import check_positive
from actx_tf.utils.checks import is_number
from actx_tf.utils.optional import import_optional


def conjugates_before_and_after(
    clips: Sequence[Clip],
    min_seconds: float = 0.5,
    background: str = "background",
    splits: Collection[str] = ("train",),
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Finds what comes before and after each action in its file.

    The paper's way on ActionThread (Section 4.1). The stretches touch the
    clip, or the margin that `extended_start` and `extended_end` (seconds) of
    its `extra` put around it. They are as long as the clip, or shorter where
    the file begins or ends, or another action of it does.

    Args:
        clips: The clips of an index.
        min_seconds: Stretches that are shorter, in seconds, are not taken.
            Defaults to `0.5`, 12 frames of 25 a second.
        background: Name of the class that shows no action. Defaults to
            `"background"`.
        splits: Names of the splits whose action clips get conjugates. Defaults
            to `("train",)`.

    Returns:
        A tuple `(clips, missing)`. `clips` are those given, and after each
        its conjugates `<clip>.before` and `<clip>.after`: clips of the same
        file, whose label and split are `conjugate`. `missing` is a list of
        `(clip, reason)`, of the action clips of `splits` without a conjugate; a
        file that cannot be read is such a reason.

    Raises:
        ImportError: If PyAV is missing.
        ValueError: If an argument is wrong, there is no action clip in one of
            `splits`, or a name of a conjugate is taken.
    """
    check_above_zero("min_seconds", min_seconds, "seconds")

    def mine(clip, duration, others):
        bounds = 0.0, duration
        return add_stretches(clip, _margin(clip), bounds, others, min_seconds)

    return mine_files(
        clips,
        background,
        splits,
        mine,
        f"no stretch of {min_seconds} seconds or more, and not longer than "
        "the clip, is free before or after it",
    )


def conjugates_around_crops(
    clips: Sequence[Clip],
    crop_seconds: float = 2.0,
    num_crops: int = 1,
    min_seconds: float = 0.5,
    background: str = "background",
    splits: Collection[str] = ("train",),
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Crops each action clip, and finds what comes before and after the crop.

    The paper's way on Hollywood2 (Section 4.2), whose files hold nothing but
    the actions: these conjugates are imperfect, they show the action at
    another stage. Crop i of n begins at (i + 1) / (n + 1) of what the clip is
    longer than a crop: a single one lies in the middle. Its conjugates lie in
    the clip, touch the crop, and are as long as the crop at most. A crop
    without a conjugate is not taken.

    Args:
        clips: The clips of an index.
        crop_seconds: Length of a crop, in seconds. Defaults to `2.0`, about
            the 48 frames of the paper.
        num_crops: Number of crops of a clip. Defaults to `1`.
        min_seconds: As in `conjugates_before_and_after`.
        background: As in `conjugates_before_and_after`.
        splits: As in `conjugates_before_and_after`.

    Returns:
        A tuple `(clips, missing)`. In `clips` the crops `<clip>.crop0`, ...
        take the place of each action clip of `splits`, after each crop its
        conjugates `<clip>.crop0.before` and `<clip>.crop0.after`,
        whose label and split are `conjugate`. All other clips are as they
        were. `missing` is a list of `(clip, reason)`, of the action clips of
        `splits` without a crop that has a conjugate: they stay whole, without
        one.

    Raises:
        ImportError: If PyAV is missing.
        ValueError: If an argument is wrong, there is no action clip in one of
            `splits`, or the name of a crop or conjugate is taken.
    """
    check_above_zero("crop_seconds", crop_seconds, "seconds")
    check_positive("num_crops", num_crops)
    check_above_zero("min_seconds", min_seconds, "seconds")

    def mine(clip, duration, others):
        end = duration if clip.end is None else min(clip.end, duration)
        room = end - clip.start - crop_seconds
        rows = []
        for number in range(num_crops):
            start = clip.start + room * (number + 1) / (num_crops + 1)
            crop = dataclasses.replace(
                clip,
                clip=f"{clip.clip}.crop{number}",
                start=round(start, 3),
                end=round(start + crop_seconds, 3),
            )
            span = crop.start, crop.end
            bounds = clip.start, end
            rows += add_stretches(crop, span, bounds, others, min_seconds)
        return rows

    return mine_files(
        clips,
        background,
        splits,
        mine,
        f"it has no room for a crop of {crop_seconds} seconds and a stretch "
        f"of {min_seconds} seconds before or after it",
    )


def nearest_negatives(
    clips: Sequence[Clip],
    embeddings: Mapping[str, np.ndarray],
    num_neighbors: int = 3,
    background: str = "background",
    min_similarity: float = -1.0,
    same: str | None = None,
    splits: Collection[str] = ("train",),
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Finds the background clips that look most like each action clip.

    The paper's way on HACS (Section 4.3). Near is a large cosine of the
    embeddings (the paper does not say which distance): FAISS' exact
    `IndexFlatIP` on vectors of length 1, in float32. The conjugates of a clip
    are of its own split. Left out are background clips that overlap an action
    clip of their file, since a negative of one class can be a positive of
    another, or a clip of another split.

    Args:
        clips: The clips of an index.
        embeddings: Mapping from the name of a clip to its embedding
            `(channels,)`, such as `mean_embeddings` returns.
        num_neighbors: Number of conjugates of a clip; fewer where there are
            not as many. Defaults to `3`.
        background: As in `conjugates_before_and_after`.
        min_similarity: Background clips whose cosine is smaller are not
            taken, in [-1, 1]. Defaults to `-1.0`: all are.
        same: Name of a column of the index, such as `scene` or `source`, that
            a clip and its conjugate must have the same value in. Defaults to
            none.
        splits: As in `conjugates_before_and_after`.

    Returns:
        A tuple `(clips, missing)`. `clips` are those given, with the
        conjugates from near to far, and their cosines. `missing` is a list of
        `(clip, reason)`, of the action clips of `splits` without a conjugate,
        and of the background clips that cannot be one as they have no
        embedding, or no value of `same`.

    Raises:
        ImportError: If FAISS is missing.
        ValueError: If an argument is wrong, or there is no action clip in one
            of `splits`.
    """
    check_positive("num_neighbors", num_neighbors)
    if not (is_number(min_similarity) and -1 <= min_similarity <= 1):
        raise ValueError(
            "`min_similarity` must be in [-1, 1]. "
            f"Received: min_similarity={min_similarity!r}"
        )
    group_of = _groups(clips, same)
    faiss = import_optional("faiss", "Finding nearest negatives")
    clips, taken = _prepare(clips, background, splits)
    # Of each split and value of `same`.
    actions: dict[Any, list[Clip]] = collections.defaultdict(list)
    negatives: dict[Any, list[Clip]] = collections.defaultdict(list)
    missing = {}
    for clip in clips:
        if gets_conjugates(clip, background, splits):
            kind = actions
        elif clip.split in splits and not _overlaps(clip, taken):
            kind = negatives
        else:
            continue
        if clip.clip not in embeddings:
            missing[clip.clip] = "its features are not there"
        elif not _has_direction(embeddings[clip.clip]):
            missing[clip.clip] = "its embedding is zero or not finite"
        elif group_of[clip.clip] == "":
            missing[clip.clip] = f"its `{same}` is empty"
        else:
            kind[clip.split, group_of[clip.clip]].append(clip)

    neighbors = {}
    searched = itertools.chain(*actions.values(), *negatives.values())
    vectors = _unit_vectors(faiss, list(searched), embeddings)
    for (split, group), asked in actions.items():
        offered = negatives.get((split, group), [])
        found = _search(faiss, asked, offered, vectors, num_neighbors)
        for clip, nearest in zip(asked, found, strict=True):
            near = {
                name: cosine
                for name, cosine in nearest.items()
                if cosine >= min_similarity
            }
            neighbors[clip.clip] = near
            if not offered:
                missing[clip.clip] = (
                    f"no clip of the label {background!r} and the split "
                    f"{split!r} can be its conjugate"
                    + (f" in the same `{same}`, {group!r}" if same else "")
                )
            elif not near:
                missing[clip.clip] = (
                    "the most similar one has a similarity of "
                    f"{max(nearest.values()):.3f}, and {min_similarity:g} is "
                    "the smallest that is taken"
                )
    mined = []
    for clip in clips:
        near = neighbors.get(clip.clip, {})
        mined.append(
            dataclasses.replace(
                clip,
                conjugates=tuple(near),
                conjugate_similarities=tuple(near.values()),
            )
        )
    return mined, [(c, missing[c.clip]) for c in clips if c.clip in missing]


def mean_embeddings(
    features: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns the mean of each feature map over time, height and width.

    Args:
        features: Mapping from the name of a clip to its feature map
            `(time, height, width, channels)`, such as a `FeatureStore`.

    Returns:
        A dictionary from the name of a clip to `(channels,)`, float32.
    """
    return {
        name: features[name].mean(axis=(0, 1, 2), dtype="float32")
        for name in features
    }


def add_stretches(
    clip: Clip,
    span: tuple[float, float],
    bounds: tuple[float, float],
    others: Sequence[tuple[float, float]],
    min_seconds: float,
) -> list[Clip]:
    """Returns a clip and what is before and after it, or [] if that is nothing.

    Args:
        clip: The clip. Its conjugates are no longer than it is.
        span: What they touch, (start, end) in seconds: the clip, and perhaps a
            margin around it.
        bounds: What they lie within, (start, end) in seconds.
        others: Stretches that they do not show, each (start, end) in seconds.
        min_seconds: Conjugates that are shorter are not taken.
    """
    first, last = bounds
    start, end = min(span[0], last), span[1]
    length = (last if clip.end is None else clip.end) - clip.start
    stretches = {
        "before": (
            max(
                first,
                round(start - length, 3),
                *(stop for begin, stop in others if begin < start),
            ),
            start,
        ),
        "after": (
            end,
            min(
                last,
                round(end + length, 3),
                *(begin for begin, stop in others if stop > end),
            ),
        ),
    }
    conjugates = [
        stretch_of(clip, name, begin, stop)
        for name, (begin, stop) in stretches.items()
        if round(stop - begin, 3) >= min_seconds
    ]
    if not conjugates:
        return []
    names = tuple(conjugate.clip for conjugate in conjugates)
    return [dataclasses.replace(clip, conjugates=names), *conjugates]


def gets_conjugates(
    clip: Clip, background: str, splits: Collection[str]
) -> bool:
    """Whether a clip is an action clip of one of the splits."""
    return (
        clip.split in splits
        and clip.split != CONJUGATE
        and clip.label != background
    )


def check_splits(
    clips: Sequence[Clip], background: str, splits: Collection[str]
) -> None:
    """Raises a `ValueError` if a split has no clip that gets conjugates."""
    if isinstance(splits, str) or not splits:
        raise ValueError(
            "`splits` must be the names of one split or more, such as "
            f"('train',). Received: splits={splits!r}"
        )
    found = {c.split for c in clips if gets_conjugates(c, background, splits)}
    for split in splits:
        if split not in found:
            known = sorted({clip.split for clip in clips} - {CONJUGATE})
            raise ValueError(
                f"`clips` must hold an action clip of the split {split!r} "
                f"(`splits`). Received: {len(clips)} clips of the splits "
                f"{known}, with background={background!r}"
            )


def check_new_names(mined: Sequence[Clip]) -> None:
    """Raises a `ValueError` if a clip that is added has the name of another."""
    counts = collections.Counter(clip.clip for clip in mined)
    if repeated := [name for name in counts if counts[name] > 1]:
        raise ValueError(
            "`clips` must not hold the names of the clips that are mined. "
            f"Received: a clip {repeated[0]!r} (is the index mined already?)"
        )


def without_conjugates(clips: Sequence[Clip]) -> list[Clip]:
    """Returns the clips without the conjugates that they have."""
    return [
        dataclasses.replace(clip, conjugates=(), conjugate_similarities=())
        for clip in clips
    ]


def stretch_of(clip: Clip, name: str, start: float, end: float) -> Clip:
    """Returns a conjugate: another stretch of the file of a clip.

    Args:
        clip: The action clip.
        name: What is added to its name.
        start: Where the stretch begins, in seconds.
        end: Where it ends.
    """
    return dataclasses.replace(
        clip,
        clip=f"{clip.clip}.{name}",
        label=CONJUGATE,
        split=CONJUGATE,
        conjugates=(),
        start=start,
        end=end,
    )


def mine_files(
    clips: Sequence[Clip],
    background: str,
    splits: Collection[str],
    mine: Callable[[Clip, float, Sequence[tuple[float, float]]], list[Clip]],
    reason: str,
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Replaces each action clip of the splits by what is mined of its file.

    Args:
        clips: The clips of an index.
        background: As in `conjugates_before_and_after`.
        splits: As in `conjugates_before_and_after`.
        mine: `mine(clip, duration, others)` returns the rows that take the
            place of a clip, none if it has no conjugate; given the seconds of
            its file, and the stretches of it that no conjugate may show. A
            `VideoError` that it raises is the reason that there is none.
        reason: Why a clip has no conjugate, otherwise.

    Returns:
        As `conjugates_before_and_after`.
    """
    clips, taken = _prepare(clips, background, splits)
    duration = functools.cache(video_duration)
    mined, missing = [], []
    for clip in clips:
        rows = [clip]
        if gets_conjugates(clip, background, splits):
            others = [
                (other.start, other.end)
                for other in taken[clip.file]
                if other.name != clip.clip and _is_taken(other, clip)
            ]
            problem = reason
            try:
                rows = mine(clip, duration(clip.file), others)
            except VideoError as error:
                rows, problem = [], str(error)
            if not rows:
                rows = [clip]
                missing.append((clip, problem))
            # No clip of another split is to get the same stretch.
            taken[clip.file] += [
                _Taken(row.clip, clip.split, False, *_stretch(row))
                for row in rows
                if row.split == CONJUGATE
            ]
        mined += rows
    check_new_names(mined)
    return mined, missing


class _Taken(NamedTuple):
    """A stretch of a file that some conjugates may not show."""

    name: str
    split: str
    is_action: bool
    start: float
    end: float


def _prepare(clips, background, splits):
    """Returns the clips without conjugates, and what is taken of each file."""
    check_splits(clips, background, splits)
    taken = collections.defaultdict(list)
    for clip in clips:
        if clip.split != CONJUGATE:
            is_action = clip.label != background
            taken[clip.file].append(
                _Taken(clip.clip, clip.split, is_action, *_margin(clip))
            )
    return without_conjugates(clips), taken


def _is_taken(other, clip):
    """Whether no conjugate of the split of a clip may show another one."""
    return other.is_action or other.split != clip.split


def _stretch(clip):
    """Returns where a clip begins and ends."""
    return clip.start, math.inf if clip.end is None else clip.end


def _margin(clip):
    """The same, with the margin around it."""
    start, end = _stretch(clip)
    try:
        return (
            min(start, float(clip.extra.get("extended_start") or start)),
            max(end, float(clip.extra.get("extended_end") or end)),
        )
    except ValueError as error:
        raise ValueError(
            "`extended_start` and `extended_end` must be seconds, or empty. "
            f"Received: extra={clip.extra} of clip {clip.clip!r}"
        ) from error


def _overlaps(clip, taken):
    start, end = _stretch(clip)
    return any(
        other.start < end and start < other.end
        for other in taken.get(clip.file, ())
        if _is_taken(other, clip)
    )


def _has_direction(embedding):
    return np.isfinite(embedding).all() and np.any(embedding)


def _groups(clips, same):
    """Returns the value of the column `same` of each clip, by its name."""
    if same is None:
        return {clip.clip: None for clip in clips}
    columns = {name for clip in clips for name in clip.extra}
    columns |= {"source" for clip in clips if clip.source}
    if same not in columns:
        raise ValueError(
            f"`same` must be one of the columns {sorted(columns)}. "
            f"Received: same={same!r}"
        )
    return {
        clip.clip: clip.source if same == "source" else clip.extra.get(same, "")
        for clip in clips
    }


def _unit_vectors(faiss, clips, embeddings):
    """Returns the embeddings of clips, of length 1, by their names."""
    if not clips:
        return {}
    vectors = [np.asarray(embeddings[clip.clip], "float32") for clip in clips]
    for clip, vector in zip(clips, vectors, strict=True):
        if vector.ndim != 1 or vector.shape != vectors[0].shape:
            raise ValueError(
                "`embeddings` must be vectors of one length, see "
                f"`mean_embeddings`. Received: shape={vector.shape} of clip "
                f"{clip.clip!r}, {vectors[0].shape} of {clips[0].clip!r}"
            )
    vectors = np.stack(vectors)
    faiss.normalize_L2(vectors)
    return {
        clip.clip: vector for clip, vector in zip(clips, vectors, strict=True)
    }


def _search(faiss, actions, negatives, vectors, num_neighbors):
    """Returns {name: cosine} of the nearest negatives of each action."""
    if not negatives:
        return [{} for _ in actions]
    of_actions, of_negatives = (
        np.stack([vectors[clip.clip] for clip in clips])
        for clips in (actions, negatives)
    )
    index = faiss.IndexFlatIP(of_negatives.shape[1])
    index.add(of_negatives)
    count = min(num_neighbors, len(negatives))
    cosines, found = index.search(of_actions, count)
    # Four digits are enough for people; sums in float32 can exceed one.
    cosines = np.clip(cosines.astype("float64"), -1, 1).round(4)
    return [
        {
            negatives[i].clip: float(cosine)
            for i, cosine in zip(*row, strict=True)
        }
        for row in zip(found, cosines, strict=True)
    ]
