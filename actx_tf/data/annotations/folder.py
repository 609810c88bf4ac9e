"""A folder of videos, without any annotation."""

import collections
import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from actx_tf.data.clip_index import SPLITS
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import label_problem
from actx_tf.data.video_files import EMPTY_FOLDER
from actx_tf.data.video_files import VIDEO_SUFFIXES
from actx_tf.data.video_files import is_hidden
from actx_tf.data.video_files import look_for_videos
from actx_tf.utils.checks import is_number

# What folders of splits are called, whatever the case of the letters.
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What a data set holds and no clip was made of.

    Attributes:
        file: Path of the file, or of a folder that is empty; of the video that
            a segment is of.
        reason: Why, in some words, such as `"hidden"`.
        label: Name of the class whose folder it is in, or that the segment
            shows; `""` if there is none.
    """

    file: str
    reason: str
    label: str = ""


def look_through(
    root: str | os.PathLike,
    test_percent: float = 20.0,
    validation_percent: float = 10.0,
    known: Sequence[Clip] = (),
) -> tuple[list[Clip], list[LeftOut]]:
    """Reads a folder of videos, and tells what was left out.

    Either `<root>/<class>/<video>`, and splits are drawn. Or
    `<root>/<split>/<class>/<video>`, of two splits or of one alone: `train`,
    `validation` (or `val`, `valid`) and `test`, in letters of any case. The
    folder of a class may hold folders in turn: the first of them, such as a
    person, names the clip's source.

    A class is called as its folder, in Unicode's NFC and without spaces at the
    ends: folders whose names look alike are one class. A clip is called as its
    class and its file; where two would have one name, some digits of their
    paths are added.

    The split is drawn by a hash of the clip's source, or, without one, of its
    class and name. So other clips that come or go move no clip, and clips of
    one source, in whatever class, share a split. There are two exceptions. Of a
    class without a training clip the one with the largest hash is taken for
    training; of a class without a test clip, if it has two clips or sources at
    least, the one with the smallest hash for the test. These can move when
    others come, unless they are among `known`.

    Args:
        root: The folder.
        test_percent: Percentage of the clips that is drawn for the test, in
            [0, 100]; not used where folders name the splits. Defaults to
            `20.0`.
        validation_percent: The same for the validation; with `test_percent` it
            must not exceed 100. Defaults to `10.0`.
        known: The clips of an earlier index. Their files are left out without
            a word and their names not given again; the split of a source among
            them holds for all its clips. Defaults to none.

    Returns:
        A tuple `(clips, left_out)`. `clips` is a list of `Clip`, in the order
        of their paths; it is empty only if all were known. `left_out` is a
        list of `LeftOut` of all other files, and of empty folders.

    Raises:
        FileNotFoundError: If there is no such folder, or no video in it.
        ValueError: If an argument is wrong, the name of a class cannot be one,
            it is not clear whether a folder is a split or a class, or a source
            is in several splits of `known`.
    """
    _check_percentages(test_percent, validation_percent)
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder at {root}")
    found = [
        (path, path.relative_to(root).parts, reason)
        for path, reason in look_for_videos(root)
    ]
    level = _level_of_classes(
        root, [parts for _, parts, reason in found if not reason]
    )
    videos, left_out = [], []
    for path, parts, reason in found:
        label = _class_of(parts, level, reason)
        reason = reason or _stray(parts, level)
        if reason:
            left_out.append(LeftOut(str(path), reason, label))
        else:
            inner = parts[level + 1 :]
            source = _name(inner[0]) if len(inner) > 1 else ""
            videos.append(_Video(path, parts, label, source))
    if not videos:
        counts = collections.Counter(entry.reason for entry in left_out)
        received = (f"{counts[reason]} {reason}" for reason in sorted(counts))
        raise FileNotFoundError(
            f"no video in {root}: expected {root}/<class>/<video> or "
            f"{root}/<split>/<class>/<video>, the files ending in "
            f"{', '.join(sorted(VIDEO_SUFFIXES))}. "
            f"Received: {', '.join(received) or 'nothing'}"
        )
    _check_labels(videos, level, known)
    given = {os.path.realpath(clip.file) for clip in known}
    videos = [v for v in videos if os.path.realpath(v.path) not in given]
    names = _clip_names(videos, {clip.clip for clip in known})
    if level:
        splits = {video: _SPLITS[_key(video.parts[0])] for video in videos}
    else:
        splits = _draw(videos, test_percent, validation_percent, known)
    clips = [
        Clip(
            clip=names[video],
            file=str(video.path),
            label=video.label,
            split=splits[video],
            source=video.source,
        )
        for video in videos
    ]
    return clips, left_out


@dataclasses.dataclass(frozen=True)
class _Video:
    path: Path
    parts: tuple[str, ...]  # of the path, from the root on
    label: str
    source: str

    @property
    def group(self) -> tuple[str, ...]:
        """What shares a split."""
        if self.source:
            return (self.source,)
        return self.label, _name(self.path.name)


def _name(name):
    return " ".join(unicodedata.normalize("NFC", name).split())


def _key(name):
    return _name(name).lower()


def _level_of_classes(root, videos):
    """Where in the parts of a path the class is: 1 after a split, or 0."""
    named = {
        parts[0] for parts in videos if parts[1:] and _key(parts[0]) in _SPLITS
    }
    others = {parts[0] for parts in videos if parts[1:]} - named
    nested = [parts for parts in videos if parts[0] in named and parts[2:]]
    several = len({_SPLITS[_key(name)] for name in named}) > 1
    if not named or (others and not several and not nested):
        return 0  # a class of trains, say
    if nested and (several or not others):
        return 1
    raise ValueError(
        f"{root}: it is not clear whether {', '.join(sorted(named))} are "
        "folders of splits, which hold a folder for each class, or of classes: "
        "rename them, or move what is beside them. "
        f"Received: the folders {', '.join(sorted(named | others))}"
    )


def _class_of(parts, level, reason):
    """Returns the class in whose folder something is, or "" for none."""
    is_folder = reason == EMPTY_FOLDER
    if (
        len(parts) < level + (1 if is_folder else 2)
        or any(map(is_hidden, parts[: level + 1]))
        or (level and _key(parts[0]) not in _SPLITS)
    ):
        return ""
    return _name(parts[level])


def _stray(parts, level):
    """Returns what is wrong with where a video is, if anything is."""
    if level and _key(parts[0]) not in _SPLITS:
        return "beside the folders of splits"
    if len(parts) < level + 2:
        return "in no folder of a class"


def _check_labels(videos, level, clips):
    known = {label.lower(): label for clip in clips for label in clip.labels}
    for video in videos:
        label = video.label
        folder = video.path.parents[len(video.parts) - level - 2]
        problem = label_problem(label)
        if "|" in label:
            problem = "'|' stands between the classes of a clip"
        elif (other := known.setdefault(label.lower(), label)) != label:
            problem = f"there is {other!r} too, which differs in case alone"
        if problem:
            raise ValueError(
                f"a folder's name must be one of a class: {problem}. Rename "
                f"it. Received: {folder}"
            )


def _clip_names(videos, taken):
    """Returns unique names, which hold no '/' and are one word of an index."""
    names = {
        video: re.sub(r"[\s/\\]+", "_", _name("/".join(video.parts)))
        for video in videos
    }
    counts = collections.Counter(names.values())
    for video, name in names.items():
        if counts[name] > 1 or name in taken:
            path = "/".join(video.parts).encode()
            digits = hashlib.sha256(path).hexdigest()[:12]
            stem, suffix = os.path.splitext(name)
            names[video] = f"{stem}-{digits}{suffix}"
    return names


def _draw(videos, test_percent, validation_percent, known):
    """Returns the split of each video."""
    before = collections.defaultdict(set)
    members = collections.defaultdict(set)  # groups of a class
    for clip in known:
        if clip.split in SPLITS:
            group = (clip.source,) if clip.source else ("", clip.clip)
            before[group].add(clip.split)
            for label in clip.labels:
                members[label].add(group)
    for video in videos:
        members[video.label].add(video.group)
        if len(several := before.get(video.group, ())) > 1:
            raise ValueError(
                "`known` must have one split for a source to which clips are "
                f"added. Received: {sorted(several)} for the source "
                f"{video.source!r} of {video.path}"
            )
    splits = {group: max(several) for group, several in before.items()}
    share = {v.group: _share(v.group) for v in videos if v.group not in splits}
    for group, percent in share.items():
        splits[group] = (
            "test"
            if percent < test_percent
            else "validation"
            if percent < test_percent + validation_percent
            else "train"
        )

    def new_of(label):
        return sorted(members[label] & share.keys(), key=share.__getitem__)

    def has(label, split, but=None):
        return any(splits[x] == split for x in members[label] if x != but)

    for label in sorted(members):
        if test_percent + validation_percent == 100:
            break
        if not has(label, "train") and (groups := new_of(label)):
            splits[groups[-1]] = "train"
    for label in sorted(members):
        if not test_percent or has(label, "test") or len(members[label]) < 2:
            continue
        for group in new_of(label):
            of_group = [x for x in members if group in members[x]]
            if all(has(x, "train", but=group) for x in of_group):
                splits[group] = "test"
                break
    return {video: splits[video.group] for video in videos}


def _share(group):
    """A number in [0, 100) that looks drawn, always the same."""
    digest = hashlib.sha256("\0".join(group).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100


def _check_percentages(test_percent, validation_percent):
    for name, value in (
        ("test_percent", test_percent),
        ("validation_percent", validation_percent),
    ):
        if not (is_number(value) and 0 <= value <= 100):
            raise ValueError(
                f"`{name}` must be in [0, 100]. Received: {name}={value!r}"
            )
    if test_percent + validation_percent > 100:
        raise ValueError(
            "`test_percent` and `validation_percent` must be 100 at most "
            f"together. Received: test_percent={test_percent}, "
            f"validation_percent={validation_percent}"
        )
