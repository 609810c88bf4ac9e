"""THUMOS14 (Idrees, Zamir, Jiang, Gorban, Laptev, Sukthankar, Shah 2017)."""

import collections
import os
import pathlib
import re

from actx_tf.data.annotations.folder import LeftOut
from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.annotations.untrimmed import UntrimmedVideo
from actx_tf.data.annotations.untrimmed import UntrimmedVideos
from actx_tf.segments import Segment

_AMBIGUOUS = "Ambiguous"
# The end of a file's name: the owners' set, and the split here.
_SETS = {"val": ("validation", "train"), "test": ("test", "test")}
_LINE = re.compile(r"(video_(validation|test)_\d+)\s+([\d.]+)\s+([\d.]+)")


def read_thumos14(
    root: str | os.PathLike, file_pattern: str = "{subset}/{name}.mp4"
) -> UntrimmedVideos:
    """Reads THUMOS14's temporal annotations: 20 classes of sports.

    A text file for each class and set, `BaseballPitch_val.txt`, with a line
    for each segment: `video_validation_0000266  72.8 76.4`, in seconds. They
    lie together in a folder for each set, anywhere in `root`; one of the two
    is enough. Stretches that are hard to tell from action (`Ambiguous`) are
    left out: no clip is made of them, neither of an action nor unlabelled, and
    no conjugate shows them. The videos for training have no annotations, and
    so the validation set is trained on, as is usual. Videos without segments
    are not in these files, and not here. The format is that of the owners'
    README; checked on small files written for the tests.

    All `CliffDiving` is `Diving` too, and some annotations of the test set end
    after their video: they are as the owners gave them.

    Args:
        root: Folder that holds the annotations.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `video_validation_0000266`, `{subset}` `validation` or `test`.
            Defaults to `"{subset}/{name}.mp4"`.

    Returns:
        `UntrimmedVideos` of the splits `train` (the owners' validation set)
        and `test`.

    Raises:
        FileNotFoundError: If there are no annotations.
        ValueError: If a line is wrong, with a message that starts with
            `{path}:{line}: `; or the files of a set are in several folders.

    Reference:
        - Idrees et al., The THUMOS Challenge on Action Recognition for Videos
          "in the Wild", CVIU 2017.
    """
    segments = collections.defaultdict(list)
    unsure = collections.defaultdict(list)
    left_out = []
    subsets = {}
    for ending, (subset, _) in _SETS.items():
        for path in _files(pathlib.Path(root), ending):
            label = path.name.removesuffix(f"_{ending}.txt")
            for line, text in read_lines(path, "segments of THUMOS14"):
                try:
                    name, segment = _parse(text, subset, label)
                except ValueError as error:
                    raise error_at(
                        path,
                        line,
                        "expected a video of the set and two times, such as "
                        f"'video_{subset}_0000266 72.8 76.4'. "
                        f"Received: {text[:80]!r}",
                    ) from error
                subsets[name] = subset
                if label == _AMBIGUOUS:
                    unsure[name].append((segment.start, segment.end))
                    file = video_path(
                        root, file_pattern, name=name, subset=subset
                    )
                    left_out.append(LeftOut(file, "not clear", label))
                else:
                    segments[name].append(segment)
    splits = dict(_SETS.values())
    videos = [
        UntrimmedVideo(
            name=name,
            file=video_path(root, file_pattern, name=name, subset=subset),
            split=splits[subset],
            segments=tuple(segments[name]),
            unsure=tuple(unsure[name]),
        )
        for name, subset in sorted(subsets.items())
    ]
    if not videos:
        raise FileNotFoundError(
            f"no annotations in {root}: expected files such as "
            "BaseballPitch_val.txt and BaseballPitch_test.txt."
        )
    return UntrimmedVideos(tuple(videos), tuple(left_out))


def _files(root, ending):
    """Returns the files of a set, which lie in one folder."""
    files = sorted(root.rglob(f"[A-Z]*_{ending}.txt"))
    folders = sorted({str(path.parent) for path in files})
    if len(folders) > 1:
        raise ValueError(
            f"`root` must hold one folder of *_{ending}.txt. "
            f"Received: {', '.join(folders)}"
        )
    return files


def _parse(text, subset, label):
    """Returns the video and the segment of a line."""
    match = _LINE.fullmatch(text)
    if not match or match[2] != subset:
        raise ValueError
    segment = Segment(float(match[3]), float(match[4]), label)
    if segment.start == segment.end:
        raise ValueError
    return match[1], segment
